"""Flags of `run` and `create` that are handed on: ulimits, sysctls, devices, names, logging, annotations."""

from __future__ import annotations

from tiffin.cli import keyvalues
from tiffin.cli.parser import quoted
from tiffin.errors import InvalidArgument
from tiffin.runtime import cdi
from tiffin.spec.container import Device, DeviceRequest, LogConfig, Rate, Ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.cli.parser import Parsed


def members(parsed: Parsed) -> dict[str, Any]:
    """Return the members of HostConfig that these flags make; raises InvalidArgument and UsageError."""
    return {
        "ulimits": tuple(_ulimit(parsed, text) for text in parsed.many("ulimit")),
        "sysctls": keyvalues.pairs(parsed.many("sysctl")),
        "group_add": tuple(parsed.many("group-add")),
        "devices": tuple(_device(text) for text in parsed.many("device") if not cdi.is_name(text)),
        "device_requests": _requests(parsed),
        "device_cgroup_rules": tuple(_rule(parsed, text) for text in parsed.many("device-cgroup-rule")),
        "extra_hosts": tuple(_extra_host(parsed, text) for text in parsed.many("add-host")),
        "dns": tuple(_address(parsed, "dns", text, text) for text in parsed.many("dns")),
        "dns_search": tuple(parsed.many("dns-search")),
        "dns_options": tuple(parsed.many("dns-option")),
        "annotations": keyvalues.pairs(parsed.many("annotation")),
        "log_config": LogConfig(
            type=parsed.text("log-driver") or "json-file", config=keyvalues.pairs(parsed.many("log-opt"))
        ),
        "isolation": parsed.text("isolation"),
        "on_unhealthy": parsed.text("on-unhealthy"),
        "egress": _egress(parsed),
        "cgroup_parent": parsed.text("cgroup-parent"),
        **{field: _mode(parsed, flag) for flag, field in _MODES.items()},
    }


def of_builds(parsed: Parsed) -> dict[str, Any]:
    """Return what commands of a build are handed on, as members of HostConfig."""
    return {
        "ulimits": tuple(_ulimit(parsed, text) for text in parsed.many("ulimit")),
        "extra_hosts": tuple(_extra_host(parsed, text) for text in parsed.many("add-host")),
        "cgroup_parent": parsed.text("cgroup-parent"),
    }


def _egress(parsed: Parsed) -> tuple[str, ...] | None:
    """Return what `allow=A,B`, as often as one likes, or `none` says; None where nothing is said."""
    texts = parsed.many("egress")
    if not texts:
        return None
    from tiffin.engine import egress

    listed: list[str] = []
    for text in texts:
        word, equals, values = text.partition("=")
        if text != "none" and (word != "allow" or not equals):
            raise parsed.invalid("egress", text, "it is allow=NAME|NETWORK[:PORT],... or none")
        listed += filter(None, values.split(","))
    return tuple(dict.fromkeys(egress.written(listed)))


def limits(parsed: Parsed) -> dict[str, Any]:
    """Return the rarer limits that were given, by their flags' names or those in HostConfig."""
    found: dict[str, Any] = {}
    for name, field in _NUMBERS.items():
        if parsed.given(name):
            found[field] = parsed.number(name)
    if parsed.given("oom-kill-disable"):
        found["oom_kill_disable"] = parsed.flag("oom-kill-disable")
    if parsed.given("memory-swappiness") and parsed.number("memory-swappiness") != -1:
        found["memory_swappiness"] = parsed.number("memory-swappiness")
    for name, (field, read) in _RATES.items():
        if parsed.given(name):
            found[field] = tuple(_rate(parsed, name, text, read) for text in parsed.many(name))
    return found


def _mode(parsed: Parsed, flag: str) -> str:
    """Return a namespace's mode; what can never be one is refused in the words of docker's client."""
    mode = parsed.text(flag)
    word, known = _KNOWN.get(flag, ("", ()))
    joined = flag == "pid" and mode.startswith("container:") and mode != "container:"
    if word and mode not in known and not joined:
        raise InvalidArgument(f"--{flag}: invalid {word} mode")
    return mode


def _rule(parsed: Parsed, text: str) -> str:
    from tiffin.runtime import devices

    try:
        devices.check_rule(text)
    except InvalidArgument as error:
        raise parsed.invalid("device-cgroup-rule", text, error.message) from error
    return text


def _requests(parsed: Parsed) -> tuple[DeviceRequest, ...]:
    """Return what is asked for by name, then the gpus (`all`, `2`, `device=0,1` and the like)."""
    names = tuple(text for text in parsed.many("device") if cdi.is_name(text))
    found = [DeviceRequest(driver="cdi", device_ids=names)] if names else []
    return (*found, *(_gpus(parsed, text) for text in parsed.many("gpus")))


