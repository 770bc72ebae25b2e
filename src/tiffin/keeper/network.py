"""A container's networks, as its keeper has them: made before the runtime starts, given back at the end.

The namespace is held by this process's descriptor; a symlink beside the keeper's socket leads to it. What
has to be the same for all containers of a host (addresses, bridges, rules) is `network.living`'s.
"""

from __future__ import annotations

import os
import time

from tiffin.errors import Conflict, StartFailed, TiffinError
from tiffin.keeper.frames import Elsewhere
from tiffin.network import link, living, namespace, nft, ports
from tiffin.network.plan import Place, Port, Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.guard import Guard
    from tiffin.keeper.host import Host
    from tiffin.keeper.loop import Loop
    from tiffin.keeper.proxy import Datagrams
    from tiffin.keeper.request import StartRequest
    from tiffin.keeper.resolver import Resolver
    from tiffin.network.netlink import Netlink

NAME = "netns"
"""The symlink in the folder of the living: what `config.json` names as the network namespace."""

_LINGER_SECONDS = 3.0
"""How long a network stays up that nobody is on: a loop of short runs need not make it anew each time."""


class Endpoint:
    """One interface of the container."""

    def __init__(self, wish: Wish, lease: dict[str, Any], number: int) -> None:
        """Be the numbered one."""
        self.wish, self.lease, self.number = wish, lease, number
        self.index = 0

    def ip(self, family: int) -> str:
        """Return its address of a family (4 or 6), "" if it has none."""
        for text in self.lease["addresses"]:
            if (":" in text) == (family == 6):
                return str(text.partition("/")[0])
        return ""

    @property
    def order(self) -> tuple[bool, int, str]:
        """What sorts the one whose gateway is used to the front."""
        return self.wish.net.internal, -self.wish.priority, self.wish.net.name


