"""Egress lists: where a container may go, and the rules that keep it there.

The rules stand at the host's end of each of its interfaces, where every frame passes that it sends, whatever
it is and whoever wrote it; nothing in the container reaches them. They keep no connection of the host's in
mind but their own: what was called may answer, what was begun may go on. One table a interface, so that it
comes and goes whole; a list that changes is elements of sets.
"""

from __future__ import annotations

import struct

from tiffin.errors import InvalidArgument
from tiffin.network import nft
from tiffin.network.subnet import Subnet, pack, unpack
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tiffin.network.netlink import Netlink

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMED = {1: "icmp", 2: "igmp", 58: "icmp", **{number: name for name, number in PROTOCOLS.items()}}
_LABEL, _NAME = 63, 253
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_FORMS = "NAME, *.NAME, ADDRESS or NETWORK, each with :PORT or :PORT/udp, for example example.org:443"
# What a name may not stand for: this host's loopback, "this", neighbours without a router, everybody.
_NEVER = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8")


class Entry(Value):
    """One thing that may be reached: a name or a subnet ("" for the other), a port or 0 for everything."""

    name: str = ""
    subnet: str = ""
    port: int = 0
    protocol: str = ""

    def __str__(self) -> str:
        """Return it as it is written."""
        what = self.name or self.subnet.removesuffix("/32" if ":" not in self.subnet else "/128")
        if not self.port:
            return what
        return (
            f"[{what}]:{self.port}/{self.protocol}" if ":" in what else f"{what}:{self.port}/{self.protocol}"
        )

    def is_about(self, name: str) -> bool:
        """Tell whether a name (lower case, no last dot) is meant."""
        if self.name.startswith("*."):
            return name.endswith(self.name[1:])
        return bool(self.name) and name == self.name


def parse(text: str) -> Entry:
    """Read one entry; raise InvalidArgument."""
    rest, slash, protocol = text.rpartition("/")
    if not slash or protocol not in PROTOCOLS:
        rest, protocol = text, ""
    if rest.startswith("["):
        what, closed, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
        wrong = not closed or tail == ":" or (bool(tail) and not tail.startswith(":"))
    elif rest.count(":") > 1:
        what, port, wrong = rest, "", False
    else:
        what, colon, port = rest.partition(":")
        wrong = bool(colon) and not port
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if wrong or bool(port) != (0 < number < 65536) or (protocol and not number):
        raise _invalid(text)
    found = Entry(port=number, protocol=protocol or ("tcp" if number else ""))
    if _is_name(what):
        return found.replace(name=_name(what))
    return found.replace(subnet=_subnet(text, what))


def _is_name(what: str) -> bool:
    name = _name(what)
    labels = name.removeprefix("*.").split(".")
    plain = all(label and len(label) <= _LABEL and set(label) <= _LETTERS for label in labels)
    return plain and len(name) <= _NAME and not labels[-1].isdigit()


def _name(what: str) -> str:
    return what.lower().removesuffix(".")


def _subnet(text: str, what: str) -> str:
    bits = "/128" if ":" in what else "/32"
    try:
        return str(Subnet.parse(what if "/" in what else f"{what}{bits}"))
    except InvalidArgument:
        raise _invalid(text) from None


def _invalid(text: str) -> InvalidArgument:
    return InvalidArgument(f"invalid egress entry: {text!r}", hint=_FORMS)


def entries(texts: Iterable[str]) -> tuple[Entry, ...]:
    """Read a list of entries; each counts once."""
    return tuple(dict.fromkeys(map(parse, texts)))


def may_stand_for(ip: str) -> bool:
    """Tell whether a name may lead to an address: not to loopbacks, neighbours without a router, groups."""
    return not any(Subnet.parse(text).offset(ip) >= 0 for text in _NEVER)


# --- the rules ------------------------------------------------------------------------------------


class Interface(Value):
    """The host's end of an interface, and what may come from it."""

    table: str
    device: str
    mac: str
    addresses: tuple[str, ...]
    subnets: tuple[str, ...]


_WORDS = {4: ("ip", "ipv4_addr", "icmp"), 6: ("ip6", "ipv6_addr", "icmpv6")}

_HEAD = """\
table netdev {table} {{
  chain going {{
    type filter hook ingress device "{device}" priority 0; policy drop;
    ether saddr != {mac} drop
    {arp}
    {four}
    {six}
  }}
  chain coming {{
    type filter hook egress device "{device}" priority 0; policy accept;
    meta protocol ip goto coming4
    meta protocol ip6 goto coming6
  }}
"""