def _gpus(parsed: Parsed, text: str) -> DeviceRequest:
    import csv  # quoted lists of lists, for those who ask for gpus

    count, driver, options = 0, "", ""
    ids: tuple[str, ...] = ()
    capabilities = ["gpu"]
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if not equals or key == "count":
            count = _gpu_count(parsed, text, value if equals else key)
        elif key == "device":
            ids = tuple(value.split(","))
        elif key == "driver":
            driver = value
        elif key == "capabilities":
            capabilities += value.split(",")
        elif key == "options":
            options = value
        else:
            raise parsed.invalid("gpus", text, f"unexpected key '{key}' in '{field}'")
    if count and ids:
        raise parsed.invalid("gpus", text, "cannot set both Count and DeviceIDs on device request")
    return DeviceRequest(
        driver=driver,
        count=0 if ids else count or 1,
        device_ids=ids,
        capabilities=(tuple(capabilities),),
        options=keyvalues.pairs(options.split(",") if options else []),
    )


def _gpu_count(parsed: Parsed, text: str, count: str) -> int:
    if count == "all":
        return -1
    if not (count.isascii() and count.isdigit()):
        why = f'invalid count ({count}): value must be either "all" or an integer'
        raise parsed.invalid("gpus", text, why)
    return int(count)


def _rate(parsed: Parsed, name: str, text: str, read: Callable[[str], int]) -> Rate:
    """Read `/dev/sda:1mb`."""
    path, colon, value = text.rpartition(":")
    if not colon or not value:
        raise parsed.invalid(name, text, f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise parsed.invalid(name, text, f"bad format for device path: {text}")
    try:
        return Rate(path=path, rate=read(value))
    except ValueError:
        raise parsed.invalid(name, text, _WRONG[name.rpartition("-")[2]].format(text=text)) from None


def _bytes(text: str) -> int:
    from tiffin.cli import amounts

    return amounts.size(text)


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _weight(text: str) -> int:
    weight = _natural(text)
    if weight and not 10 <= weight <= 1000:
        raise ValueError(text)
    return weight


_MODES = {
    "cgroupns": "cgroupns_mode",
    "ipc": "ipc_mode",
    "pid": "pid_mode",
    "userns": "userns_mode",
    "uts": "uts_mode",
}
_KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "cgroupns": ("CGROUP", ("", "host", "private")),
    "pid": ("PID", ("", "host")),
    "userns": ("USER", ("", "host")),
    "uts": ("UTS", ("", "host")),
}
_NUMBERS = {
    "blkio-weight": "blkio_weight",
    "cpu-rt-period": "cpu_realtime_period",
    "cpu-rt-runtime": "cpu_realtime_runtime",
}
_RATES: dict[str, tuple[str, Callable[[str], int]]] = {
    "blkio-weight-device": ("blkio_weight_device", _weight),
    "device-read-bps": ("blkio_device_read_bps", _bytes),
    "device-read-iops": ("blkio_device_read_iops", _natural),
    "device-write-bps": ("blkio_device_write_bps", _bytes),
    "device-write-iops": ("blkio_device_write_iops", _natural),
}
_ULIMITS = {
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
    *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
}
_FORMAT = "invalid rate for device: {text}. The correct format is <device-path>:<number>"
_WRONG = {
    "device": "invalid weight for device: {text}",
    "bps": (
        f"{_FORMAT}[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
    ),
    "iops": f"{_FORMAT}. Number must be a positive integer",
}


def _ulimit(parsed: Parsed, text: str) -> Ulimit:
    try:
        return _read_ulimit(text)
    except ValueError as error:
        raise parsed.invalid("ulimit", text, str(error)) from None


def _read_ulimit(text: str) -> Ulimit:
    """Read `NAME=SOFT[:HARD]`; raise ValueError with docker's words."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft, colon, hard = value.partition(":")
    if ":" in hard:
        message = f"too many limit value arguments - {value}, can only have up to two, `soft[:hard]`"
        raise ValueError(message)
    high = _limit(hard if colon else soft)
    low = _limit(soft)
    wrong = f"{low} > {high}" if low > high else f"soft: -1 (unlimited), hard: {high}" if low == -1 else ""
    if wrong and high != -1:
        message = f"ulimit soft limit must be less than or equal to hard limit: {wrong}"
        raise ValueError(message)
    return Ulimit(name=name, soft=low, hard=high)


def _limit(text: str) -> int:
    """Read a decimal number as Go does; raise ValueError with its words."""
    if not text.lstrip("+-").isdecimal() or not text.isascii():
        message = f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax"
        raise ValueError(message)
    return int(text)


def _device(text: str) -> Device:
    parts = text.split(":")
    permissions = parts.pop() if len(parts) > 1 and _is_mode(parts[-1]) else "rwm"
    if len(parts) > 2 or not parts[0]:
        raise InvalidArgument(f"invalid device specification: {text}")
    return Device(source=parts[0], target=parts[-1], permissions=permissions)


def _is_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _extra_host(parsed: Parsed, text: str) -> str:
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name:
        raise parsed.invalid("add-host", text, f'bad format for add-host: "{text}"')
    if address == "host-gateway":
        return f"{name}:{address}"
    return f"{name}:{_address(parsed, 'add-host', text, address.strip('[]'))}"


def _address(parsed: Parsed, flag: str, text: str, address: str) -> str:
    import ipaddress  # 5 ms, for those who name addresses

    try:
        return str(ipaddress.ip_address(address.strip()))
    except ValueError:
        why = f'invalid IP address in add-host: "{address}"'
        if flag == "dns":
            why = f"{address} is not an ip address"
        raise parsed.invalid(flag, text, why) from None
