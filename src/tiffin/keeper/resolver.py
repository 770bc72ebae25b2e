"""Names for a container: its keeper answers on 127.0.0.11, and asks the host's servers about the rest.

The sockets were opened in the container's namespace by a thread that is gone; those to the servers are the
host's. Everything happens in the keeper's one loop, a bounded piece at a time: a container that floods us
with questions delays its own answers, and nothing else by much.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

from tiffin.errors import Corrupt
from tiffin.keeper.loop import HANGUP, READ, WRITE
from tiffin.network import living, names, namespace, nft
from tiffin.network.subnet import family_of, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.guard import Guard
    from tiffin.keeper.loop import Loop
    from tiffin.network.names import Question
    from tiffin.network.plan import Place

    Reply = Callable[[bytes, Question | None], None]

ADDRESS = "127.0.0.11"
_ROUND = 32
"""Questions that are read before others have their turn."""
_WAITING = 256
"""Questions that are with the servers at once; further ones are answered "failed"."""
_CONNECTIONS = 32
_PATIENCE = 4.0
"""Seconds that a server has; then the next one is asked, and after the last the answer is "failed"."""
_IDLE = 10.0
_PACKET = 65535
_ADDRESSES = (names.A, names.AAAA, names.ANY)
_KINDS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


class Resolver:
    """Answers one container."""

    def __init__(
        self,
        loop: Loop,
        place: Place,
        namespace_fd: int,
        upstream: tuple[str, ...],
        guard: Guard | None = None,
    ) -> None:
        """Open the sockets inside, and send port 53 of our address there to them.

        A `guard` decides which names servers are asked about, and is told what they answer.
        """
        self._loop, self._place, self._upstream, self._guard = loop, place, upstream, guard
        self.networks: dict[str, dict[str, str]] = {}
        """The networks whose names are known here, by id, each with the links on it."""
        self._book = names.Book()
        self._seen: dict[str, tuple[int, int]] = {}
        self._waiting: dict[int, _Errand] = {}
        self._number = 0
        self._calls: set[_Call] = set()
        self._longer: set[_Longer] = set()
        self._servers: dict[int, _socket.socket] = {}
        self._udp, self._tcp = namespace.inside(namespace_fd, _open)
        loop.watch(self._udp.fileno(), READ, self._asked)
        loop.watch(self._tcp.fileno(), READ, self._called)

    def close(self) -> None:
        """Answer no more."""
        for sock in (self._udp, self._tcp, *self._servers.values()):
            self._loop.forget(sock.fileno())
            sock.close()
        for errand in tuple(self._waiting.values()):
            errand.end()
        for call in tuple(self._calls):
            call.end()
        for longer in tuple(self._longer):
            longer.end()

    # --- questions -----------------------------------------------------------------------------

    def _asked(self, _events: int) -> None:
        for _ in range(_ROUND):
            try:
                packet, sender = self._udp.recvfrom(_PACKET)
            except OSError:
                return
            self.take(packet, self._answer_to(sender))

    def _answer_to(self, sender: Any) -> Reply:
        def reply(data: bytes, question: Question | None) -> None:
            try:
                self._udp.sendto(names.fit(data, question) if question else data, sender)
            except OSError:
                return  # its queue is full, or it has gone

        return reply

    def take(self, packet: bytes, reply: Reply) -> None:
        """Answer a packet by calling `reply(bytes, question)`, now or when a server has answered."""
        try:
            question = names.question(packet)
        except Corrupt:
            data = names.malformed(packet)
            if data:
                reply(data, None)
            return
        if question.bits & 0x7800:
            reply(names.failure(question, names.NOT_IMPLEMENTED), question)
            return
        self._refresh()
        found = self._book.find(question)
        if found is not None:
            if self._guard and question.kind in _ADDRESSES:
                self._guard.learn(question.name, [(ip, names.SECONDS) for ip in found])
            reply(names.answer(question, found), question)
        elif self._guard and not self._guard.may_ask(question.name):
            reply(names.failure(question, names.NAME_ERROR), question)
        elif self._upstream and len(self._waiting) < _WAITING:
            # A guarded container's own bytes go nowhere: neither the case of letters nor extensions.
            asked = names.plain(question) if self._guard else packet
            _Errand(self, question, asked, reply).go()
        else:
            reply(names.failure(question, names.SERVER_FAILURE), question)

    def _refresh(self) -> None:
        """Read the names anew where a network's file has changed."""
        now = {}
        for network_id in self.networks:
            try:
                info = os.stat(f"{self._place.folder}/{network_id}")
                now[network_id] = (info.st_mtime_ns, info.st_ino)
            except OSError:
                continue
        if now == self._seen:
            return
        self._seen = now
        self._book = names.Book()
        for network_id, links in self.networks.items():
            facts = living.read(self._place, network_id)
            for lease in facts["leases"].values() if facts else ():
                self._book.add(facts["name"], lease["names"], lease["addresses"], links)  # type: ignore[index]

    # --- servers -------------------------------------------------------------------------------

    def send(self, errand: _Errand, packet: bytes, server: str) -> int:
        """Ask a server; return the number under which its answer will come. Raises OSError."""
        family = family_of(server)
        sock = self._servers.get(family)
        if sock is None:
            sock = self._servers[family] = _socket.socket(family, _socket.SOCK_DGRAM | _KINDS)
            self._loop.watch(sock.fileno(), READ, self._listen_to(sock))
        while True:
            # A number that nobody can guess: what comes back is believed by it.
            number = int.from_bytes(os.urandom(2), "big")
            if number not in self._waiting:
                break
        sock.sendto(struct.pack(">H", number) + packet[2:], (server, 53))
        self._waiting[number] = errand
        return number

    def _listen_to(self, sock: _socket.socket) -> Callable[[int], None]:
        return lambda _events: self._answered(sock)

    def _answered(self, sock: _socket.socket) -> None:
        for _ in range(_ROUND):
            try:
                packet, sender = sock.recvfrom(_PACKET)
            except OSError:
                return
            errand = self._waiting.get(names.number_of(packet))
            if errand and errand.is_from(sender, packet):
                errand.bring(packet)

    def whole(self, packet: bytes, server: str, bring: Callable[[bytes], None]) -> bool:
        """Ask a server by TCP, whose answer was too long for UDP; tell whether that can be done now."""
        if len(self._longer) >= _CONNECTIONS:
            return False
        try:
            self._longer.add(_Longer(self._loop, packet, server, bring, self._longer.discard))
        except OSError:
            return False
        return True

    def learn(self, question: Question, packet: bytes) -> None:
        """Tell the guard what a server has answered, before the container knows."""
        if self._guard and question.kind in _ADDRESSES:
            try:
                self._guard.learn(question.name, names.addresses(packet, question))
            except (Corrupt, struct.error, ValueError):
                return  # what cannot be read leads nowhere

    def later(self, seconds: float, callback: Any) -> int:
        """Call back after a time."""
        return self._loop.later(seconds, callback)

    def forget(self, number: int, timer: int) -> None:
        """Forget an errand's number and timer."""
        self._waiting.pop(number, None)
        self._loop.cancel(timer)

    def server(self, attempt: int) -> str:
        """Return the server of an attempt, "" after the last."""
        return self._upstream[attempt] if attempt < len(self._upstream) else ""

    # --- TCP -----------------------------------------------------------------------------------

    def _called(self, _events: int) -> None:
        try:
            descriptor, _address = self._tcp._accept()  # noqa: SLF001 - the C module's
        except OSError:
            return
        sock = _socket.socket(fileno=descriptor)
        if len(self._calls) >= _CONNECTIONS:
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        self._calls.add(_Call(self._loop, sock, self.take, self._calls.discard))


