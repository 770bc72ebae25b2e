"""Members of JSON documents that others wrote: each reader returns its type or raises Corrupt.

null and an absent member are the empty value, as Go's decoder has it.
"""

from __future__ import annotations

from tiffin.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def strings(value: object) -> tuple[str, ...]:
    """Read a list of strings; a single one stands for a list of one, as docker takes it."""
    return (value,) if isinstance(value, str) else tuple(map(str, a_list(value)))


def strings_or_none(value: object) -> tuple[str, ...] | None:
    """Read a list of strings where null says something else than an empty list."""
    return None if value is None else strings(value)


def list_or_none(value: Iterable[str] | None) -> list[str] | None:
    """Write what `strings_or_none` reads."""
    return None if value is None else list(value)


def keys(value: object) -> tuple[str, ...]:
    """Read a set written as an object with empty values, sorted; some tools write a list."""
    return tuple(sorted(set(map(str, value)))) if isinstance(value, (dict, list)) else ()


def mapping(value: object) -> Mapping[str, str]:
    """Read names and values; anything else than an object is none."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {str(k): str(v) for k, v in pairs}


def an_object(value: object) -> dict[str, Any]:
    """Read an object."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"expected an object, got {value!r}"
        raise Corrupt(message)
    return value


def a_list(value: object) -> list[Any] | tuple[Any, ...]:
    """Read a list."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        message = f"expected a list, got {value!r}"
        raise Corrupt(message)
    return value


def number(value: object) -> int:
    """Read a whole number; other tools write 1.0 or 1e9, but 1e999 and "1" are none."""
    if value is None:
        return 0
    if not isinstance(value, (int, float)) or (isinstance(value, float) and not value.is_integer()):
        message = f"expected a whole number, got {value!r}"
        raise Corrupt(message)
    return int(value)
