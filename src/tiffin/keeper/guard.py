"""Where one container may go: the rules at its interfaces, kept in step with what names lead to.

Names of the list are asked of the servers as questions of our own; no others are asked at all. What an answer
says is let through before the container reads it, for an hour or as long as the answer says it holds.
"""

from __future__ import annotations

import time

from tiffin.errors import Unsupported
from tiffin.keeper import kernel
from tiffin.keeper.loop import READ
from tiffin.network import egress, nft, rules
from tiffin.spec import jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tiffin.keeper.loop import Loop
    from tiffin.keeper.proxy import There
    from tiffin.network.netlink import Netlink
    from tiffin.network.plan import Place

_KEPT_SECONDS = 3600
"""How long an answer counts at least: programs ask less often than they should."""
_LONGEST_SECONDS = 86400
_ELEMENTS = 4000
"""What names may have led to at once; further answers lead nowhere until some have ended."""
_TRIED = 512
"""Names that are remembered as asked for."""

_Element = tuple[str, bytes]


class Guard:
    """Guards all interfaces of one container."""

    def __init__(self, loop: Loop, place: Place, plan: dict[str, Any], there: There) -> None:
        """Know the list; nothing is guarded yet. `there` does work where the bridges are."""
        self._loop, self._place, self._there = loop, place, there
        self._record: str = plan["record"]
        self._listed = egress.entries(plan["allow"])
        self._known = [(str(name), str(ip)) for name, ip in plan["known"]]
        self._interfaces: list[egress.Interface] = []
        self._ends: dict[_Element, tuple[float, str]] = {}
        self._names: dict[str, str] = {}  # by address: what it was asked for as
        self._asked: dict[str, tuple[bool, int, float]] = {}
        self._open: Netlink | None = None
        self._changes: Netlink | None = None
        self._followed = -1

    # --- interfaces ----------------------------------------------------------------------------

    def attach(self, lease: dict[str, Any], local: Iterable[str], subnets: Iterable[str]) -> None:
        """Guard an interface from now on; call it while it is down. Raises Unsupported."""
        interface = egress.Interface(
            table=egress.table_of(self._place.table, lease["interface"]),
            device=lease["interface"],
            mac=lease["mac"],
            addresses=tuple(text.partition("/")[0] for text in (*lease["addresses"], *local)),
            subnets=tuple(subnets),
        )
        for gateway in lease["gateways"][:1]:
            self._known = [(name, gateway if ip == "host-gateway" else ip) for name, ip in self._known]
        try:
            self._put(interface)
        except OSError as error:
            message = f"egress lists need rules at interfaces, which cannot be had here: {error.strerror}"
            raise Unsupported(message, hint="Linux 5.16 and nftables 1.0.1 have them") from error
        self._interfaces.append(interface)
        if self._changes is None:
            self._changes = self._there(nft.open_nft)
            self._followed = nft.follow(self._changes)
            self._loop.watch(self._followed, READ, self._changed)

    def detach(self, interface: str) -> None:
        """Forget an interface, which is gone."""
        for one in self._interfaces:
            if one.device == interface:
                self._run(egress.removal(one.table))
        self._interfaces = [one for one in self._interfaces if one.device != interface]

    def _put(self, interface: egress.Interface) -> None:
        self._run(egress.script(interface, self._listed, self._elements()))

    def _run(self, text: str) -> None:
        self._there(lambda: rules.run(text))

    def _changed(self, _events: int) -> None:
        """Somebody has changed rules: if ours are gone with them (`flush ruleset`), they come back."""
        if self._changes:
            self._changes.drain()
        for interface in self._interfaces:
            if not nft.has_table(self._socket, interface.table, nft.NETDEV):
                kernel.attempt(self._put, interface)

    @property
    def _socket(self) -> Netlink:
        if self._open is None:
            self._open = self._there(nft.open_nft)
        return self._open

    def close(self) -> None:
        """Guard nothing any more."""
        for interface in tuple(self._interfaces):
            kernel.attempt(self.detach, interface.device)
        if self._changes:
            self._loop.forget(self._followed)
        for sock in (self._changes, self._open):
            if sock:
                sock.close()
        self._changes = self._open = None

    # --- names ---------------------------------------------------------------------------------

    def may_ask(self, name: str) -> bool:
        """Tell whether servers may be asked about a name, and remember that it was wanted."""
        allowed = any(entry.is_about(name) for entry in self._listed)
        _, times, _ = self._asked.pop(name, (allowed, 0, 0.0))
        if len(self._asked) >= _TRIED:
            del self._asked[next(iter(self._asked))]
        self._asked[name] = (allowed, times + 1, time.time())
        return allowed

    def learn(self, name: str, found: Iterable[tuple[str, int]]) -> None:
        """Let what an answer says be reached: (address, seconds that it holds) each."""
        now = time.monotonic()
        for ip, seconds in found:
            if not egress.may_stand_for(ip):
                continue
            kept = float(min(max(seconds, _KEPT_SECONDS), _LONGEST_SECONDS))
            for name_of_set, key, text in egress.led_to(self._listed, name, ip):
                self._names[ip] = name
                self._renew((name_of_set, key), text, now, kept)

    def _renew(self, element: _Element, text: str, now: float, kept: float) -> None:
        end, _ = self._ends.get(element, (0.0, ""))
        if end - now > kept / 2:
            return  # so a question answered again and again costs nothing here
        if len(self._ends) >= _ELEMENTS:
            self._ends = {one: what for one, what in self._ends.items() if what[0] > now}
            self._names = {
                ip: self._names[ip] for ip in {what.partition(" ")[0] for _, what in self._ends.values()}
            }
            if len(self._ends) >= _ELEMENTS:
                return
        self._ends[element] = (now + kept, text)
        for interface in self._interfaces:
            kernel.attempt(nft.renew, self._socket, interface.table, *element, kept)

    def _elements(self) -> list[tuple[str, str]]:
        """Return what names lead to by now, as text: also those that /etc/hosts has."""
        now = time.monotonic()
        found = [
            (name, f"{text} timeout {int(end - now)}s")
            for (name, _), (end, text) in self._ends.items()
            if end > now + 1
        ]
        for host, ip in self._known:
            if ip != "host-gateway":
                self._names[ip] = host
                found += [(name, text) for name, _, text in egress.led_to(self._listed, host, ip)]
        return found

    # --- the list ------------------------------------------------------------------------------

    def change(self, allow: list[str]) -> None:
        """Let another list count from now on; raises InvalidArgument, OSError."""
        self._listed = egress.entries(allow)
        self._ends = {
            (name, key): (end, text)
            for (name, key), (end, text) in self._ends.items()
            if self._leads(name, key, text.partition(" ")[0])
        }
        for interface in self._interfaces:
            self._run(egress.change(interface.table, self._listed, self._elements()))

    def _leads(self, name: str, key: bytes, ip: str) -> bool:
        made = egress.led_to(self._listed, self._names.get(ip, ""), ip)
        return any((one, other) == (name, key) for one, other, _ in made)

    # --- what was tried ------------------------------------------------------------------------

    def finish(self) -> None:
        """Write down what was tried in the end."""
        kernel.attempt(self.write)

    def write(self) -> None:
        """Write down what the container has tried so far, for who asks."""
        now = time.time()
        tried = [
            {"name": name, "address": "", "port": "", "allowed": allowed, "times": times, "last": last}
            for name, (allowed, times, last) in self._asked.items()
        ]
        for interface in self._interfaces:
            for one in egress.attempts(self._socket, interface.table):
                words = {"name": self._names.get(one.address, ""), **one.as_dict(), "last": now - one.ago}
                del words["ago"]
                tried.append(words)
        atomic.write_file(self._record, jsontext.dumps_bytes({"attempts": tried}))
