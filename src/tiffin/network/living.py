"""What is up: a file for each network that has containers, with their addresses and names.

The file is the lease table, what names are answered from, and what the rules are made of. It is written
by keepers under one lock, which is the network namespace itself: stores that share a host share it too. A
network without containers has no file, no bridge and no rules.
"""

from __future__ import annotations

import os
import time

from tiffin.errors import Conflict, Corrupt, InvalidArgument, Unavailable
from tiffin.network import link, nft, ports, rules
from tiffin.network.subnet import Subnet, free, link_local, pack
from tiffin.spec import jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from typing import Any, Self

    from tiffin.network.netlink import Netlink
    from tiffin.network.plan import Net, Place, Wish

    Facts = dict[str, Any]

_OURS = "02:42"
_MARK = "tiffin"
_ABANDONED_SECONDS = 5.0
"""How long a network of another store must have been without a living keeper; keepers linger for three."""

_ALIAS_LIMIT = 255


class Lock:
    """Holds the network of this namespace still: a context manager."""

    def __enter__(self) -> Self:
        """Wait for it."""
        self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        atomic.lock(self._descriptor)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let go."""
        os.close(self._descriptor)


# --- the files -----------------------------------------------------------------------------------


def read(place: Place, network_id: str) -> Facts | None:
    """Return what is known of a network that is up, None if it is not."""
    try:
        with open(f"{place.folder}/{network_id}", "rb") as stream:
            return jsontext.load_object(stream.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Corrupt:
        return None  # a power cut emptied it: then nothing is up either


def every(place: Place) -> Iterator[tuple[str, Facts]]:
    """Yield all networks that are up, by id."""
    try:
        names = sorted(os.listdir(place.folder))
    except FileNotFoundError:
        return
    for name in names:
        facts = None if name.endswith(".tmp") else read(place, name)
        if facts is not None:
            yield name, facts


def _write(place: Place, network_id: str, facts: Facts) -> None:
    data = jsontext.dumps_bytes(facts)
    try:
        atomic.write_file(f"{place.folder}/{network_id}", data)
    except FileNotFoundError:
        os.makedirs(place.folder, 0o700, exist_ok=True)
        atomic.write_file(f"{place.folder}/{network_id}", data)


# --- coming ---------------------------------------------------------------------------------------


def join(place: Place, route: Netlink, wish: Wish, container_id: str) -> Facts:
    """Lease addresses to a container, bringing the network up if it is the first; return the lease.

    Call it under the lock. The lease says what the interface is to be: addresses with their bits, gateways,
    hardware address, the bridge's number. Raises Conflict, InvalidArgument, Unavailable, OSError.
    """
    net = wish.net
    facts = read(place, net.id)
    index = link.index_of(route, net.bridge)
    if facts is None or not index:
        facts, index = _bring_up(place, route, net)
    elif not _rules_stand(place, facts):
        _write_rules(place, facts)
    lease: Facts = {
        "owner": atomic.owner_tag(),
        "interface": f"tv{container_id[:7]}{os.urandom(3).hex()}",
        "names": list(wish.names),
        "addresses": [],
        "gateways": [],
        "ports": [],
        "master": index,
    }
    for number, text in enumerate(facts["subnets"]):
        subnet = Subnet.parse(text)
        wanted = wish.ip4 if subnet.size == 4 else wish.ip6
        if any(Subnet.parse(facts["subnets"][n]).size == subnet.size for n in range(number)) and not wanted:
            continue  # one address of each family
        if wanted and subnet.offset(wanted) < 0:
            continue
        ip = _choose(place, net, facts, number, wanted)
        lease["addresses"].append(f"{ip}/{subnet.bits}")
        lease["gateways"].append(facts["gateways"][number])
    for wanted in filter(None, (wish.ip4, wish.ip6)):
        if not any(a.partition("/")[0] == wanted for a in lease["addresses"]):
            message = f"invalid address {wanted}: It does not belong to any of this network's subnets"
            raise InvalidArgument(message)
    lease["mac"] = wish.mac or _hardware(lease["addresses"])
    facts["leases"][container_id] = lease
    _write(place, net.id, facts)
    return lease


def _hardware(addresses: list[str]) -> str:
    """Return a hardware address made of the IPv4 one: who gets that again is known by it already."""
    four = next((a.partition("/")[0] for a in addresses if ":" not in a), "")
    rest = pack(four) if four else os.urandom(4)
    return ":".join((_OURS, *(f"{byte:02x}" for byte in rest)))


def _taken(facts: Facts) -> dict[str, str]:
    """Return who has which address."""
    return {a.partition("/")[0]: name for name, one in facts["leases"].items() for a in one["addresses"]}


def _choose(place: Place, net: Net, facts: Facts, number: int, wanted: str) -> str:
    """Return an address that nobody has: the one after the last given, so that none is soon given again."""
    for attempt in range(2):
        taken = _taken(facts)
        kept = {*taken, *net.reserved, *facts["gateways"]}
        if wanted:
            if wanted not in kept:
                return wanted
        else:
            found = _next(net, facts, number, kept)
            if found:
                facts["last"][str(number)] = found
                return found
        # Perhaps somebody who has one lives no more.
        if attempt or not _bury(place, facts):
            break
        _write_rules(place, facts)
    if wanted:
        message = "Address already in use"
        owner = _taken(facts).get(wanted)
        whose = f"container {owner[:12]} has it" if owner else "it is the network's own"
        raise Conflict(message, hint=f"{wanted}: {whose}")
    family = 4 if Subnet.parse(facts["subnets"][number]).size == 4 else 6
    message = f"no available IPv{family} addresses on this network's address pools: {net.name} ({net.id})"
    raise Unavailable(message, hint="remove containers, or make a larger network")


def _next(net: Net, facts: Facts, number: int, kept: set[str]) -> str:
    subnet = Subnet.parse(facts["subnets"][number])
    own = net.ranges[number] if number < len(net.ranges) else ""
    part = Subnet.parse(own) if own else subnet
    low = part.first - subnet.first
    high = min(low + part.count, subnet.count)
    if low == 0:
        low = 1  # the network's own address
    if high == subnet.count and subnet.size == 4:
        high -= 1  # the broadcast
    start = subnet.offset(facts["last"].get(str(number), "")) if facts["last"].get(str(number)) else low - 1
    width = high - low
    for step in range(1, min(width, len(kept) + 2) + 1):
        ip = subnet.at(low + (start - low + step) % width)
        if ip not in kept:
            return ip
    return ""


def _bring_up(place: Place, route: Netlink, net: Net) -> tuple[Facts, int]:
    """Make the bridge and its rules, once what is left of others, and is in the way, is gone."""
    settle(place, route)
    sweep(place, route)
    old = link.index_of(route, net.bridge)
    if old:  # of somebody who was killed before it was written down
        route.call(net.bridge, link.remove(old))
    subnets, gateways = _subnets(place, route, net)
    four = next((g for g in gateways if g and ":" not in g), "")
    hardware = bytes.fromhex(_hardware([four] if four else []).replace(":", ""))
    route.call(f"make bridge {net.bridge}", link.bridge(net.bridge, hardware, net.mtu))
    index = link.index_of(route, net.bridge)
    messages = [
        link.alias(index, _mark(place)),
        *(
            link.address(index, gateway, Subnet.parse(text).bits)
            for text, gateway in zip(subnets, gateways, strict=True)
            if gateway
        ),
    ]
    if any(":" in gateway for gateway in gateways):
        # Its own, before the kernel gives it: that one could not ask for neighbours for two seconds (DAD).
        messages.append(link.address(index, link_local(hardware), 64))
    facts: Facts = {
        "name": net.name,
        "bridge": net.bridge,
        "subnets": list(subnets),
        "gateways": list(gateways),
        "internal": net.internal,
        "masquerade": net.masquerade,
        "docker": False,
        "last": {},
        "leases": {},
    }
    for number, gateway in enumerate(gateways):
        if gateway and gateway == Subnet.parse(subnets[number]).at(1):
            facts["last"][str(number)] = gateway
    try:
        route.call(f"bridge {net.bridge}", *messages)
        _tune(net, six=any(":" in text for text in subnets))
        _write(place, net.id, facts)
        _write_rules(place, facts)
    except BaseException:
        atomic.remove_file(f"{place.folder}/{net.id}")
        route.call(net.bridge, link.remove(index))
        raise
    return facts, index


def _subnets(place: Place, route: Netlink, net: Net) -> tuple[list[str], list[str]]:
    """Return the network's subnets and gateways: others where nobody has chosen these and they are taken."""
    routed = link.routed(route)
    taken = [*routed, *(Subnet.parse(s) for _, facts in every(place) for s in facts["subnets"])]
    subnets, gateways = list(net.subnets), list(net.gateways)
    for number, text in enumerate(subnets):
        subnet = Subnet.parse(text)
        clash = next((other for other in taken if subnet.overlaps(other)), None)
        if clash is None:
            continue
        if not net.automatic or subnet.size == 16:
            message = f"Pool overlaps with other one on this address space: {subnet} and {clash}"
            raise Conflict(message, hint="this host has a route there; choose another --subnet")
        other = free([*taken, *map(Subnet.parse, net.avoid)])
        if other is None:
            raise exhausted()
        subnets[number], gateways[number] = str(other), other.at(1)
    return subnets, gateways


