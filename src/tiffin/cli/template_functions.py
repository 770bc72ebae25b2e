"""The functions of Go templates and docker's own, and how values are shown, compared and looked into."""

from __future__ import annotations

import json
import re
from urllib.parse import quote_plus

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Lazy = Callable[[Any], Any]

_VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])")


# Members of docker's JSON whose names are the user's: a missing one is no mistake in the template.
_FREE = frozenset(
    {"Annotations", "Data", "DriverOpts", "ExposedPorts", "Labels", "Networks", "Options", "PortBindings"}
    | {"Ports", "Sysctls", "Tmpfs", "Volumes"}
)


def field(value: Any, name: str, path: str, owner: str) -> Any:
    """Return a member by name; `owner` is the name that the value itself had."""
    if value is None:
        if owner in _FREE:
            return None
        raise InvalidArgument(f'"" at <{path}>: nil pointer evaluating {owner or "nil"}.{name}')
    if isinstance(value, dict):
        if name in value:
            return value[name]
        if owner in _FREE:
            return None
        raise InvalidArgument(f'"" at <{path}>: map has no entry for key "{name}"')
    if hasattr(value, "as_json") and name in value:
        return value[name]
    kind = "" if hasattr(value, "as_json") else f" in type {_go_type(value)}"
    raise InvalidArgument(f'"" at <{path}>: can\'t evaluate field {name}{kind}')


def truth(value: Any) -> bool:
    """Tell whether Go's `if` takes it: not false, 0, nil or empty."""
    return bool(value)


def number(text: str) -> int | float:
    """Return the value of a number constant."""
    plain = text.replace("_", "")
    try:
        return (
            int(plain, 0)
            if not re.search(r"[.]|[eE](?!.*x)", plain) or "x" in plain.lower()
            else float(plain)
        )
    except ValueError:
        raise InvalidArgument(f'bad number syntax: "{text}"') from None


def show(value: Any) -> str:  # noqa: PLR0911 - one line a kind
    """Return a value as Go's fmt prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if value != int(value) or abs(value) >= 1e21 else str(int(value))
    if isinstance(value, dict):
        return "map[" + " ".join(f"{show(k)}:{_nested(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_nested, value)) + "]"
    if hasattr(value, "as_json"):
        return show(value.as_json())
    return str(value)


def _nested(value: Any) -> str:
    return "<nil>" if value is None else show(value)


def to_json(value: Any) -> str:
    """Return compact JSON, as docker's `json` function writes it."""
    plain = value.as_json() if hasattr(value, "as_json") else value
    if plain is None and value is not None:
        return ""
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, default=str)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise InvalidArgument('"" at <index>: error calling index: index of untyped nil')
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, (list, tuple, str)):
            if isinstance(key, bool) or not isinstance(key, int):
                raise InvalidArgument(
                    f'"" at <index>: error calling index: cannot index slice/array with {show(key)}'
                )
            if not 0 <= key < len(value):
                raise InvalidArgument(f'"" at <index>: error calling index: index out of range: {key}')
            value = value[key]
        else:
            raise InvalidArgument(f'"" at <index>: error calling index: can\'t index item of {show(value)}')
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if any(not 0 <= bound <= len(value) for bound in bounds) or list(bounds) != sorted(bounds):
        raise InvalidArgument('"" at <slice>: error calling slice: index out of range')
    return value[slice(*bounds)] if len(bounds) > 1 else value[bounds[0] if bounds else 0 :]


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if not hasattr(value, "__len__"):
        kind = "nil pointer" if value is None else f"type {_go_type(value)}"
        raise InvalidArgument(f'"" at <len>: error calling len: len of {kind}')
    return len(value)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise InvalidArgument('"" at <eq>: error calling eq: missing argument for comparison')
    for other in others:
        if type(first) is not type(other) and None not in {first, other}:
            raise InvalidArgument('"" at <eq>: error calling eq: incompatible types for comparison')
    return first in others


def _comparable(left: Any, right: Any) -> None:
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        raise InvalidArgument('"" at <lt>: error calling lt: incompatible types for comparison')


