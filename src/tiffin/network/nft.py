"""nfnetlink for nftables: elements of maps (0.1 ms where `nft` takes 3), and the redirect of names.

What is set up once for a network is text for `nft` (see `rules`); what happens at each start of a
container is a message made here. Numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct

from tiffin.network.netlink import (
    CREATE,
    NETFILTER,
    Netlink,
    attribute,
    attributes,
    nested,
    sequence,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tiffin.network.netlink import Message

_SUBSYSTEM = 10
_BEGIN, _END = 16, 17
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = 0, 1, 2, 3, 4, 6
_NEWELEMENT, _GETELEMENT, _DELELEMENT = 12, 13, 14
_INET, _IPV4 = 1, 2
NETDEV = 5
_LIST, _VALUE = 1, 1
_TIMEOUT, _EXPIRATION, _EXPRESSION = 4, 5, 7
_LOCAL_OUT = 3
_CHANGES = 7
_INPUT, _FORWARD = 1, 2
_REGISTER1, _REGISTER2 = 1, 2
_L4PROTO = 16
_DNAT = 1
_DROP = 0
_IPTABLES = {2: "ip", 10: "ip6"}
DOCKER = "DOCKER-USER"
"""The chain in which docker lets others have a say."""


def _head(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _message(kind: int, family: int, flags: int, *parts: bytes) -> Message:
    return _SUBSYSTEM << 8 | kind, flags, _head(family) + b"".join(parts)


def _big(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def _together(socket: Netlink, what: str, *messages: Message) -> None:
    """Do all of it or nothing."""
    mark = _head(0, _SUBSYSTEM)
    socket.batch(what, (_BEGIN, 0, mark), (_END, 0, mark), messages)


def open_nft() -> Netlink:
    """Open a socket for what is here, in the calling thread's network namespace."""
    return Netlink(NETFILTER)


def has_table(socket: Netlink, name: str, family: int = _INET) -> bool:
    """Tell whether a table is there."""
    return socket.get(_SUBSYSTEM << 8 | _GETTABLE, _head(family) + text(1, name)) is not None


def gates(socket: Netlink) -> Iterator[tuple[str, str, bool]]:
    """Yield (family, chain, whether it drops by policy) of iptables' chains that let bridges through."""
    for body in socket.dump(_SUBSYSTEM << 8 | _GETCHAIN, _head(0)):
        found = attributes(body[4:])
        table, chain = (found.get(kind, b"").rstrip(b"\0").decode(errors="replace") for kind in (1, 3))
        if body[0] in _IPTABLES and table == "filter" and chain in {DOCKER, "FORWARD"}:
            yield _IPTABLES[body[0]], chain, found.get(5) == struct.pack(">I", _DROP)


# --- elements of maps ---------------------------------------------------------------------------


def key(*fields: bytes) -> bytes:
    """Return a concatenated key, or value: each field padded to four bytes."""
    return b"".join(field + b"\0" * (-len(field) % 4) for field in fields)


def _elements(kind: int, flags: int, table: str, name: str, pairs: Iterable[tuple[bytes, bytes]]) -> Message:
    listed = []
    for left, right in pairs:
        parts = [nested(1, attribute(_VALUE, left))]
        if right:
            parts.append(nested(2, attribute(_VALUE, right)))
        listed.append(nested(_LIST, *parts))
    return _message(kind, _INET, flags, text(1, table), text(2, name), nested(3, *listed))


def add(socket: Netlink, table: str, maps: dict[str, list[tuple[bytes, bytes]]]) -> None:
    """Add elements to maps of a table, all or none; raise OSError."""
    messages = [_elements(_NEWELEMENT, CREATE, table, name, pairs) for name, pairs in maps.items() if pairs]
    if messages:
        _together(socket, f"nftables: {table}", *messages)


def discard(socket: Netlink, table: str, maps: dict[str, list[tuple[bytes, bytes]]]) -> None:
    """Take elements out of maps, each by itself; those that are not there are no error."""
    for name, pairs in maps.items():
        for pair in pairs:
            try:
                _together(socket, f"nftables: {table}", _elements(_DELELEMENT, 0, table, name, [pair]))
            except OSError:
                continue


# --- sets whose elements have an end ---------------------------------------------------------------