def exhausted() -> Unavailable:
    """Return the error for a host on which every subnet is taken."""
    message = (
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign "
        "to the network"
    )
    return Unavailable(message, hint="remove networks, or name a --subnet")


def _tune(net: Net, *, six: bool) -> None:
    """Let the kernel route: for published ports at 127.0.0.1 the bridge, and the host between interfaces."""
    settings = [
        (f"ipv4/conf/{net.bridge}/route_localnet", "1"),
        ("ipv4/ip_forward", "1"),
        *([("ipv6/conf/all/forwarding", "1")] if six else [(f"ipv6/conf/{net.bridge}/disable_ipv6", "1")]),
    ]
    for name, value in settings:
        path = f"/proc/sys/net/{name}"
        try:
            with open(path, encoding="ascii") as stream:
                if stream.read().strip() == value:
                    continue
            with open(path, "w", encoding="ascii") as stream:
                stream.write(value)
        except FileNotFoundError:
            continue  # a kernel without IPv6


# --- going ----------------------------------------------------------------------------------------


def change(place: Place, network_id: str, container_id: str, **members: Any) -> None:
    """Change a lease: its names, or its ports. Call it under the lock."""
    facts = read(place, network_id)
    if facts and container_id in facts["leases"]:
        facts["leases"][container_id].update(members)
        _write(place, network_id, facts)


