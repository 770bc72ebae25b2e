"""`--log-driver` and `--log-opt`: json-file, local and none, with docker's options, checks and sentences."""

from __future__ import annotations

from tiffin.engine.bundle import LOG_FILES, LOG_SIZE
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tiffin.spec.container import LogConfig
    from tiffin.store.containers import ContainerRecord

_COMMON = {"mode", "max-buffer-size"}
_BOUNDS = {"max-size", "max-file", "compress"}
_ATTRIBUTES = {"labels", "labels-regex", "env", "env-regex", "tag"}
_OPTIONS: dict[str, set[str]] = {
    "json-file": _COMMON | _BOUNDS | _ATTRIBUTES,
    "local": _COMMON | _BOUNDS,
    "none": _COMMON,
}
_LOCAL_SIZE, _LOCAL_FILES = 20 << 20, 5
_SUFFIXES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_FIELDS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")


def check(settings: LogConfig) -> None:
    """Raise InvalidArgument for a log driver or an option that is none, in docker's words."""
    if settings.type not in _OPTIONS:
        message = f"logger: no log driver named '{settings.type}' is registered"
        raise InvalidArgument(message, hint="json-file, local and none are built")
    options = settings.config
    for key, value in options.items():
        if key not in _OPTIONS[settings.type]:
            raise InvalidArgument(f"unknown log opt '{key}' for {settings.type} log driver")
        _CHECKS.get(key, _anything)(value)
    if _files(options, 2) == 1 and _boolean(options.get("compress", "false")):
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    if "max-buffer-size" in options and options.get("mode") != "non-blocking":
        raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")


def settings(record: ContainerRecord) -> dict[str, Any]:
    """Return the members of a StartRequest that bound a container's log and add to its entries."""
    local, options = record.host.log_config.type == "local", record.host.log_config.config
    files = _files(options, _LOCAL_FILES if local else LOG_FILES)
    compress = _boolean(options.get("compress", "true" if local else "false"))
    return {
        "log_max_size": _size(options.get("max-size", ""))
        if "max-size" in options
        else _default(local=local),
        "log_max_file": files,
        "log_compress": compress and files > 1,
        "log_attributes": tuple(sorted(_attributes(record))),
    }


def _default(*, local: bool) -> int:
    return _LOCAL_SIZE if local else LOG_SIZE


def _files(options: Mapping[str, str], default: int) -> int:
    return int(options.get("max-file") or default)


def _attributes(record: ContainerRecord) -> Iterator[tuple[str, str]]:
    """Yield what labels, env and tag add to each entry."""
    options = record.host.log_config.config
    env = dict(word.partition("=")[::2] for word in record.config.env)
    for key, source in (("labels", record.config.labels), ("env", env)):
        names = set(filter(None, options.get(key, "").split(",")))
        if options.get(f"{key}-regex"):
            import re

            pattern = re.compile(options[f"{key}-regex"])
            names |= {name for name in source if pattern.search(name)}
        yield from ((name, source[name]) for name in names if name in source)
    if options.get("tag"):
        yield "tag", _tag(options["tag"], record)


def _tag(text: str, record: ContainerRecord) -> str:
    values = (
        *(record.id[:12], record.id, record.name, record.image_id.partition(":")[2][:12]),
        *(record.image_id, record.config.image, "tiffin"),
    )
    for name, value in zip(_FIELDS, values, strict=True):
        text = text.replace("{{." + name + "}}", value)
    return text


# --- checks -------------------------------------------------------------------------------------


def _anything(_value: str) -> None:
    """Take whatever stands there."""


def _check_files(value: str) -> None:
    if not (value.isascii() and value.isdigit() and int(value)):
        raise InvalidArgument(f"max-file cannot be less than 1: {value}")


def _check_mode(value: str) -> None:
    if value not in {"blocking", "non-blocking"}:
        raise InvalidArgument(f"logger: logging mode not supported: {value}")


def _check_tag(value: str) -> None:
    for name in _FIELDS:
        value = value.replace("{{." + name + "}}", "")
    if "{{" in value:
        raise InvalidArgument(f"invalid tag template: {value}", hint="for example {{.Name}}/{{.ID}}")


def _check_pattern(value: str) -> None:
    import re

    try:
        re.compile(value)
    except re.error as error:
        raise InvalidArgument(f"error parsing regexp: {error}: `{value}`") from error


def _boolean(value: str) -> bool:
    if value not in {"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"}:
        raise InvalidArgument(f'strconv.ParseBool: parsing "{value}": invalid syntax')
    return value in {"1", "t", "T", "true", "TRUE", "True"}


def _size(text: str) -> int:
    """Read docker's sizes (`10m`, `100k`; -1 is unlimited, which is 0 here)."""
    if text == "-1":
        return 0
    number = text.rstrip("bkmgBKMG")
    suffix = text[len(number) :].lower()
    if not (number.isascii() and number.isdigit() and int(number)) or suffix not in _SUFFIXES:
        message = f"invalid value for max-size: {text!r}"
        raise InvalidArgument(message, hint="for example 10m; -1 lifts the bound")
    return int(number) * _SUFFIXES[suffix]


_CHECKS = {
    "compress": _boolean,
    "env-regex": _check_pattern,
    "labels-regex": _check_pattern,
    "max-buffer-size": _size,
    "max-file": _check_files,
    "max-size": _size,
    "mode": _check_mode,
    "tag": _check_tag,
}
