"""The one nftables table of a store: all of it as text, made from what is up, and put in place at once.

Networks come and go seldom, ports of containers often: so a network is elements of sets in here, and the
table is written anew when one comes or goes; a published port is an element of a map that a netlink message
adds (see `nft`). No rule is ever added or removed by itself.
"""

from __future__ import annotations

import os

from tiffin.errors import Unsupported
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PROGRAMS = ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft")


class Ruled(Value):
    """A network as far as rules go. `subnets` are texts; `ports` are (map, element's text)."""

    bridge: str
    subnets: tuple[str, ...]
    internal: bool = False
    masquerade: bool = True
    ports: tuple[tuple[str, str], ...] = ()


_TABLE = """\
table inet {table} {{
  set bridges {{ type ifname; {bridges} }}
  set closed {{ type ifname; {closed} }}
  set same {{ type ifname . ifname; {same} }}
  set own4 {{ type ipv4_addr . ifname; flags interval; {own4} }}
  set own6 {{ type ipv6_addr . ifname; flags interval; {own6} }}
  set hidden4 {{ type ipv4_addr; flags interval; {hidden4} }}
  set hidden6 {{ type ipv6_addr; flags interval; {hidden6} }}
  map ports4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; {ports4} }}
  map every4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; {every4} }}
  map ports6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; {ports6} }}
  map every6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; {every6} }}
  chain guard {{
    # The host's own loopback is no business of containers, though bridges may route it (see below).
    type filter hook prerouting priority -300; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }}
  chain arriving {{
    type nat hook prerouting priority -100; policy accept;
    jump published
  }}
  chain own {{
    type nat hook output priority -100; policy accept;
    jump published
  }}
  chain published {{
    dnat ip to ip daddr . meta l4proto . th dport map @ports4
    fib daddr type local dnat ip to meta l4proto . th dport map @every4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6
    ip6 daddr != ::1 fib daddr type local dnat ip6 to meta l4proto . th dport map @every6
  }}
  chain leaving {{
    type nat hook postrouting priority 100; policy accept;
    # A published port that is asked for at 127.0.0.1, or by a neighbour of its container.
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    ct status dnat ip saddr . oifname @own4 masquerade
    ct status dnat ip6 saddr . oifname @own6 masquerade
    ip saddr @hidden4 oifname != @bridges masquerade
    ip6 saddr @hidden6 oifname != @bridges masquerade
  }}
  chain between {{
    type filter hook forward priority 0; policy accept;
    iifname != @bridges oifname != @bridges accept
    ct state established,related accept
    iifname . oifname @same accept
    iifname @closed drop
    oifname @closed drop
    ct status dnat accept
    oifname @bridges drop
  }}
}}
"""


def _set(elements: Iterable[str]) -> str:
    listed = ", ".join(elements)
    return f"elements = {{ {listed} }}" if listed else ""


def script(table: str, networks: Sequence[Ruled]) -> str:
    """Return the text that replaces a table, in one transaction; without networks it goes."""
    # Adding it first makes deleting it right whether it is there or not.
    cleared = f"add table inet {table}\ndelete table inet {table}\n"
    if not networks:
        return cleared
    four = [(n, s) for n in networks for s in n.subnets if ":" not in s]
    six = [(n, s) for n in networks for s in n.subnets if ":" in s]
    maps: dict[str, list[str]] = {"ports4": [], "every4": [], "ports6": [], "every6": []}
    for network in networks:
        for name, element in network.ports:
            maps[name].append(element)
    return cleared + _TABLE.format(
        table=table,
        bridges=_set(f'"{n.bridge}"' for n in networks),
        closed=_set(f'"{n.bridge}"' for n in networks if n.internal),
        same=_set(f'"{n.bridge}" . "{n.bridge}"' for n in networks),
        own4=_set(f'{s} . "{n.bridge}"' for n, s in four),
        own6=_set(f'{s} . "{n.bridge}"' for n, s in six),
        hidden4=_set(s for n, s in four if n.masquerade and not n.internal),
        hidden6=_set(s for n, s in six if n.masquerade and not n.internal),
        **{name: _set(elements) for name, elements in maps.items()},
    )


def let_through(bridge: str, family: str, chain: str) -> str:
    """Return the text that lets a bridge's traffic through a chain of iptables."""
    rules = (f'iifname "{bridge}" counter accept', f'oifname "{bridge}" counter accept')
    return "".join(f"insert rule {family} filter {chain} {rule}\n" for rule in rules)


def run(text: str) -> str:
    """Let nft do what a text says, in the calling thread's network namespace; return what it prints.

    A program, not its library: that would leave 4 MB in a keeper. Raises Unsupported, naming the package,
    where it is not installed; OSError with its own words where the kernel refuses.
    """
    program = _program()
    if not program:
        message = "bridge networks need nftables, which is not installed"
        raise Unsupported(message, hint="apt-get install nftables; --network none and host do without")
    files = [os.memfd_create(name) for name in ("text", "output", "errors")]
    try:
        os.pwrite(files[0], text.encode(), 0)
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        command = [program, "-a", "-f", "-"]
        process = os.posix_spawn(program, command, {"PATH": os.defpath}, file_actions=actions)
        failed = os.waitpid(process, 0)[1]
        output, said = (os.pread(file, 1 << 20, 0).decode(errors="replace") for file in files[1:])
    finally:
        for file in files:
            os.close(file)
    if failed:
        raise OSError(22, said.strip().partition("\n")[0] or os.strerror(22), "nftables")
    return output


def _program() -> str:
    return next((path for path in _PROGRAMS if os.access(path, os.X_OK)), "")


def available() -> bool:
    """Tell whether rules can be written here."""
    return bool(_program())


def forget(bridge: str, family: str, chain: str) -> None:
    """Take the rules out again that `let_through` put in."""
    for line in run(f"list chain {family} filter {chain}\n").splitlines():
        rule, _, handle = line.partition("# handle ")
        if f'"{bridge}"' in rule and handle.strip().isdigit():
            run(f"delete rule {family} filter {chain} handle {handle.strip()}\n")
