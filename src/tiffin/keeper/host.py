"""The host that an ordinary user's bridges are on: a network namespace of the user's own.

Bridges, rules and leases are made there by the code that makes them on the real host for root. No process
stays for it: every keeper with a container on a bridge is a *member*, which holds the namespace by a
descriptor, and is in the one user namespace that owns it. A file says who is a member; who comes finds the
namespaces through any that lives. So no member is needed by another, and with the last one all of it
is gone. slirp4netns leads outside; it lives as long as somebody holds the other end of a pipe, and
whichever member sees it end first starts another.
"""

from __future__ import annotations

import os

from tiffin.errors import Corrupt, TiffinError, Unavailable
from tiffin.keeper import kernel
from tiffin.keeper.frames import Elsewhere
from tiffin.spec import jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.loop import Loop
    from tiffin.network.ports import Fact
    from tiffin.settings import Privilege

    State = dict[str, Any]

_AGAIN_SECONDS = 0.1
"""How long after the end of the way out it is looked for, or made: it is no loop that spins."""
_LOST = -1
"""The order of a port that nobody leads: the way out that did has ended."""


def place(privilege: Privilege) -> str:
    """Return the file about the user's host on the real one that this process sees."""
    from binascii import crc32

    number = os.stat("/proc/self/ns/net").st_ino
    return f"{privilege.hosts}/{number}-{crc32(privilege.mark.encode()):08x}"


def _read(path: str) -> State:
    """Return what is known, with the members that live, and how many died and left ports published."""
    try:
        with open(path, "rb") as stream:
            state = jsontext.load_object(stream.read())
    except (FileNotFoundError, NotADirectoryError, PermissionError, Corrupt):
        return {"uplink": "", "members": {}, "dead": 0}
    members = {tag: held for tag, held in state["members"].items() if atomic.owner_lives(tag)}
    dead = state["dead"] + len(state["members"]) - len(members)
    return {**state, "members": members, "dead": dead}


def _open(tag: str, name: str, flags: int = os.O_RDONLY) -> int:
    """Open something of a member's in /proc; raises OSError, ProcessLookupError if it is gone by then."""
    found = os.open(f"/proc/{tag.split('-')[1]}/{name}", flags | os.O_CLOEXEC)
    if not atomic.owner_lives(tag):
        os.close(found)
        raise ProcessLookupError
    return found


def enter_ids(privilege: Privilege) -> bool:
    """Go into the user namespace of the user's host if there is one; tell whether. It needs one thread."""
    for tag in _read(place(privilege))["members"]:
        try:
            namespace = _open(tag, "ns/user")
        except OSError:
            continue
        try:
            kernel.join_ids(namespace)
        except OSError:
            continue
        else:
            return True
        finally:
            os.close(namespace)
    return False


def visit(privilege: Privilege, work: Callable[[], Any]) -> bool:
    """Do some work on the user's host, whose user namespace we are in; tell whether there is one."""
    from tiffin.network import namespace

    for tag, (net, _pipe) in _read(place(privilege))["members"].items():
        try:
            found = _open(tag, f"fd/{net}")
        except OSError:
            continue
        try:
            namespace.inside(found, work)
        finally:
            os.close(found)
        return True
    return False