def leave(place: Place, network_id: str, container_id: str) -> bool:
    """Give a container's addresses back; tell whether nobody is there any more. Call it under the lock."""
    facts = read(place, network_id)
    if facts is None:
        return False
    if facts["leases"].pop(container_id, None) is not None:
        _write(place, network_id, facts)
    return not facts["leases"]


def settle(place: Place, route: Netlink) -> None:
    """Take away what dead keepers have left, and the networks that nobody is on. Call it under the lock."""
    changed = False
    empty = []
    for network_id, facts in list(every(place)):
        if _bury(place, facts):
            changed = True
            _write(place, network_id, facts)
        if not facts["leases"]:
            empty.append((network_id, facts))
    if changed or empty:
        _write_rules(place, gone={facts["bridge"] for _, facts in empty})
    for network_id, facts in empty:
        _take_down(place, route, network_id, facts)


def abolish(place: Place, route: Netlink) -> None:
    """Take all networks of a store down, for it goes: who still leaves finds nothing. Under the lock."""
    found = list(every(place))
    if found:
        rules.run(rules.script(place.table, []))
    for network_id, facts in found:
        _take_down(place, route, network_id, facts)


def forget(place: Place) -> None:
    """Forget what nobody lives of, where all else has gone with the namespace that it was in."""
    for network_id, facts in list(every(place)):
        if not any(atomic.owner_lives(lease["owner"]) for lease in facts["leases"].values()):
            atomic.remove_file(f"{place.folder}/{network_id}")


def sweep(place: Place, route: Netlink) -> None:
    """Take away what other stores have left here that nobody uses any more. Call it under the lock.

    A bridge says whose it is. It is left where it has ports, for then a container lives that we may not
    see (another mount namespace), and where it was made among other processes than ours.
    """
    found = list(link.described(route))
    ports_of = {master for *_, master in found}
    marked = [(name, _marked(words), number) for number, name, words, _ in found]
    others = [(name, owner, number) for name, owner, number in marked if owner and owner != place]
    for name, owner, number in others:
        if owner and number not in ports_of and _abandoned(owner, name):
            _take_away(owner, route, (name, number), alone=sum(o == owner for _, o, _ in others) == 1)


def _take_away(place: Place, route: Netlink, bridge: tuple[str, int], *, alone: bool) -> None:
    """Remove a bridge of another store, and the table if the store has no other bridge."""
    name, index = bridge
    facts = next(((i, facts) for i, facts in every(place) if facts["bridge"] == name), None)
    if facts:
        _write_rules(place, gone={name})
        _take_down(place, route, *facts)
        return
    if alone:
        rules.run(rules.script(place.table, []))
    _forget_gates(name)
    route.call(name, link.remove(index))