def _less(left: Any, right: Any) -> bool:
    _comparable(left, right)
    return bool(left < right)


def _join(value: Any, separator: str) -> str:
    return separator.join(map(show, value or ()))


def _title(text: str) -> str:
    return re.sub(r"(?<![^\W_])\w", lambda match: match.group().upper(), text)


def _truncate(text: str, length: int) -> str:
    return text[:length] if len(text) > length else text


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _printf(layout: str, *values: Any) -> str:
    waiting = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if width == "*":
            width = str(waiting.pop(0)) if waiting else ""
        if not waiting:
            return f"%!{verb}(MISSING)"
        return _formatted(verb, flags, width or "", precision, waiting.pop(0))

    text = _VERB.sub(one, layout)
    if waiting:
        extra = ", ".join(f"{_go_type(value)}={show(value)}" for value in waiting)
        text += f"%!(EXTRA {extra})"
    return text


def _formatted(verb: str, flags: str, width: str, precision: str | None, value: Any) -> str:
    text = _converted(verb, "+" if "+" in flags else "", precision, value)
    if not width:
        return text
    if "-" in flags:
        return text.ljust(int(width))
    return text.rjust(int(width), "0" if "0" in flags and verb in "dfx" else " ")


def _converted(verb: str, sign: str, precision: str | None, value: Any) -> str:
    places = "" if precision is None else f".{precision}"
    if verb == "v":
        return _nested(value)
    if verb == "s" and (value is None or isinstance(value, (str, list, tuple, dict))):
        shown = _nested(value)
        return shown[: int(precision)] if precision else shown
    if verb == "q":
        return json.dumps(show(value), ensure_ascii=False)
    if verb == "T":
        return _go_type(value)
    if isinstance(value, bool):
        return show(value) if verb == "t" else f"%!{verb}(bool={show(value)})"
    text = None
    if isinstance(value, int):
        layouts = {"d": f"{sign}d", "x": "x", "X": "X", "o": "o", "b": "b", "c": "c"}
        text = format(value, layouts[verb]) if verb in layouts else None
    elif isinstance(value, str) and verb in "xX":
        text = format(int.from_bytes(value.encode()), f"0{2 * len(value.encode())}{verb}") if value else ""
    elif isinstance(value, float) and verb in "feEgG":
        text = f"%{sign}{places}{verb}" % value
    return f"%!{verb}({_go_type(value)}={show(value)})" if text is None else text


def _go_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}
    return names.get(type(value), "map[string]interface {}" if isinstance(value, dict) else "[]interface {}")


def _html(*values: Any) -> str:
    text = "".join(map(show, values))
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(plain, escaped)
    return text


def _print_all(*values: Any) -> str:
    """Join as Go's Sprint: a space between two operands when neither is a string."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += _nested(value)
    return text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": _join,
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": _truncate,
    "len": _length,
    "index": _index,
    "slice": _slice,
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "le": lambda left, right: not _less(right, left),
    "gt": lambda left, right: _less(right, left),
    "ge": lambda left, right: not _less(left, right),
    "print": _print_all,
    "println": lambda *values: " ".join(map(_nested, values)) + "\n",
    "printf": _printf,
    "html": _html,
    "js": lambda *values: (
        "".join(map(show, values)).replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')
    ),
    "urlquery": lambda *values: quote_plus("".join(map(show, values))),
    "call": lambda function, *values: function(*values),
}


def _and(arguments: Sequence[Lazy]) -> Lazy:
    """`and` stops at the first value that is not true, as Go has it since 1.18."""

    def value(context: Any) -> Any:
        found: Any = True
        for argument in arguments:
            found = argument(context)
            if not truth(found):
                return found
        return found

    return value


def _or(arguments: Sequence[Lazy]) -> Lazy:
    def value(context: Any) -> Any:
        found: Any = False
        for argument in arguments:
            found = argument(context)
            if truth(found):
                return found
        return found

    return value


LAZY: dict[str, Callable[[Sequence[Lazy]], Lazy]] = {"and": _and, "or": _or}
