"""`--mount type=...,source=...,target=...`: docker's comma-separated grammar and its sentences."""

from __future__ import annotations

import os

from tiffin.cli import amounts
from tiffin.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TEXTS = {
    "type": "type",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "volume-driver": "driver",
}
_FLAGS = {
    "readonly": "read_only",
    "ro": "read_only",
    "bind-nonrecursive": "non_recursive",
    "volume-nocopy": "no_copy",
}
_REFUSED = frozenset({"consistency", "bind-recursive", "volume-subpath", "image-subpath"})
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})


def parse(text: str) -> Mount:
    """Return the mount; raises ValueError whose text says what is wrong, in docker's words."""
    words: dict[str, Any] = {"type": "volume", "target": ""}
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    seen: set[str] = set()
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in _FLAGS:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        seen.add(key)
        if key == "volume-label":
            labels |= dict([_pair(value)])
        elif key == "volume-opt":
            options |= dict([_pair(value)])
        else:
            words |= _word(key, value, field)
    words["type"] = words["type"].lower()
    _check_mixture(words["type"], seen)
    if not words["target"]:
        raise ValueError("target is required")
    return Mount(**words, labels=labels, driver_options=options)


def _word(key: str, value: str, field: str) -> dict[str, Any]:
    if key in _TEXTS:
        return {_TEXTS[key]: value}
    if key in _FLAGS:
        return {_FLAGS[key]: _boolean(key, value)}
    if key in {"source", "src"}:
        return {"source": os.path.abspath(value) if value.startswith(".") else value}
    if key == "bind-propagation":
        if value.lower() not in _PROPAGATIONS:
            raise ValueError(f"invalid propagation: {value}")
        return {"propagation": value.lower()}
    if key == "tmpfs-size":
        try:
            return {"tmpfs_size": amounts.size(value)}
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    if key == "tmpfs-mode":
        return {"tmpfs_mode": _octal(key, value)}
    if key in _REFUSED:
        raise ValueError(f"'{key}' is not supported")
    raise ValueError(f"unexpected key '{key}' in '{field}'")


def _fields(text: str) -> list[str]:
    """Split at commas as a line of CSV: a field may be quoted, `""` in it is a quote."""
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if len(rows) != 1 or not rows[0]:
        raise ValueError("value is empty")
    return rows[0]


def _boolean(key: str, value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise ValueError(f"invalid value for {key}: {value}")
    return _BOOLEANS[value.lower()]


def _octal(key: str, value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _pair(value: str) -> tuple[str, str]:
    key, _, rest = value.partition("=")
    return key, rest


def _check_mixture(kind: str, seen: set[str]) -> None:
    for other in ("bind", "volume", "tmpfs"):
        if other != kind and any(key.startswith(f"{other}-") for key in seen):
            raise ValueError(f"cannot mix '{other}-*' options with mount type '{kind}'")
