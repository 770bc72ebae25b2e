"""Passing bytes between a client of a published port and the container, where no rule of the kernel does.

That is: IPv6 clients of a container that has IPv4 only, and whoever comes by ::1. Everybody else's packets
never reach these sockets.
"""

from __future__ import annotations

import _socket
import errno

from tiffin.keeper.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.loop import Loop

    There = Callable[[Callable[[], Any]], Any]

_PIECE = 1 << 16
_HELD = 1 << 18
"""Bytes on their way in one direction; then its sender waits."""
_CONNECTIONS = 256
"""Clients of one port that are served at once; others wait in the kernel's queue."""
_ROUND = 32
"""Packets that are passed on before others have their turn."""
_QUIET = 90.0
"""Seconds after which a client of UDP is forgotten that said nothing more."""


class Proxy:
    """Serves one listening socket."""

    def __init__(self, loop: Loop, listener: _socket.socket, target: tuple[str, int], there: There) -> None:
        """Connect whoever comes with the target, from where `there` does its work."""
        self._loop, self._listener, self._target = loop, listener, target
        self._there = there
        self._number = listener.fileno()
        self._served = 0
        loop.watch(self._number, READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            descriptor, _address = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - the C module's
        except OSError:
            return
        client = _socket.socket(fileno=descriptor)
        family = _socket.AF_INET6 if ":" in self._target[0] else _socket.AF_INET
        kind = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        server = self._there(lambda: _socket.socket(family, kind))
        client.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        code = server.connect_ex(self._target)
        if code not in {0, errno.EINPROGRESS}:
            client.close()
            server.close()
            return
        self._served += 1
        if self._served >= _CONNECTIONS:
            self._loop.forget(self._number)
        there, back = _Stream(client, server), _Stream(server, client)
        _Conversation(self._loop, there, back, self._ended)

    def _ended(self) -> None:
        self._served -= 1
        if self._listener.fileno() >= 0:
            self._loop.watch(self._number, READ, self._accept)


class Datagrams:
    """The same for UDP: each client has a socket of its own to the target, for as long as something comes."""

    def __init__(self, loop: Loop, socket: _socket.socket, target: tuple[str, int], there: There) -> None:
        """Pass on what comes to a socket, from where `there` works, and back what the target answers."""
        self._loop, self._socket, self._target, self._there = loop, socket, target, there
        socket.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        self._clients: dict[object, tuple[_socket.socket, int]] = {}
        loop.watch(socket.fileno(), READ, self._come)

    def _come(self, _events: int) -> None:
        for _ in range(_ROUND):
            try:
                data, client = self._socket.recvfrom(_PIECE)
                self._to(client).send(data)
            except OSError:
                return

    def _to(self, client: object) -> _socket.socket:
        """Return the socket of a client; the one that was longest without a word gives way to a new one."""
        known = self._clients.pop(client, None)
        if known:
            self._loop.cancel(known[1])
            made = known[0]
        else:
            if len(self._clients) >= _CONNECTIONS:
                self._forget(next(iter(self._clients)))
            family = _socket.AF_INET6 if ":" in self._target[0] else _socket.AF_INET
            kind = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
            made = self._there(lambda: _socket.socket(family, kind))
            made.connect(self._target)
            self._loop.watch(made.fileno(), READ, lambda _events: self._back(made, client))
        self._clients[client] = made, self._loop.later(_QUIET, lambda: self._forget(client))
        return made

    def _back(self, made: _socket.socket, client: object) -> None:
        for _ in range(_ROUND):
            try:
                self._socket.sendto(made.recv(_PIECE), client)  # type: ignore[call-overload]
            except OSError:
                return  # nothing more, nobody there, or we give the port back

    def _forget(self, client: object) -> None:
        made, timer = self._clients.pop(client)
        self._loop.cancel(timer)
        self._loop.forget(made.fileno())
        made.close()

    def close(self) -> None:
        """Forget all clients."""
        for client in tuple(self._clients):
            self._forget(client)


class _Stream:
    """One direction: bytes that were read from one socket and not yet written to the other."""

    def __init__(self, source: _socket.socket, sink: _socket.socket) -> None:
        self.source, self.sink = source, sink
        self.held = bytearray()
        self.read_all = self.done = False

    def take(self) -> None:
        """Read what is there."""
        if self.read_all or len(self.held) >= _HELD:
            return
        try:
            data = self.source.recv(_PIECE)
        except BlockingIOError:
            return
        if data:
            self.held += data
        else:
            self.read_all = True

    def give(self) -> None:
        """Write what there is room for; after the last byte say so."""
        if self.held:
            try:
                del self.held[: self.sink.send(self.held)]
            except BlockingIOError:
                return
        if self.read_all and not self.held and not self.done:
            self.done = True
            self.sink.shutdown(_socket.SHUT_WR)


class _Conversation:
    """Both directions of a connection, until both have ended or one breaks."""

    def __init__(self, loop: Loop, there: _Stream, back: _Stream, ended: object) -> None:
        self._loop, self._streams, self._tell = loop, (there, back), ended
        self._numbers = (there.source.fileno(), back.source.fileno())
        self._connected = False
        loop.watch(self._numbers[1], WRITE, self._work)

    def _work(self, _events: int) -> None:
        there, back = self._streams
        try:
            if not self._connected:
                code = back.source.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                if code:
                    raise OSError(code, "connect")
                self._connected = True
            for stream in self._streams:
                stream.take()
                stream.give()
        except OSError:
            self._end()
            return
        if there.done and back.done:
            self._end()
            return
        for stream, other, number in ((there, back, self._numbers[0]), (back, there, self._numbers[1])):
            wanted = READ * (not stream.read_all and len(stream.held) < _HELD) | WRITE * bool(other.held)
            self._loop.watch(number, wanted, self._work)

    def _end(self) -> None:
        for number in self._numbers:
            self._loop.forget(number)
        for stream in self._streams:
            stream.source.close()
        self._tell()  # type: ignore[operator]