class Networks:
    """All interfaces, published ports and names of one container."""

    def __init__(self, request: StartRequest, plan: dict[str, Any], loop: Loop) -> None:
        """Plan it; nothing is made yet."""
        self._id, self._live, self._loop = request.container_id, request.live, loop
        self._place = Place(folder=plan["folder"], table=plan["table"])
        self._hosts: str = plan["hosts"]
        self._hostname: str = plan["hostname"]
        self._upstream: tuple[str, ...] = tuple(plan["upstream"])
        self._wishes = [Wish.unpack(value) for value in plan["wishes"]]
        self._wanted = [Port(**value) for value in plan["ports"]]
        self._endpoints: list[Endpoint] = []
        self._sockets: dict[tuple[str, int, str], _socket.socket] = {}
        self._datagrams: dict[tuple[str, int, str], Datagrams] = {}
        self._ports: list[ports.Fact] = []
        self._led: dict[tuple[str, int, str], list[ports.Fact]] = {}
        self._namespace = -1
        self._open: Netlink | None = None
        self._resolver: Resolver | None = None
        self._guard: Guard | None = None
        if plan.get("egress"):
            from tiffin.keeper.guard import Guard  # few have one

            self._guard = Guard(loop, self._place, plan["egress"], self._there)
        self._host = _own_host(loop) if plan["own"] else None

    # --- coming --------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the namespace and all that is in it; raises StartFailed, with everything taken back."""
        try:
            if self._host:
                self._host.enter()
            self._namespace, self._open = namespace.make()
            self._inner.call("lo", link.up(1))
            os.symlink(f"/proc/{os.getpid()}/fd/{self._namespace}", f"{self._live}/{NAME}")
            self._there(self._arrive)
            self._publish(self._wanted)
            self._route()
            self._names()
            self._write_hosts()
        except Elsewhere:
            self.close()
            raise
        except (OSError, TiffinError) as error:
            self.close()
            self._empty = True  # perhaps a network came up for nothing
            raise failure(error) from error

    def _there(self, work: Callable[[], Any]) -> Any:
        """Do some work where the bridges are: here, or on the user's own host."""
        return self._host.inside(work) if self._host else work()

    def _arrive(self) -> None:
        with link.open_route() as outer:
            with living.Lock():
                for wish in self._wishes:
                    self._join(outer, wish)
            for endpoint in self._endpoints:
                self._plug(outer, endpoint)

    @property
    def _inner(self) -> Netlink:
        """The socket in the namespace."""
        if self._open is None:
            raise Conflict("the container has no network any more")
        return self._open

    def _join(self, outer: Netlink, wish: Wish) -> Endpoint:
        lease = living.join(self._place, outer, wish, self._id)
        if self._guard:
            living.change(self._place, wish.net.id, self._id, guarded=True)
        number = max((e.number for e in self._endpoints), default=-1) + 1
        endpoint = Endpoint(wish, lease, number)
        self._endpoints.append(endpoint)
        return endpoint

    def _plug(self, outer: Netlink, endpoint: Endpoint) -> None:
        """Make the pair of interfaces, and give the inner one its addresses."""
        net, lease = endpoint.wish.net, endpoint.lease
        made = link.pair(
            lease["interface"],
            lease["master"],
            peer=f"{net.prefix}{endpoint.number}",
            namespace=self._namespace,
            hardware=bytes.fromhex(lease["mac"].replace(":", "")),
            mtu=net.mtu,
            connected=not self._guard,
        )
        outer.call(f"connect to {net.bridge}", made)
        if self._guard:
            self._guard.attach(lease, endpoint.wish.local, net.subnets)
            outer.call(net.bridge, link.up(link.index_of(outer, lease["interface"])))
        hairpin = bool(self._wanted or self._ports) and _filters_bridges()
        if hairpin or not net.neighbours:
            index = link.index_of(outer, lease["interface"])
            outer.call(net.bridge, link.port_flags(index, hairpin=hairpin, isolated=not net.neighbours))
        endpoint.index = link.index_of(self._inner, f"{net.prefix}{endpoint.number}")
        addresses = [text.partition("/") for text in (*lease["addresses"], *map(_local, endpoint.wish.local))]
        messages = [link.address(endpoint.index, ip, int(bits)) for ip, _, bits in addresses]
        six = any(":" in ip for ip, _, _ in addresses)
        self._inner.call("addresses", link.up(endpoint.index, ipv6=six), *messages)

    def _route(self) -> None:
        """Send what goes nowhere else through the gateway of the first network that leads outside."""
        for family in (4, 6):
            for endpoint in sorted(self._endpoints, key=lambda e: e.order):
                gateways = [g for g in endpoint.lease["gateways"] if g and (":" in g) == (family == 6)]
                if gateways and not endpoint.wish.net.internal:
                    self._inner.call("default route", link.default_route(endpoint.index, gateways[0]))
                    break

    def _reroute(self) -> None:
        for family in (2, 10):
            try:
                self._inner.call("default route", link.no_default_route(family))
            except OSError:
                continue  # there was none
        self._route()

    # --- names ---------------------------------------------------------------------------------

    def _names(self) -> None:
        """Answer names from now on, if a network is there that has any."""
        if self._resolver is None and (self._guard or any(e.wish.net.resolves for e in self._endpoints)):
            from tiffin.keeper.resolver import Resolver  # not on the default network

            self._resolver = Resolver(self._loop, self._place, self._namespace, self._upstream, self._guard)
        if self._resolver:
            self._resolver.networks = {
                e.wish.net.id: dict(e.wish.links) for e in self._endpoints if e.wish.net.resolves
            }

    def rename(self, old: str, new: str) -> None:
        """Answer to another name."""
        for endpoint in self._endpoints:
            names = [new if name == old else name for name in endpoint.lease["names"]]
            endpoint.lease["names"] = names
            self._change(endpoint, names=names)

    def _change(self, endpoint: Endpoint, **members: Any) -> None:
        """Change what everybody knows of an endpoint."""

        def change() -> None:
            with living.Lock():
                living.change(self._place, endpoint.wish.net.id, self._id, **members)

        self._there(change)

    def _write_hosts(self) -> None:
        """Complete the file of hosts: our own addresses, what `host-gateway` stands for, and links.

        In place: the container has it mounted.
        """
        if not self._hosts:
            return
        with open(self._hosts, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().partition("# networks\n")[0].splitlines(keepends=True)
        gateway = self._gateway() if any(line.startswith("host-gateway\t") for line in lines) else ""
        lines = [
            gateway + line.removeprefix("host-gateway") if line.startswith("host-gateway\t") else line
            for line in lines
        ]
        for endpoint in self._endpoints:
            lines += [f"{ip}\t{self._hostname}\n" for ip in (endpoint.ip(4), endpoint.ip(6)) if ip]
            lines += self._linked(endpoint)
        with open(self._hosts, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write("".join(lines))

    def _gateway(self) -> str:
        """Return the address at which the container reaches the real host."""
        gateway = next((g for e in self._endpoints for g in e.lease["gateways"] if g), "")
        return link.outward() or gateway if self._host else gateway

    def _linked(self, endpoint: Endpoint) -> list[str]:
        """Return the lines of links on a network that has no names of its own."""
        if endpoint.wish.net.resolves or not endpoint.wish.links:
            return []
        facts = living.read(self._place, endpoint.wish.net.id) or {"leases": {}}
        lines = []
        for alias, target in endpoint.wish.links.items():
            for lease in facts["leases"].values():
                if target in lease["names"]:
                    ip = lease["addresses"][0].partition("/")[0]
                    lines.append(f"{ip}\t{' '.join(dict.fromkeys((alias, *lease['names'])))}\n")
        return lines

    # --- ports ---------------------------------------------------------------------------------

    def _publish(self, wanted: list[Port]) -> None:
        """Take ports of the host and lead them here; all of them or none."""
        if not wanted:
            return
        outward = min(self._endpoints, key=lambda e: e.order)
        fresh: list[ports.Fact] = []
        number = 0
        try:
            for port in wanted:
                exact = port.replace(first=number, last=number) if port.follows else port
                held, number = ports.bind(exact, self._publisher)
                self._sockets[port.host, number, port.protocol] = held
                target = outward.ip(6 if ":" in port.host else 4)
                fresh.append([port.host, number, port.protocol, target, port.target])
            for fact in fresh:
                self._lead(fact)
            self._ports += fresh
            self._there(lambda: self._rule(fresh, outward))
        except BaseException:
            self._release(fresh)
            raise
        self._serve(fresh, outward)

    def _lead(self, fact: ports.Fact) -> None:
        """Note what the rules are to say of a port; on a user's own host, have it led there."""
        key = (fact[0], fact[1], fact[2])
        if self._host is None:
            self._led[key] = [fact]
        elif self._host.leads(fact):
            self._sockets.pop(key).close()  # it is known to be free
            self._led[key], loopback = self._host.lead(fact)
            if loopback:
                self._sockets[key] = loopback
        else:
            self._led[key] = [fact] if fact[0] in ports.ALL else []  # others are not there

    def _rules(self, facts: list[ports.Fact]) -> list[ports.Fact]:
        """Return what the rules say of published ports."""
        return [led for fact in facts for led in self._led.get((fact[0], fact[1], fact[2]), ())]

    def _rule(self, fresh: list[ports.Fact], outward: Endpoint) -> None:
        with living.Lock():
            with nft.open_nft() as socket:
                nft.add(socket, self._place.table, ports.elements(self._rules(fresh)))
            living.change(self._place, outward.wish.net.id, self._id, ports=self._rules(self._ports))

    def _publisher(self, port: Port) -> str:
        """Return the container that publishes a port, "" if none of this store does."""
        for _, facts in living.every(self._place):
            for lease in facts["leases"].values():
                if any((fact[1], fact[2]) == (port.first, port.protocol) for fact in lease["ports"]):
                    return f"container {lease['names'][0]}"
        return ""

    def _serve(self, fresh: list[ports.Fact], outward: Endpoint) -> None:
        """Pass on what no rule leads to the container: IPv6 clients of an IPv4 container."""
        from tiffin.keeper.proxy import Datagrams, Proxy

        target = outward.ip(4) or outward.ip(6)
        for host, number, protocol, _target, port in fresh:
            key = (host, number, protocol)
            held = self._sockets.get(key)
            if held and protocol == "tcp":
                Proxy(self._loop, held, (target, port), self._there)
            elif held and protocol == "udp":
                self._datagrams[key] = Datagrams(self._loop, held, (target, port), self._there)

    def _release(self, facts: list[ports.Fact]) -> None:
        """Take ports back from rules, sockets and whoever leads them here; those not there are no error."""
        elements = ports.elements(self._rules(facts))
        self._ports = [fact for fact in self._ports if fact not in facts]
        if elements:
            self._there(lambda: self._discard(elements))
        for fact in facts:
            key = (fact[0], fact[1], fact[2])
            self._led.pop(key, None)
            if self._host:
                self._host.withdraw(key)
            passed = self._datagrams.pop(key, None)
            if passed:
                passed.close()
            held = self._sockets.pop(key, None)
            if held:
                self._loop.forget(held.fileno())
                held.close()

    def _discard(self, elements: ports.Maps) -> None:
        with living.Lock(), nft.open_nft() as socket:
            nft.discard(socket, self._place.table, elements)

    def publish(self, wanted: list[dict[str, Any]]) -> None:
        """Publish more ports of the running container; raises TiffinError, OSError."""
        if not self._endpoints:
            raise Conflict("the container is on no bridge network")
        self._publish([Port(**value) for value in wanted])

    def unpublish(self, wanted: list[list[Any]]) -> None:
        """Take back published ports: (host address, host port, protocol) each."""
        keys = {tuple(key) for key in wanted}
        self._release([fact for fact in self._ports if tuple(fact[:3]) in keys])
        for endpoint in self._endpoints:
            if endpoint.lease["ports"]:
                self._change(endpoint, ports=self._rules(self._ports))

    # --- while it runs -------------------------------------------------------------------------

    def act(self, asked: dict[str, Any]) -> str:
        """Do what a peer asks for: {"action": one of the below, and its words}; return why not, or ""."""
        actions: dict[str, Callable[..., None]] = {
            "connect": self.connect,
            "disconnect": self.disconnect,
            "publish": self.publish,
            "unpublish": self.unpublish,
            "rename": self.rename,
            "egress": self.egress,
        }
        action = actions.get(str(asked.pop("action", "")))
        if action is None:
            return "keeper: unknown action"
        try:
            action(**asked)
        except (OSError, TiffinError, TypeError) as error:
            found = error if isinstance(error, TiffinError) else failure(error)
            return f"{found.message}\n{found.hint}" if found.hint else found.message
        return ""

    def egress(self, allow: list[str] | None = None) -> None:
        """Let another list of what may be reached count, or, without one, write down what was tried."""
        if not self._guard:
            raise Conflict("the container has no egress list")
        if allow is None:
            self._guard.write()
        else:
            self._guard.change(allow)

    def connect(self, wish: dict[str, Any]) -> None:
        """Go to one more network; raises TiffinError, OSError."""
        self._there(lambda: self._reach(Wish.unpack(wish)))
        self._reroute()
        self._names()
        self._write_hosts()

    def _reach(self, wish: Wish) -> None:
        with link.open_route() as outer:
            with living.Lock():
                endpoint = self._join(outer, wish)
            try:
                self._plug(outer, endpoint)
            except BaseException:
                self._depart(endpoint)
                raise

    def disconnect(self, network: str) -> None:
        """Leave a network, and its ports with it."""
        for endpoint in [e for e in self._endpoints if e.wish.net.id == network]:
            addresses = {a.partition("/")[0] for a in endpoint.lease["addresses"]}
            self._release([fact for fact in self._ports if fact[3] in addresses])
            self._there(lambda: self._depart(endpoint))  # noqa: B023 - it is called at once
        self._reroute()
        self._names()
        self._write_hosts()

    def _unplug(self, endpoint: Endpoint) -> None:
        """Remove an interface, and only then what guards it."""
        with link.open_route() as outer:
            index = link.index_of(outer, endpoint.lease["interface"])
            if index:
                outer.call(endpoint.wish.net.name, link.remove(index))
        if self._guard:
            self._guard.detach(endpoint.lease["interface"])

    def _depart(self, endpoint: Endpoint) -> None:
        self._unplug(endpoint)
        self._leave(endpoint)

    def facts(self) -> dict[str, Any]:
        """Return what is shown of it: addresses by network, and ports."""
        found = {}
        for endpoint in self._endpoints:
            lease = endpoint.lease
            found[endpoint.wish.net.id] = {
                "name": endpoint.wish.net.name,
                "addresses": lease["addresses"],
                "gateways": lease["gateways"],
                "mac": lease["mac"],
                "interface": lease["interface"],
            }
        return {"endpoints": found, "ports": [[f[0], f[1], f[2], f[4]] for f in self._ports]}

    # --- going ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything back; the kernel takes the interfaces away with the namespace."""
        if self._resolver:
            self._resolver.close()
            self._resolver = None
        self._release(self._ports)
        if self._guard:
            self._guard.finish()
        if self._endpoints:
            self._there(self._leave_all)
        if self._open:
            self._open.close()
            self._open = None
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1

    def _leave_all(self) -> None:
        if self._guard:
            # Whoever shares this namespace may live on: with no interface rather than with no guard.
            for endpoint in self._endpoints:
                self._unplug(endpoint)
            self._guard.close()
        for endpoint in tuple(self._endpoints):
            self._leave(endpoint)

    def _leave(self, endpoint: Endpoint) -> None:
        self._endpoints.remove(endpoint)
        with living.Lock():
            self._empty = living.leave(self._place, endpoint.wish.net.id, self._id) or self._empty

    _empty = False

    def fold(self) -> None:
        """Take a network down that we were the last on, after a while: the keeper's last act."""
        if self._empty:
            time.sleep(_LINGER_SECONDS)
            self._there(self._settle)
        if self._host:
            self._host.leave()

    def _settle(self) -> None:
        with link.open_route() as outer, living.Lock():
            living.settle(self._place, outer)


def _own_host(loop: Loop) -> Host:
    """Return the host of the ordinary user that we are."""
    from tiffin import settings
    from tiffin.keeper.host import Host  # root's bridges are on the real one

    return Host(settings.privilege(), loop)


def failure(error: OSError | TiffinError | TypeError) -> StartFailed:
    """Say in docker's words that a container has no network, with what to do about it."""
    said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    hint = error.hint if isinstance(error, TiffinError) else ""
    return StartFailed(f"failed to set up container networking: {said}", hint=hint)


def _local(text: str) -> str:
    """Return a link-local address with its bits."""
    return f"{text}/{64 if ':' in text else 16}"


def _filters_bridges() -> bool:
    """Tell whether this host sends what bridges forward through its firewall (br_netfilter)."""
    try:
        with open("/proc/sys/net/bridge/bridge-nf-call-iptables", "rb") as stream:
            return stream.read().strip() == b"1"
    except OSError:
        return False