# Of one family. A flow is a key: the peer's address, protocol and port, and the container's own port.
_FAMILY = """\
  set allowed{v} {{ type {type} . inet_proto . inet_service; flags interval; {allowed} }}
  set open{v} {{ type {type}; flags interval; auto-merge; {open} }}
  set named{v} {{ type {type} . inet_proto . inet_service; flags timeout; size 4096; {named} }}
  set whole{v} {{ type {type}; flags timeout; size 4096; {whole} }}
  set alive{v} {{ {flow}; size 65536; timeout 2h; }}
  set asked{v} {{ {flow}; size 65536; timeout 3m; }}
  set called{v} {{ {flow}; size 65536; timeout 3m; }}
  set closing{v} {{ {flow}; size 65536; timeout 2m; }}
  set callers{v} {{ type {type}; flags dynamic,timeout; size 4096; timeout 30s; }}
  set reached{v} {{ {seen} . inet_service; {counted} }}
  set refused{v} {{ {seen} . inet_service; {counted} }}
  set passed{v} {{ {seen}; {counted} }}
  set shut{v} {{ {seen}; {counted} }}
  {parts}
  chain refuse{v} {{
    meta l4proto {{ tcp, udp, sctp }} update @refused{v} {{ {target} }}
    meta l4proto != {{ tcp, udp, sctp }} update @shut{v} {{ {ip} daddr . meta l4proto }}
    meta l4proto tcp reject with tcp reset
    reject with {icmp} type admin-prohibited
  }}
  chain pass{v} {{
    {first_part}
    accept
  }}
  chain on{v} {{
    meta l4proto tcp update @alive{v} {{ {there} timeout 2h }}
    meta l4proto != tcp update @alive{v} {{ {there} timeout 3m }}
    meta l4proto != tcp update @asked{v} {{ {there} timeout 3m }}
    goto pass{v}
  }}
  chain begin{v} {{
    tcp flags & (syn | ack) == syn update @reached{v} {{ {target} }}
    meta l4proto != tcp update @reached{v} {{ {target} }}
    goto on{v}
  }}
  chain ports{v} {{
    {there} @called{v} tcp flags & (fin | rst) != 0 update @closing{v} {{ {there} }}
    {there} @called{v} goto pass{v}
    {there} @alive{v} goto on{v}
    {target} @allowed{v} goto begin{v}
    {target} @named{v} goto begin{v}
    {ip} daddr @open{v} goto begin{v}
    {ip} daddr @whole{v} goto begin{v}
    goto refuse{v}
  }}
  chain bare{v} {{
    update @passed{v} {{ {ip} daddr . meta l4proto }}
    goto pass{v}
  }}
  chain going{v} {{
    {later_part}
    meta l4proto {{ tcp, udp, sctp }} goto ports{v}
    {icmp} type {{ echo-reply, destination-unreachable }} {ip} daddr @callers{v} accept
    {ip} daddr @open{v} goto bare{v}
    {ip} daddr @whole{v} goto bare{v}
    goto refuse{v}
  }}
  chain called{v} {{
    tcp flags & (syn | ack) == syn delete @closing{v} {{ {back} }}
    tcp flags & (syn | ack) == syn update @called{v} {{ {back} timeout 2m }} accept
    {back} @called{v} tcp flags & (fin | rst) != 0 update @closing{v} {{ {back} }}
    {back} @called{v} {back} @closing{v} update @called{v} {{ {back} timeout 2m }} accept
    {back} @called{v} update @called{v} {{ {back} timeout 1d }}
  }}
  chain coming{v} {{
    meta l4proto tcp goto called{v}
    meta l4proto {{ udp, sctp }} {back} @asked{v} update @asked{v} {{ {back} timeout 3m }} accept
    meta l4proto {{ udp, sctp }} update @called{v} {{ {back} timeout 3m }}
    meta l4proto {{ udp, sctp }} update @callers{v} {{ {ip} saddr }}
    {icmp} type echo-request update @callers{v} {{ {ip} saddr }}
  }}
"""
_PARTS = "set parts4 { typeof ip daddr . ip id; flags dynamic,timeout; size 4096; timeout 5s; }"
_FIRST_PART = "ip frag-off & 0x2000 != 0 update @parts4 { ip daddr . ip id }"
_LATER_PART = """ip frag-off & 0x1fff != 0 ip daddr . ip id @parts4 accept
    ip frag-off & 0x1fff != 0 drop
    ip protocol igmp drop"""


def script(interface: Interface, listed: Sequence[Entry], named: Iterable[tuple[str, str]] = ()) -> str:
    """Return the text that puts an interface's table in place, in one transaction.

    `named` are elements that names have led to: (set, text).
    """
    own = {4: [], 6: []}  # type: dict[int, list[str]]
    for address in interface.addresses:
        own[_family(address)].append(address)
    head = _HEAD.format(
        table=interface.table,
        device=interface.device,
        mac=interface.mac,
        arp=_arp(interface.mac, own[4]),
        four=f"ip saddr {{ {', '.join(own[4])} }} goto going4\n    meta protocol ip goto refuse4"
        if own[4]
        else "",
        six=_six(own[6], [s for s in interface.subnets if ":" in s]) if own[6] else "",
    )
    static = [*_elements(listed), *named]
    families = "".join(_of_family(version, static) for version in (4, 6))
    return f"{removal(interface.table)}{head}{families}}}\n"