def renew(socket: Netlink, table: str, name: str, key: bytes, seconds: float) -> None:
    """Let an element of a set of the netdev family be there for a time from now on; raises OSError."""
    ends = attribute(_TIMEOUT, struct.pack(">Q", int(seconds * 1000)))
    words = (text(1, table), text(2, name))
    old = _message(
        _DELELEMENT, NETDEV, 0, *words, nested(3, nested(_LIST, nested(1, attribute(_VALUE, key))))
    )
    new = _message(
        _NEWELEMENT, NETDEV, CREATE, *words, nested(3, nested(_LIST, nested(1, attribute(_VALUE, key)), ends))
    )
    try:  # kernels before 6.12 leave the end of an element that is there as it is
        _together(socket, f"nftables: {table}", old, new)
    except FileNotFoundError:
        _together(socket, f"nftables: {table}", new)


def counted(socket: Netlink, table: str, name: str) -> Iterator[tuple[bytes, int, float]]:
    """Yield (key, packets, seconds since the last) of a set of the netdev family that counts."""
    request = _head(NETDEV) + text(1, table) + text(2, name)
    for body in socket.dump(_SUBSYSTEM << 8 | _GETELEMENT, request):
        for one in sequence(attributes(body[4:]).get(3, b"")):
            element = attributes(one)
            key = attributes(element[1])[_VALUE]
            counter = attributes(attributes(element.get(_EXPRESSION, b"")).get(2, b""))
            timeout, left = (int.from_bytes(element.get(k, b""), "big") for k in (_TIMEOUT, _EXPIRATION))
            yield key, int.from_bytes(counter.get(2, b"\0\0\0\1"), "big"), max(0, timeout - left) / 1000


def follow(socket: Netlink) -> int:
    """Hear of all changes from now on, at the descriptor that is returned."""
    return socket.follow(_CHANGES)


# --- the redirect of names, inside a container's namespace ---------------------------------------


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(_LIST, text(1, name), nested(2, *parts))


def _is(register: int, value: bytes) -> bytes:
    return _expression("cmp", _big(1, register), _big(2, 0), nested(3, attribute(_VALUE, value)))


def _load(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _big(1, _REGISTER1), _big(2, base), _big(3, offset), _big(4, length))


def _put(register: int, value: bytes) -> bytes:
    return _expression("immediate", _big(1, register), nested(2, attribute(_VALUE, value)))


def _redirect(table: str, chain: str, address: bytes, protocol: int, port: int) -> Message:
    expressions = (
        _load(1, 16, 4),
        _is(_REGISTER1, address),
        _expression("meta", _big(1, _REGISTER1), _big(2, _L4PROTO)),
        _is(_REGISTER1, bytes((protocol,))),
        _load(2, 2, 2),
        _is(_REGISTER1, struct.pack(">H", 53)),
        _put(_REGISTER1, address),
        _put(_REGISTER2, struct.pack(">H", port)),
        _expression("nat", _big(1, _DNAT), _big(2, _IPV4), _big(3, _REGISTER1), _big(5, _REGISTER2)),
    )
    return _message(_NEWRULE, _IPV4, CREATE, text(1, table), text(2, chain), nested(4, *expressions))


def redirect_names(socket: Netlink, address: bytes, udp: int, tcp: int) -> None:
    """Send what is asked of `address`, port 53, to two other ports there: 53 stays the container's own."""
    table, chain = "tiffin_names", "output"
    hook = nested(4, _big(1, _LOCAL_OUT), _big(2, -100))
    _together(
        socket,
        "nftables: the redirect of names",
        _message(_NEWTABLE, _IPV4, CREATE, text(1, table)),
        _message(_NEWCHAIN, _IPV4, CREATE, text(1, table), text(3, chain), hook, text(7, "nat")),
        _redirect(table, chain, address, 17, udp),
        _redirect(table, chain, address, 6, tcp),
    )


# --- looking at the host -------------------------------------------------------------------------


def dropping(socket: Netlink) -> Iterator[tuple[str, str]]:
    """Yield (hook, table) of base chains that drop by policy what comes in or goes through the host.

    firewalld refuses both by a last rule instead, and is known by its table.
    """
    if has_table(socket, "firewalld"):
        yield from (("input", "firewalld"), ("forward", "firewalld"))
    names = {_INPUT: "input", _FORWARD: "forward"}
    for body in socket.dump(_SUBSYSTEM << 8 | _GETCHAIN, _head(0)):
        found = attributes(body[4:])
        if 4 in found and found.get(5) == struct.pack(">I", _DROP):
            hook = attributes(found[4]).get(1, b"\0\0\0\0")
            number = int.from_bytes(hook, "big")
            if number in names:
                yield names[number], found.get(1, b"").rstrip(b"\0").decode(errors="replace")
