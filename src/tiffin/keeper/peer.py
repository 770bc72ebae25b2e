"""One connection to a keeper, seen from the keeper (the protocol is in `frames`)."""

from __future__ import annotations

import _socket

from tiffin.errors import Corrupt, TiffinError
from tiffin.keeper import frames
from tiffin.keeper.loop import HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.keeper.loop import Loop
    from tiffin.keeper.process import Process

_NOW = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Peer:
    """Sends without waiting: what does not fit is kept, and the process's output stops until it went."""

    def __init__(
        self,
        loop: Loop,
        sock: _socket.socket,
        serve: Callable[[Peer, frames.Frame], None],
        gone: Callable[[Peer], None],
    ) -> None:
        """Watch the socket; `serve` is called with each frame, `gone` once when the connection ends."""
        self._loop = loop
        self._socket = sock
        self._serve = serve
        self._gone = gone
        self._pending: list[bytes] = []
        self._finishing = False
        self.closed = False
        self.process: Process | None = None
        self.bits = 0  # what it is attached to
        self.quota = 0  # bytes of input that it may send
        self.waits = False
        self.parts = b""
        self._watch()

    def take_input(self, data: bytes) -> None:
        """Hand input on to the process; raise Corrupt for more than was granted."""
        self.quota -= len(data)
        if self.quota < 0 or not self.process or not self.bits & frames.STDIN:
            message = "keeper: input that was not granted"
            raise Corrupt(message)
        self.process.write(data, self)

    def end_input(self) -> None:
        """Say to the process that there is no more input."""
        if self.process:
            self.process.end_input_of(self)

    @property
    def stuck(self) -> bool:
        """Whether it has not read what it was sent."""
        return bool(self._pending)

    def send(self, kind: str, data: bytes = b"") -> None:
        """Send a frame, or keep it until there is room."""
        if self.closed or self._finishing:
            return
        packet = frames.pack(kind, data)
        if not self._pending:
            try:
                self._socket.send(packet, _NOW)
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
            else:
                return
        self._pending.append(packet)
        self._watch()

    def refuse(self, reason: str) -> None:
        """Say why a request is not done."""
        self.send(frames.NOT_DONE, reason.encode()[: frames.PAYLOAD_LIMIT])

    def finish(self) -> None:
        """Close when everything has been sent."""
        self._finishing = True
        if not self._pending:
            self.close()

    def close(self) -> None:
        """End the connection now."""
        if self.closed:
            return
        self.closed = True
        self._pending.clear()
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._gone(self)

    def _watch(self) -> None:
        self._loop.watch(self._socket.fileno(), READ | WRITE if self._pending else READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if not self.closed and events & (READ | HANGUP):
            self._receive()

    def _flush(self) -> None:
        while self._pending:
            try:
                self._socket.send(self._pending[0], _NOW)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self._pending[0]
        if self._finishing:
            self.close()
            return
        self._watch()
        if self.process:
            self.process.resume()

    def _receive(self) -> None:
        try:
            packet = self._socket.recv(frames.PACKET_LIMIT + 1, _NOW)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self.close()
            return
        try:
            if len(packet) > frames.PACKET_LIMIT:
                message = "keeper: a frame is too long"
                raise Corrupt(message)
            self._serve(self, frames.unpack(packet))
        except TiffinError as error:
            self.refuse(error.message)
            self.finish()