def table_of(table: str, interface: str) -> str:
    """Return the name of the table that guards an interface of a store's container."""
    return f"{table}_{interface}"


def removal(table: str) -> str:
    """Return the text that takes a table away, whether it is there or not."""
    return f"add table netdev {table}\ndelete table netdev {table}\n"


def _family(ip: str) -> int:
    return 6 if ":" in ip else 4


def _arp(mac: str, own: list[str]) -> str:
    """Let neighbours be asked for, and answered, in the container's own name only."""
    if not own:
        return ""
    return f"arp saddr ether {mac} arp saddr ip {{ 0.0.0.0, {', '.join(own)} }} accept"


def _six(own: list[str], subnets: list[str]) -> str:
    near = ", ".join(("fe80::/10", "ff02::/16", *subnets))
    sources = ", ".join(("::", "fe80::/10", *own))
    return f"""icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 \
ip6 saddr {{ {sources} }} ip6 daddr {{ {near} }} accept
    ip6 daddr ff02::/16 drop
    ip6 saddr {{ {", ".join(own)} }} goto going6
    meta protocol ip6 goto refuse6"""


def _of_family(version: int, elements: Iterable[tuple[str, str]]) -> str:
    ip, kind, icmp = _WORDS[version]
    sets: dict[str, list[str]] = {f"{name}{version}": [] for name in ("allowed", "open", "named", "whole")}
    for name, text in elements:
        if name in sets:
            sets[name].append(text)
    listed = {
        name[:-1]: f"elements = {{ {', '.join(texts)} }}" if texts else "" for name, texts in sets.items()
    }
    four = version == 4
    return _FAMILY.format(
        v=version,
        ip=ip,
        type=kind,
        icmp=icmp,
        flow=f"type {kind} . inet_proto . inet_service . inet_service; flags dynamic,timeout",
        seen=f"type {kind} . inet_proto",
        counted="flags dynamic,timeout; size 1024; timeout 1d; counter;",
        target=f"{ip} daddr . meta l4proto . th dport",
        there=f"{ip} daddr . meta l4proto . th dport . th sport",
        back=f"{ip} saddr . meta l4proto . th sport . th dport",
        parts=_PARTS if four else "",
        first_part=_FIRST_PART if four else "",
        later_part=_LATER_PART if four else "",
        **listed,
    )


def _elements(listed: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    for entry in listed:
        if entry.subnet and entry.port:
            yield (
                f"allowed{_family(entry.subnet)}",
                f"{entry.subnet} . {entry.protocol} . {entry.port}",
            )
        elif entry.subnet:
            yield f"open{_family(entry.subnet)}", entry.subnet


def change(table: str, listed: Sequence[Entry], named: Iterable[tuple[str, str]]) -> str:
    """Return the text that makes another list count, at once: what was begun is judged anew."""
    lines = [
        f"flush set netdev {table} {name}{version}\n"
        for version in (4, 6)
        for name in ("allowed", "open", "named", "whole", "alive")
    ]
    lines += [
        f"add element netdev {table} {name} {{ {text} }}\n" for name, text in (*_elements(listed), *named)
    ]
    return "".join(lines)


# --- what names lead to -----------------------------------------------------------------------------


def led_to(listed: Iterable[Entry], name: str, ip: str) -> Iterator[tuple[str, bytes, str]]:
    """Yield (set, key, key as text) of the elements that an answer makes: a name has this address."""
    version = _family(ip)
    for entry in listed:
        if entry.is_about(name):
            if entry.port:
                key = nft.key(pack(ip), bytes((PROTOCOLS[entry.protocol],)), struct.pack(">H", entry.port))
                yield f"named{version}", key, f"{ip} . {entry.protocol} . {entry.port}"
            else:
                yield f"whole{version}", pack(ip), ip


# --- what was tried -------------------------------------------------------------------------------


class Attempt(Value):
    """What a container has tried: where to, how often, and how many seconds ago last."""

    allowed: bool
    address: str
    port: str  # "443/tcp", or a protocol without ports
    times: int
    ago: float


def attempts(socket: Netlink, table: str) -> Iterator[Attempt]:
    """Yield what an interface's table has counted."""
    for version in (4, 6):
        for name, allowed in (("reached", True), ("passed", True), ("refused", False), ("shut", False)):
            for key, times, ago in nft.counted(socket, table, f"{name}{version}"):
                yield _attempt(4 if version == 4 else 16, key, allowed=allowed, times=times, ago=ago)


def _attempt(size: int, key: bytes, *, allowed: bool, times: int, ago: float) -> Attempt:
    number = key[size]
    protocol = _NAMED.get(number, f"protocol {number}")
    port = f"{int.from_bytes(key[size + 4 : size + 6], 'big')}/" if len(key) > size + 4 else ""
    return Attempt(
        allowed=allowed, address=unpack(key[:size]), port=f"{port}{protocol}", times=times, ago=ago
    )
