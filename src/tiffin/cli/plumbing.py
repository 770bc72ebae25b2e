"""Flags of `run` and `create` that are handed on: ulimits, sysctls, devices, names, logging, annotations."""

from __future__ import annotations

from tiffin.cli import keyvalues
from tiffin.errors import InvalidArgument
from tiffin.spec.container import Device, LogConfig, Ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.parser import Parsed


def members(parsed: Parsed) -> dict[str, Any]:
    """Return the members of HostConfig that these flags make; raises InvalidArgument and UsageError."""
    return {
        "ulimits": tuple(_ulimit(parsed, text) for text in parsed.many("ulimit")),
        "sysctls": keyvalues.pairs(parsed.many("sysctl")),
        "group_add": tuple(parsed.many("group-add")),
        "devices": tuple(map(_device, parsed.many("device"))),
        "extra_hosts": tuple(_extra_host(parsed, text) for text in parsed.many("add-host")),
        "dns": tuple(_address(parsed, "dns", text, text) for text in parsed.many("dns")),
        "dns_search": tuple(parsed.many("dns-search")),
        "dns_options": tuple(parsed.many("dns-option")),
        "annotations": keyvalues.pairs(parsed.many("annotation")),
        "log_config": LogConfig(
            type=parsed.text("log-driver") or "json-file", config=keyvalues.pairs(parsed.many("log-opt"))
        ),
    }


def _ulimit(parsed: Parsed, text: str) -> Ulimit:
    name, equals, value = text.partition("=")
    soft, colon, hard = value.partition(":")
    try:
        if not equals:
            raise ValueError(f"invalid ulimit argument: {text}")
        low = int(soft)
        high = int(hard) if colon else low
    except ValueError:
        raise parsed.invalid("ulimit", text, f"invalid ulimit argument: {text}") from None
    if high >= 0 and (low > high or low < 0):
        why = f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}"
        raise parsed.invalid("ulimit", text, why)
    return Ulimit(name=name, soft=low, hard=high)


def _device(text: str) -> Device:
    parts = text.split(":")
    permissions = parts.pop() if len(parts) > 1 and _is_mode(parts[-1]) else "rwm"
    if len(parts) > 2 or not parts[0]:
        raise InvalidArgument(f"invalid device specification: {text}")
    if "=" in parts[0] and not parts[0].startswith("/"):
        raise InvalidArgument(f"CDI devices are not built yet: {text}", hint="name a device node below /dev")
    return Device(source=parts[0], target=parts[-1], permissions=permissions)


def _is_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _extra_host(parsed: Parsed, text: str) -> str:
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name:
        raise parsed.invalid("add-host", text, f'bad format for add-host: "{text}"')
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
