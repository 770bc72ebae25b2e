"""`--mount type=...,source=...,target=...`: docker's comma-separated grammar and its sentences."""

from __future__ import annotations

import os

from tiffin.cli import amounts
from tiffin.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_TEXTS = {
    "type": "type",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "volume-driver": "driver",
    "volume-subpath": "subpath",
    "image-subpath": "subpath",
}
_FLAGS = {
    "readonly": "read_only",
    "ro": "read_only",
    "bind-nonrecursive": "non_recursive",
    "volume-nocopy": "no_copy",
}
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_RECURSIVE: Mapping[str, Mapping[str, Any]] = {
    "enabled": {},
    "disabled": {"non_recursive": True},
    "writable": {"read_only_non_recursive": True},
    "readonly": {"read_only_force_recursive": True},
}
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
    if not words["type"]:
        raise ValueError("type is required")
    if not words["target"]:
        raise ValueError("target is required")
    _check_mixture(words["type"], seen)
    _check_recursive(words)
    return Mount(**words, labels=labels, driver_options=options)


def _word(key: str, value: str, field: str) -> dict[str, Any]:
    if key in _TEXTS:
        return {_TEXTS[key]: value}
    if key in _FLAGS:
        return {_FLAGS[key]: _boolean(key, value)}
    if key in {"source", "src"}:
        return {"source": os.path.abspath(value) if value.startswith(".") else value}
    if key == "consistency":
        return {}  # it is about virtual machines on other systems
    if key.startswith("bind-"):
        return _bind_word(key, value, field)
    if key in {"tmpfs-size", "tmpfs-mode"}:
        return {key.replace("-", "_"): _amount(key, value)}
    raise ValueError(f"unexpected key '{key}' in '{field}'")


def _bind_word(key: str, value: str, field: str) -> dict[str, Any]:
    if key == "bind-propagation":
        if value.lower() not in _PROPAGATIONS:
            raise ValueError(f"invalid propagation: {value}")
        return {"propagation": value.lower()}
    if key == "bind-recursive":
        if value not in _RECURSIVE:
            known = '(must be "enabled", "disabled", "writable", or "readonly")'
            raise ValueError(f"invalid value for {key}: {value} {known}")
        return dict(_RECURSIVE[value])
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
    if value not in _TRUE | _FALSE:
        raise ValueError(f"invalid value for {key}: {value}")
    return value in _TRUE


def _amount(key: str, value: str) -> int:
    """Return a size in bytes, or an octal mode."""
    try:
        return amounts.size(value) if key == "tmpfs-size" else int(value, 8)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _pair(value: str) -> tuple[str, str]:
    key, _, rest = value.partition("=")
    return key, rest


def _check_mixture(kind: str, seen: set[str]) -> None:
    for other in ("volume", "bind", "image", "tmpfs"):
        if other != kind and any(key.startswith(f"{other}-") for key in seen):
            raise ValueError(f"cannot mix '{other}-*' options with mount type '{kind}'")


def _check_recursive(words: Mapping[str, Any]) -> None:
    for name, word in (("read_only_non_recursive", "writable"), ("read_only_force_recursive", "readonly")):
        if words.get(name) and not words.get("read_only"):
            option = f"'bind-recursive={word}'"
            raise ValueError(f"option {option} requires 'readonly' to be specified in conjunction")
    if words.get("read_only_force_recursive") and words.get("propagation") != "rprivate":
        needed = "'bind-propagation=rprivate'"
        raise ValueError(f"option 'bind-recursive=readonly' requires {needed} to be specified in conjunction")