def _open() -> tuple[_socket.socket, _socket.socket]:
    """Open both sockets, in the container's namespace, and make its port 53 lead to them."""
    udp = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _KINDS)
    tcp = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _KINDS)
    udp.bind((ADDRESS, 0))
    tcp.bind((ADDRESS, 0))
    tcp.listen(_CONNECTIONS)
    with nft.open_nft() as socket:
        nft.redirect_names(socket, pack(ADDRESS), udp.getsockname()[1], tcp.getsockname()[1])
    return udp, tcp


class _Errand:
    """One question that is with a server."""

    def __init__(self, resolver: Resolver, question: Question, packet: bytes, reply: Reply) -> None:
        self._resolver, self._question, self._packet, self._reply = resolver, question, packet, reply
        self._attempt = 0
        self._number = self._timer = -1
        self._server = ""

    def go(self) -> None:
        """Ask the next server, or give up."""
        self._server = self._resolver.server(self._attempt)
        self._attempt += 1
        if not self._server:
            self._reply(names.failure(self._question, names.SERVER_FAILURE), self._question)
            return
        try:
            self._number = self._resolver.send(self, self._packet, self._server)
        except OSError:
            self.go()  # nobody can be reached there
            return
        self._timer = self._resolver.later(_PATIENCE, self._again)

    def _again(self) -> None:
        self.end()
        self.go()

    def end(self) -> None:
        """Wait no more."""
        self._resolver.forget(self._number, self._timer)

    def is_from(self, sender: Any, packet: bytes) -> bool:
        """Tell whether a packet is the asked server's answer to this very question."""
        raw = self._question.raw
        same = packet[12 : 12 + len(raw)].lower() == raw.lower()
        return bool(sender[0].partition("%")[0] == self._server and sender[1] == 53 and same)

    def bring(self, packet: bytes) -> None:
        """Hand the answer on, once it is whole, under its first number and with the question as it was."""
        self.end()
        if names.is_truncated(packet) and self._resolver.whole(
            self._packet, self._server, self._finish(packet)
        ):
            return
        self._finish(packet)(packet)

    def _finish(self, cut: bytes) -> Callable[[bytes], None]:
        """Return what hands an answer on, or the one that was `cut` where that is none."""

        def finish(packet: bytes) -> None:
            raw = self._question.raw
            end = 12 + len(raw)
            packet = packet if packet[12:end].lower() == raw.lower() else cut
            self._resolver.learn(self._question, packet)
            self._reply(
                struct.pack(">H", self._question.number) + packet[2:12] + raw + packet[end:], self._question
            )

        return finish


