"""Interfaces, addresses and routes: rtnetlink's messages, and the few questions that are asked of it."""

from __future__ import annotations

import _socket
import struct

from tiffin.network.netlink import (
    CREATE,
    EXCLUSIVE,
    ROUTE,
    Netlink,
    attribute,
    attributes,
    nested,
    number,
    text,
)
from tiffin.network.subnet import Subnet, family_of, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.network.netlink import Message

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _GETADDR, _NEWROUTE, _GETROUTE = 20, 22, 24, 26
_ADDRESS, _NAME, _MTU, _MASTER, _LINKINFO, _NET_NS_FD, _AF_SPEC = 1, 3, 4, 10, 18, 28, 26
_ALIAS = 20
_KIND, _DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER = 1
_PORT_HAIRPIN, _PORT_ISOLATED = 4, 33
_INET6, _GENERATION = 10, 8
_UP = 1
_LINK = struct.Struct("=BxHiII")
_ADDRESS_HEAD = struct.Struct("=BBBBI")
_ROUTE_HEAD = struct.Struct("=BBBBBBBBI")
_LOCAL, _BROADCAST, _FLAGS = 2, 4, 8
_NO_DAD = 0x02
_MAIN, _BOOT, _STATIC, _UNIVERSE, _LINK_SCOPE, _UNICAST = 254, 3, 4, 0, 253, 1
_SOMEWHERE = "198.41.0.4"  # an address that is never one's own: a root server's
_DESTINATION, _OUT, _GATEWAY, _TABLE = 1, 4, 5, 15


def _head(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _LINK.pack(0, 0, index, flags, change)


def bridge(name: str, hardware: bytes, mtu: int) -> Message:
    """Make a bridge that is up."""
    body = _head(0, _UP, _UP) + text(_NAME, name) + attribute(_ADDRESS, hardware)
    if mtu:
        body += number(_MTU, mtu)
    return _NEWLINK, CREATE | EXCLUSIVE, body + nested(_LINKINFO, text(_KIND, "bridge"))


def alias(index: int, words: str) -> Message:
    """Write on an interface whose it is, for those who find it there; "" is what nothing is said by."""
    return _NEWLINK, 0, _head(index) + text(_ALIAS, words)


def pair(
    name: str, master: int, *, peer: str, namespace: int, hardware: bytes, mtu: int, connected: bool = True
) -> Message:
    """Make a veth pair: our end in a bridge, the other in a namespace, still down (ENOTCONN if not).

    Our end is up if it is to be `connected` at once.
    """
    flags = _UP if connected else 0
    size = number(_MTU, mtu) if mtu else b""
    other = _head() + text(_NAME, peer) + number(_NET_NS_FD, namespace) + attribute(_ADDRESS, hardware) + size
    info = nested(_LINKINFO, text(_KIND, "veth"), nested(_DATA, attribute(_VETH_PEER, other)))
    return (
        _NEWLINK,
        CREATE | EXCLUSIVE,
        _head(0, flags, flags) + text(_NAME, name) + number(_MASTER, master) + size + info,
    )


def port_flags(index: int, *, hairpin: bool, isolated: bool) -> Message:
    """Say of a bridge's port whether frames may leave where they came from, and whether neighbours see it."""
    flags = attribute(_PORT_HAIRPIN, bytes((hairpin,))) + attribute(_PORT_ISOLATED, bytes((isolated,)))
    info = nested(_LINKINFO, text(_SLAVE_KIND, "bridge"), nested(_SLAVE_DATA, flags))
    return _NEWLINK, 0, _head(index) + info


def up(index: int, *, ipv6: bool = True) -> Message:
    """Bring an interface up; without `ipv6` it gets no address of that family by itself."""
    body = _head(index, _UP, _UP)
    if not ipv6:
        body += nested(_AF_SPEC, nested(_INET6, attribute(_GENERATION, b"\1")))
    return _NEWLINK, 0, body


def remove(index: int) -> Message:
    """Remove an interface; its peer goes with it."""
    return _DELLINK, 0, _head(index)


def address(index: int, ip: str, bits: int) -> Message:
    """Give an interface an address; an IPv6 one is usable at once, as nobody else can have it."""
    raw = pack(ip)
    head = _ADDRESS_HEAD.pack(family_of(ip), bits, _NO_DAD if len(raw) == 16 else 0, 0, index)
    body = head + attribute(_LOCAL, raw) + attribute(1, raw)
    if len(raw) == 4:
        body += attribute(_BROADCAST, pack(Subnet.of(ip, bits).last))
    return _NEWADDR, CREATE, body


def default_route(index: int, gateway: str) -> Message:
    """Send what goes to no known network through a gateway."""
    head = _ROUTE_HEAD.pack(family_of(gateway), 0, 0, 0, _MAIN, _BOOT, _UNIVERSE, _UNICAST, 0)
    return _NEWROUTE, CREATE, head + attribute(_GATEWAY, pack(gateway)) + number(_OUT, index)


def no_default_route(family: int) -> Message:
    """Forget where what goes to no known network is sent."""
    head = _ROUTE_HEAD.pack(family, 0, 0, 0, _MAIN, 0, _UNIVERSE, 0, 0)
    return 25, 0, head


def index_of(netlink: Netlink, name: str) -> int:
    """Return the number of an interface, 0 if there is none of this name."""
    found = netlink.get(_GETLINK, _head() + text(_NAME, name))
    return int(_LINK.unpack_from(found)[2]) if found else 0


def described(netlink: Netlink) -> Iterator[tuple[int, str, str, int]]:
    """Yield (number, name, alias, number of the bridge it is in) of every interface, "" and 0 for none."""
    for body in netlink.dump(_GETLINK, _head()):
        found = attributes(body[_LINK.size :])
        name, words = (
            found.get(kind, b"").rstrip(b"\0").decode(errors="replace") for kind in (_NAME, _ALIAS)
        )
        yield _LINK.unpack_from(body)[2], name, words, int.from_bytes(found.get(_MASTER, b""), "little")


def routed(netlink: Netlink) -> list[Subnet]:
    """Return the networks that this namespace has routes to, the default ones left out."""
    found = []
    for body in netlink.dump(_GETROUTE, _ROUTE_HEAD.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, bits = body[0], body[1]
        destination = attributes(body[_ROUTE_HEAD.size :]).get(_DESTINATION, b"")
        # Other tables hold each address by itself, broadcasts and the loopback.
        if bits and body[4] == _MAIN and len(destination) == (4 if family == 2 else 16):
            found.append(Subnet.from_packed(destination, bits))
    return found


def outward() -> str:
    """Return this host's own IPv4 address towards other hosts, or any that is not of the loopback, or ""."""
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        probe.connect((_SOMEWHERE, 9))  # which sends nothing
        return str(probe.getsockname()[0])
    except OSError:
        pass  # no route leads there
    finally:
        probe.close()
    with open_route() as netlink:
        for body in netlink.dump(_GETADDR, _ADDRESS_HEAD.pack(_socket.AF_INET, 0, 0, 0, 0)):
            local = attributes(body[_ADDRESS_HEAD.size :]).get(_LOCAL, b"")
            if body[3] == _UNIVERSE and len(local) == 4:
                return unpack(local)
    return ""


def open_route() -> Netlink:
    """Open a socket for all of the above, in the calling thread's namespace."""
    return Netlink(ROUTE)
