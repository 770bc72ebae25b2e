"""Published ports in docker's grammar: `[[HOST-ADDRESS:]HOST-PORT[-LAST]:]PORT[-LAST][/PROTOCOL]`."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.spec.members import a_list, an_object
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOLS = ("tcp", "udp", "sctp")


class PortBinding(Value):
    """A container's port (`80/tcp`) on the host: an address ("" is the default), a port or range ("" any)."""

    port: str
    host_ip: str = ""
    host_port: str = ""

    @property
    def number(self) -> int:
        """The container's port."""
        return int(self.port.partition("/")[0])

    @property
    def protocol(self) -> str:
        """`tcp`, `udp` or `sctp`."""
        return self.port.partition("/")[2] or "tcp"


def from_json(value: dict[str, Any]) -> tuple[PortBinding, ...]:
    """Read the API's `PortBindings`."""
    return tuple(
        PortBinding(
            port=_whole(str(port)),
            host_ip=str(one.get("HostIp") or ""),
            host_port=str(one.get("HostPort") or ""),
        )
        for port, bound in value.items()
        for one in map(an_object, a_list(bound))
    )


def _whole(text: str) -> str:
    number, _, protocol = text.partition("/")
    if not _is_port(number) or (protocol or "tcp") not in PROTOCOLS:
        raise InvalidArgument(f"invalid port: {text}")
    return f"{number}/{protocol or 'tcp'}"


def to_json(bindings: tuple[PortBinding, ...]) -> dict[str, Any]:
    """Write what `from_json` reads."""
    found: dict[str, Any] = {}
    for one in bindings:
        found.setdefault(one.port, []).append({"HostIp": one.host_ip, "HostPort": one.host_port})
    return found


def parse(text: str) -> tuple[PortBinding, ...]:
    """Read one `-p`; a range is several bindings. Raises InvalidArgument in docker's words."""
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid proto: {protocol}" if protocol else f"invalid containerPort: {text}")
    host_ip, host, inner = _parts(rest)
    if not inner:
        raise InvalidArgument(f"no port specified: {text}<empty>")
    first, last = _range(inner, "containerPort")
    if not host:
        return tuple(PortBinding(port=f"{n}/{protocol}", host_ip=host_ip) for n in range(first, last + 1))
    low, high = _range(host, "hostPort")
    if high - low != last - first:
        if first != last:
            raise InvalidArgument(
                f"invalid ranges specified for container and host Ports: {inner} and {host}"
            )
        return (PortBinding(port=f"{first}/{protocol}", host_ip=host_ip, host_port=f"{low}-{high}"),)
    return tuple(
        PortBinding(port=f"{first + n}/{protocol}", host_ip=host_ip, host_port=str(low + n))
        for n in range(last - first + 1)
    )


def _parts(text: str) -> tuple[str, str, str]:
    """Return host address, host port and container port, "" for what is not there."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":") or ":" not in address:
            raise InvalidArgument(f"invalid IP address: {text}")
        host, _, inner = rest[1:].rpartition(":")
        return _address(address), host, inner
    left, _, inner = text.rpartition(":")
    address, _, host = left.rpartition(":")
    return (_address(address) if address else ""), host, inner


def _address(text: str) -> str:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            return _socket.inet_ntop(family, _socket.inet_pton(family, text))
        except (OSError, ValueError):
            continue
    raise InvalidArgument(f"invalid IP address: {text}")


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not _is_port(first) or (dash and not _is_port(last)):
        raise InvalidArgument(f"invalid {what}: {text}")
    low, high = int(first), int(last or first)
    if high < low:
        raise InvalidArgument(f"invalid {what}: {text}")
    return low, high


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65535