class _Longer:
    """One question to a server by TCP: an answer that was cut is asked for again."""

    def __init__(
        self,
        loop: Loop,
        packet: bytes,
        server: str,
        bring: Callable[[bytes], None],
        gone: Callable[[_Longer], None],
    ) -> None:
        self._loop, self._bring, self._gone = loop, bring, gone
        self._number = os.urandom(2)
        data = self._number + packet[2:]
        self._out = len(data).to_bytes(2, "big") + data
        self._held = b""
        self._ended = False
        self._socket = _socket.socket(family_of(server), _socket.SOCK_STREAM | _KINDS)
        code = self._socket.connect_ex((server, 53))
        if code not in {0, errno.EINPROGRESS}:
            self._socket.close()
            raise OSError(code, os.strerror(code))
        self._timer = loop.later(_PATIENCE, self._give_up)
        loop.watch(self._socket.fileno(), WRITE, self._work)

    def _work(self, events: int) -> None:
        try:
            if self._out:
                self._out = self._out[self._socket.send(self._out) :]
                self._loop.watch(self._socket.fileno(), WRITE if self._out else READ, self._work)
            elif events & (READ | HANGUP):
                data = self._socket.recv(_PACKET)
                self._held += data
                size = 2 + int.from_bytes(self._held[:2], "big")
                if len(self._held) >= max(size, 14) and self._held[2:4] == self._number:
                    self.end()
                    self._bring(self._held[2:size])
                elif not data or len(self._held) >= max(size, 14):
                    self._give_up()
        except BlockingIOError:
            return
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        self.end()
        self._bring(b"")

    def end(self) -> None:
        """Hang up."""
        if not self._ended:
            self._ended = True
            self._loop.cancel(self._timer)
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._gone(self)


class _Call:
    """One TCP connection of a container: questions with their length before them, one after the other."""

    def __init__(self, loop: Loop, sock: _socket.socket, take: Any, gone: Any) -> None:
        self._loop, self._socket, self._take, self._gone = loop, sock, take, gone
        self._held = b""
        self._out = b""
        self._closed = False
        self._timer = loop.later(_IDLE, self.end)
        loop.watch(sock.fileno(), READ, self._work)

    def _work(self, events: int) -> None:
        try:
            if self._out and events & (WRITE | HANGUP):
                self._out = self._out[self._socket.send(self._out) :]
            if events & READ:
                data = self._socket.recv(_PACKET)
                if not data:
                    self.end()
                    return
                self._held += data
        except BlockingIOError:
            pass
        except OSError:
            self.end()
            return
        self._loop.cancel(self._timer)
        self._timer = self._loop.later(_IDLE, self.end)
        self._next()

    def _next(self) -> None:
        """Take one question, unless an answer is still on its way out."""
        if self._closed:
            return
        if not self._out and len(self._held) >= 2:
            length = int.from_bytes(self._held[:2], "big")
            if len(self._held) >= 2 + length:
                packet, self._held = self._held[2 : 2 + length], self._held[2 + length :]
                self._take(packet, self._send)
        # One that writes without reading waits until it reads.
        full = bool(self._out) or len(self._held) > 2 * _PACKET
        self._loop.watch(self._socket.fileno(), WRITE if self._out else 0 if full else READ, self._work)

    def _send(self, data: bytes, _question: Question | None) -> None:
        if self._closed:
            return
        self._out += len(data).to_bytes(2, "big") + data
        self._loop.watch(self._socket.fileno(), WRITE, self._work)

    def end(self) -> None:
        """Hang up."""
        if not self._closed:
            self._closed = True
            self._loop.cancel(self._timer)
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._gone(self)
