"""The flags of `run` and `create` about networks and published ports, in docker's grammar."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.spec import port
from tiffin.spec.network import EndpointConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.parser import Parsed

FLAGS = ("network", "ip", "ip6", "mac-address", "link-local-ip", "network-alias", "link")
"""What makes up how a container is on its networks."""

_FIELDS = (
    *("name", "alias", "ip", "ip6", "mac", "mac-address", "link-local-ip", "driver-opt", "gw-priority"),
)
_MODES = ("none", "host", "default")


def networks(parsed: Parsed) -> tuple[str, dict[str, EndpointConfig]]:
    """Return the network mode, and how the container wants to be on each network (the mode's first)."""
    found: dict[str, EndpointConfig] = {}
    for text in parsed.many("network") or ["default"]:
        name, endpoint = _network(parsed, text)
        if name in found:
            raise InvalidArgument(f"network {name} is specified multiple times", hint="name it once")
        found[name] = endpoint
    mode = next(iter(found))
    found[mode] = _with_flags(parsed, mode, found[mode])
    if mode.startswith("container:") or mode in _MODES[:2]:
        found = {name: endpoint for name, endpoint in found.items() if name != mode}
    return mode, found


def _network(parsed: Parsed, text: str) -> tuple[str, EndpointConfig]:
    """Read `NAME`, docker's `name=NAME,alias=...`, or `NAME:alias=...,ip=...`."""
    if not text:
        raise InvalidArgument("no name set for network")
    if "=" not in text:
        return text, EndpointConfig()
    head, colon, rest = text.partition(":")
    fields = f"name={head},{rest}" if colon and "=" not in head else text
    said: dict[str, list[str]] = {key: [] for key in _FIELDS}
    for field in fields.split(","):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals or not value:
            raise parsed.invalid("network", text, f'invalid field {field}: expected format is "key=value"')
        if key not in said:
            raise parsed.invalid("network", text, f"invalid field key {key}")
        said[key].append(value)
    if not said["name"]:
        raise InvalidArgument("no name set for network")
    return said["name"][-1], _endpoint(parsed, text, said)


def _endpoint(parsed: Parsed, text: str, said: dict[str, list[str]]) -> EndpointConfig:
    priority = (said["gw-priority"] or ["0"])[-1]
    try:
        number = int(priority)
    except ValueError:
        raise parsed.invalid("network", text, f"invalid gw-priority: {priority}") from None
    return EndpointConfig(
        aliases=tuple(said["alias"]),
        link_local=tuple(said["link-local-ip"]),
        driver_opts=dict(option.partition("=")[::2] for option in said["driver-opt"]),
        gw_priority=number,
        ip4="".join(said["ip"][-1:]),
        ip6="".join(said["ip6"][-1:]),
        mac="".join((*said["mac"], *said["mac-address"])[-1:]),
    )


def _with_flags(parsed: Parsed, mode: str, endpoint: EndpointConfig) -> EndpointConfig:
    """Return what the flags of old say, which are about the first network."""
    members = (
        ("network-alias", "aliases", "alias", tuple(parsed.many("network-alias"))),
        ("ip", "ip4", "IPv4 address", parsed.text("ip")),
        ("ip6", "ip6", "IPv6 address", parsed.text("ip6")),
        ("mac-address", "mac", "MAC address", parsed.text("mac-address")),
        ("link-local-ip", "link_local", "link-local IP addresses", tuple(parsed.many("link-local-ip"))),
    )
    said: dict[str, Any] = {}
    for flag, member, what, value in members:
        if not value:
            continue
        if getattr(endpoint, member):
            raise InvalidArgument(f"conflicting options: cannot specify both --{flag} and per-network {what}")
        said[member] = value
    if not said:
        return endpoint
    if mode.startswith("container:"):
        what = "mac-address" if "mac" in said else "network endpoint settings"
        raise InvalidArgument(f"conflicting options: {what} and the network mode")
    return endpoint.replace(**said)


def published(parsed: Parsed) -> tuple[port.PortBinding, ...]:
    """Return what `-p` says; raises InvalidArgument."""
    return tuple(binding for text in parsed.many("publish") for binding in binding_of(text))


def binding_of(text: str) -> tuple[port.PortBinding, ...]:
    """Return the bindings of one `-p`, also in the long form (`published=8080,target=80`)."""
    if "=" not in text:
        return port.parse(text)
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    unknown = fields.keys() - {"published", "target", "protocol", "mode"}
    if unknown:
        raise InvalidArgument(f"invalid field key {min(unknown)}")
    if not fields.get("target"):
        raise InvalidArgument(f"invalid publish: {text}: no target port")
    host = f"{fields['published']}:" if fields.get("published") else ""
    return port.parse(f"{host}{fields['target']}/{fields.get('protocol') or 'tcp'}")