class Host:
    """What a member has of it, from `enter` to `leave`."""

    def __init__(self, privilege: Privilege, loop: Loop) -> None:
        """Belong to nothing yet."""
        self._path, self._loop = place(privilege), loop
        self._lock = f"{self._path}.lock"
        self._tag = atomic.owner_tag()
        self._net = self._pipe = self._folder = self._watched = -1
        self._why = ""
        self._forwards: dict[tuple[Any, ...], tuple[int, Fact]] = {}
        self._held: dict[tuple[Any, ...], _socket.socket] = {}

    # --- coming and going ----------------------------------------------------------------------

    def enter(self) -> None:
        """Become a member, making the host if there is none.

        Raises Elsewhere, OSError, Unavailable (the way out did not start).
        """
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        self._folder = os.open(os.path.dirname(self._path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with atomic.Lock(self._lock):
                state = _read(self._path)
                if not any(self._join(tag, held) for tag, held in state["members"].items()):
                    state = self._make()
                self._connect(state)
                state["members"][self._tag] = [self._net, self._pipe]
                self._write(state)
        except BaseException:
            self._forget()
            raise

    def _join(self, tag: str, held: list[int]) -> bool:
        """Take what a member holds; tell whether it was there still. Raises Elsewhere."""
        net, pipe = held
        try:
            # For both: one that only writes would wait for somebody who reads.
            self._pipe = _open(tag, f"fd/{pipe}", os.O_RDWR)
            self._net = _open(tag, f"fd/{net}")
        except PermissionError:  # it is in another user namespace than we are
            raise Elsewhere("the user's host came to be meanwhile") from None
        except OSError:
            return False
        return True

    def _make(self) -> State:
        from tiffin.network import link, namespace, rules, uplink

        self._net, inner = namespace.make()
        with inner:
            inner.call("lo", link.up(1))
        self.inside(lambda: rules.run(uplink.GUARD))
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        os.close(reading)
        return {"uplink": "", "members": {}, "dead": 0}

    def _connect(self, state: State) -> None:
        """Lead outside, unless somebody does so already, or it cannot be had: then `lacking` says why."""
        from tiffin.network import uplink

        if not atomic.owner_lives(state["uplink"]):
            self._why = ": ".join(filter(None, uplink.lacking()))
            if self._why:
                return
            atomic.remove_file(self._control)
            process = uplink.start(self._net, self._pipe, self._control)
            state["uplink"] = f"{atomic.boot_id()[:8]}-{process}-{atomic.start_time(process)}"
        self._watch(int(state["uplink"].split("-")[1]))

    def _write(self, state: State) -> None:
        """Write who is here; the dead are counted until what they published is taken back."""
        if state["dead"]:
            try:
                self._sweep()
                state["dead"] = 0
            except (OSError, TiffinError):
                pass  # whoever writes next tries again
        atomic.write_file(self._path, jsontext.dumps_bytes(state), 0o600)

    def leave(self) -> None:
        """Be a member no more; the last one takes the file away."""
        if self._net < 0:
            return
        with atomic.Lock(self._lock) as lock:
            state = _read(self._path)
            state["members"].pop(self._tag, None)
            if state["members"]:
                self._write(state)
            else:
                atomic.remove_file(self._path)
                atomic.remove_file(self._control)
                lock.remove()
        self._forget()

    def _forget(self) -> None:
        self._watch(0)
        for descriptor in (self._net, self._pipe, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._net = self._pipe = self._folder = -1

    @property
    def _control(self) -> str:
        """The socket that takes orders, by a path that is short enough for one."""
        return f"/proc/{os.getpid()}/fd/{self._folder}/{os.path.basename(self._path)}.uplink"

    # --- the way out ---------------------------------------------------------------------------

    def _watch(self, process: int) -> None:
        """Notice when the way out ends; of 0 it is noticed no more."""
        if self._watched >= 0:
            self._loop.forget(self._watched)
            os.close(self._watched)
            self._watched = -1
        if process:
            self._watched = os.pidfd_open(process)
            self._loop.watch(self._watched, 1, self._broken)

    def _broken(self, _events: int) -> None:
        self._watch(0)
        self._forwards = {key: (_LOST, fact) for key, (_order, fact) in self._forwards.items()}
        self._loop.later(_AGAIN_SECONDS, self._mend)

    def _mend(self) -> None:
        """Connect with the way out that another member has made, or make it; publish our lost ports there."""
        if self._net < 0:
            return
        try:
            with atomic.Lock(self._lock):
                state = _read(self._path)
                self._connect(state)
                self._write(state)
        except (OSError, TiffinError):
            self._loop.later(10 * _AGAIN_SECONDS, self._mend)
            return
        for key, (order, fact) in tuple(self._forwards.items()):
            if order == _LOST:
                kernel.attempt(self._forward, key, fact)
        if any(order == _LOST for order, _fact in self._forwards.values()):  # its port is taken now
            self._loop.later(10 * _AGAIN_SECONDS, self._mend)

    # --- ports ---------------------------------------------------------------------------------

    def leads(self, fact: Fact) -> bool:
        """Tell whether a published port can be led here by the way out; what it cannot, the keeper passes on.

        It knows IPv4 only, and clients of UDP ports on the loopback would get no answer.
        """
        host, _number, protocol, *_ = fact
        return not self._why and ":" not in host and (protocol == "tcp" or not host.startswith("127."))

    def lead(self, fact: Fact) -> tuple[list[Fact], _socket.socket | None]:
        """Publish a port that is free on the real host.

        Returns the facts that the rules are made of, and the socket at which the keeper has to serve what
        comes from the loopback, if it has to. Call it outside, where the real host is. Raises Unavailable,
        OSError.
        """
        from tiffin.network import ports, uplink
        from tiffin.network.plan import Port

        host, number, protocol, target, port = fact
        key = (host, number, protocol)
        inner = Port(host=uplink.ADDRESS, first=number, last=number, protocol=protocol, target=port)

        def take() -> tuple[_socket.socket, int]:
            try:
                return ports.bind(inner, lambda _port: "")
            except Unavailable:  # the same number on another address of the real host
                return ports.bind(inner.replace(first=0, last=0), lambda _port: "")

        self._held[key], own = self.inside(take)
        try:
            self._forward(key, [host, number, protocol, uplink.ADDRESS, own])
        except BaseException:
            self._held.pop(key).close()
            raise
        led = [[uplink.ADDRESS, own, protocol, target, port]]
        if host not in ports.ALL:
            return led, None
        return [*led, fact], ports.beside(number) if protocol == "udp" else None

    def _forward(self, key: tuple[Any, ...], fact: Fact) -> None:
        from tiffin.network import uplink

        self._forwards[key] = (uplink.forward(self._control, fact), fact)

    def _sweep(self) -> None:
        """Take back what killed members have published: nobody holds the inner port any more."""
        from tiffin.network import ports, uplink
        from tiffin.network.plan import Port

        for order, protocol, number in uplink.forwards(self._control) if not self._why else ():
            inner = Port(host=uplink.ADDRESS, first=number, last=number, protocol=protocol, target=0)
            try:
                self.inside(lambda: ports.bind(inner, lambda _port: ""))[0].close()  # noqa: B023 - at once
            except TiffinError:
                continue
            kernel.attempt(uplink.unforward, self._control, order)

    def withdraw(self, key: tuple[Any, ...]) -> None:
        """Publish a port no more."""
        from tiffin.network import uplink

        if key not in self._forwards:
            return
        order, _fact = self._forwards.pop(key)
        if order != _LOST:
            kernel.attempt(uplink.unforward, self._control, order)
        self._held.pop(key).close()

    # --- there ---------------------------------------------------------------------------------

    def inside(self, work: Callable[[], Any]) -> Any:
        """Do some work on the user's host, by a thread that goes there."""
        from tiffin.network import namespace

        return namespace.inside(self._net, work)
