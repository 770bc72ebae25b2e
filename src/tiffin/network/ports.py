"""Published ports: the socket that says a port is taken, and the element of a map that leads to it.

A fact about a published port is a list: host address, host port, protocol, target address, target port. The
target address is "" where only the keeper itself can pass bytes on (an IPv6 client, an IPv4 container).
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

from tiffin.errors import Unavailable, Unsupported
from tiffin.network import nft
from tiffin.network.subnet import family_of, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.network.plan import Port

    Fact = list[Any]
    Maps = dict[str, list[tuple[bytes, bytes]]]

_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM, "sctp": _socket.SOCK_STREAM}
_TABLES = {"tcp": "tcp", "udp": "udp"}
_BACKLOG = 128
ALL = ("0.0.0.0", "::")  # noqa: S104 - docker's default, and a setting


def bind(port: Port, owner: Callable[[Port], str]) -> tuple[_socket.socket, int]:
    """Take a port of the host: the first free one of those asked for; return the socket and its number.

    Raises Unavailable with docker's sentence, and who has it in the hint: `owner` knows the containers.
    """
    failure: OSError | None = None
    for number in range(port.first, port.last + 1):
        try:
            return _bind(port, number)
        except OSError as error:
            failure = error
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                break
    where = f"[{port.host}]" if ":" in port.host else port.host
    place = f"{where}:{port.first}"
    if failure and failure.errno == errno.EADDRINUSE:
        raise Unavailable(
            f"Bind for {place} failed: port is already allocated", hint=_who(port, where, owner(port))
        )
    if failure and failure.errno in {errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT}:
        raise Unsupported(f"port {port.target}/{port.protocol}: this kernel has no {port.protocol}")
    what = f"failed to bind host port for {place}:{port.target}/{port.protocol}"
    if failure and failure.errno == errno.EADDRNOTAVAIL:
        hint = f"no interface of this host has the address {port.host}"
        raise Unavailable(f"{what}: cannot assign requested address", hint=hint)
    raise Unavailable(f"{what}: {(failure.strerror or '').lower() if failure else 'no port'}")


def _bind(port: Port, number: int) -> tuple[_socket.socket, int]:
    protocol = 132 if port.protocol == "sctp" else 0
    made = _socket.socket(
        family_of(port.host), _KINDS[port.protocol] | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, protocol
    )
    try:
        if family_of(port.host) == _socket.AF_INET6:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        made.bind((port.host, number))
        if port.protocol == "tcp":
            made.listen(_BACKLOG)  # only then nobody else can take it
        return made, made.getsockname()[1]
    except BaseException:
        made.close()
        raise


def beside(number: int) -> _socket.socket:
    """Return a socket that gets what the loopback brings to a UDP port that is taken on all addresses."""
    made = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", number))
    except BaseException:
        made.close()
        raise
    return made


def has_ipv6() -> bool:
    """Tell whether this host speaks IPv6."""
    return os.path.exists("/proc/sys/net/ipv6/conf/all") and not _reads(
        "/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"
    )


def _reads(path: str, text: str) -> bool:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip() == text
    except OSError:
        return False


# --- elements -------------------------------------------------------------------------------------


def elements(facts: list[Fact]) -> Maps:
    """Return the elements of the maps for some ports, as netlink has them."""
    found: Maps = {}
    for host, number, protocol, target, target_port in facts:
        if not target:
            continue
        family = "6" if ":" in target else "4"
        name, first = (f"every{family}", ()) if host in ALL else (f"ports{family}", (pack(host),))
        left = nft.key(*first, bytes((_NUMBERS[protocol],)), struct.pack(">H", number))
        found.setdefault(name, []).append((left, nft.key(pack(target), struct.pack(">H", target_port))))
    return found


def texts(fact: Fact) -> list[tuple[str, str]]:
    """Return the same for one port as (map, text)."""
    host, number, protocol, target, target_port = fact
    if not target:
        return []
    family = "6" if ":" in target else "4"
    right = f"{protocol} . {number} : {target} . {target_port}"
    return [(f"every{family}", right)] if host in ALL else [(f"ports{family}", f"{host} . {right}")]


# --- who has it -----------------------------------------------------------------------------------


def _who(port: Port, where: str, owner: str) -> str:
    """Return a sentence about who has a port, as far as it can be known, and what to do."""
    wanted = port.first
    advice = f"use another host port, for example -p {_another(wanted)}:{port.target}"
    owner = owner or _owner(port)
    return f"port {wanted} on {where} is taken by {owner}; {advice}" if owner else advice


def _another(number: int) -> int:
    return number + 8000 if number < 1024 else number + 1


def _owner(port: Port) -> str:
    """Return "nginx (pid 812)", "" if it cannot be seen."""
    sockets = set()
    for name in (_TABLES.get(port.protocol, ""), f"{_TABLES.get(port.protocol, '')}6"):
        try:
            with open(f"/proc/net/{name}", "rb") as stream:
                lines = stream.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            listens = port.protocol != "tcp" or words[3] == b"0A"
            if listens and int(words[1].rpartition(b":")[2], 16) == port.first:
                sockets.add(f"socket:[{words[9].decode()}]")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            held = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
            if held & sockets:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    return f"{stream.read().strip()} (pid {pid})"
        except OSError:
            continue  # it has gone, or is somebody else's
    return ""