def _abandoned(place: Place, bridge: str) -> bool:
    """Tell whether nobody has lived on a network for a while; one that is not written down is nobody's."""
    for network_id, facts in every(place):
        if facts["bridge"] == bridge:
            age = time.time() - os.stat(f"{place.folder}/{network_id}").st_mtime
            lives = any(atomic.owner_lives(lease["owner"]) for lease in facts["leases"].values())
            return not lives and age > _ABANDONED_SECONDS
    return True


def _mark(place: Place) -> str:
    """Return what a bridge says of its store; "", and so nothing, where the path is too long for it."""
    words = f"{_MARK} {place.table} {_processes()} {place.folder}"
    return words if len(words.encode()) <= _ALIAS_LIMIT else ""


def _marked(words: str) -> Place | None:
    """Return the store that a bridge says it is of, if that can be judged from here."""
    mark, _, rest = words.partition(" ")
    table, _, rest = rest.partition(" ")
    processes, _, folder = rest.partition(" ")
    if mark != _MARK or not folder.startswith("/") or processes != _processes():
        return None
    from tiffin.network.plan import Place

    return Place(folder=folder, table=table)


def _processes() -> str:
    """Return the number of our PID namespace: who lives is known only there."""
    return os.readlink("/proc/self/ns/pid").partition("[")[2].rstrip("]")


def _bury(place: Place, facts: Facts) -> bool:
    """Forget the leases of keepers that are gone; tell whether there were any."""
    dead = [name for name, lease in facts["leases"].items() if not atomic.owner_lives(lease["owner"])]
    _unguard(place, [facts["leases"].pop(name) for name in dead])
    return bool(dead)


def _unguard(place: Place, leases: Iterable[Facts]) -> None:
    """Take away what guards interfaces; an interface that is still there goes before its guard."""
    for lease in leases:
        if lease.get("guarded"):
            from tiffin.network import egress

            with link.open_route() as route:
                index = link.index_of(route, lease["interface"])
                if index:
                    route.call(lease["interface"], link.remove(index))
            rules.run(egress.removal(egress.table_of(place.table, lease["interface"])))


def _take_down(place: Place, route: Netlink, network_id: str, facts: Facts) -> None:
    """Remove what is left of a network; its file goes last, so that a kill in between is made good."""
    _unguard(place, facts["leases"].values())
    if facts["docker"]:
        _forget_gates(facts["bridge"])
    index = link.index_of(route, facts["bridge"])
    if index:
        route.call(facts["bridge"], link.remove(index))
    atomic.remove_file(f"{place.folder}/{network_id}")


def _forget_gates(bridge: str) -> None:
    with nft.open_nft() as socket:
        found = list(nft.gates(socket))
    for family, chain, _ in found:
        rules.forget(bridge, family, chain)


# --- rules ----------------------------------------------------------------------------------------


def _rules_stand(place: Place, facts: Facts) -> bool:
    """Tell whether the table is there, and others' chains let us through: they may have flushed, or come."""
    with nft.open_nft() as socket:
        return nft.has_table(socket, place.table) and (facts["docker"] or not _gates(socket))


def _gates(socket: Netlink) -> list[tuple[str, str]]:
    """Return (family, chain) of iptables where bridges must be let through: docker's, or what drops."""
    known = list(nft.gates(socket))
    found = {family: chain for family, chain, drops in known if drops}
    return list({**found, **{family: chain for family, chain, _ in known if chain == nft.DOCKER}}.items())


def _write_rules(place: Place, fresh: Facts | None = None, gone: Container[str] = ()) -> None:
    """Put the whole table in place, without bridges that go; `fresh` may not be written down yet."""
    networks = []
    for _, facts in every(place):
        current = fresh if fresh and fresh["bridge"] == facts["bridge"] else facts
        if facts["bridge"] in gone:
            continue
        elements = [
            element
            for lease in current["leases"].values()
            for port in lease["ports"]
            for element in ports.texts(port)
        ]
        networks.append(
            rules.Ruled(
                bridge=current["bridge"],
                subnets=tuple(current["subnets"]),
                internal=current["internal"],
                masquerade=current["masquerade"],
                ports=tuple(elements),
            )
        )
    text = rules.script(place.table, networks)
    if fresh and not fresh["docker"]:
        with nft.open_nft() as socket:
            found = _gates(socket)
        fresh["docker"] = bool(found)
        text += "".join(rules.let_through(fresh["bridge"], family, chain) for family, chain in found)
    rules.run(text)
