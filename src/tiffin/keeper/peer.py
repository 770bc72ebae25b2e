"""One connection to a keeper, seen from the keeper (the protocol is in `frames`).

A reader that stops reading stops nothing: what it has not taken is kept for it (see `backlog`). Beyond
that the one who started the process holds it back, as the reader of a pipe does; any other is cut off.
"""

from __future__ import annotations

import _socket

from tiffin.errors import Corrupt, TiffinError
from tiffin.keeper import frames
from tiffin.keeper.backlog import LIMIT, Backlog
from tiffin.keeper.loop import HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.keeper.loop import Loop
    from tiffin.keeper.process import Process

_BEHIND = f"this reader fell more than {LIMIT >> 20} MiB behind and was cut off; `logs` has what followed"
_NOW = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Peer:
    """Sends without waiting: what does not fit is kept until it went."""

    def __init__(
        self,
        loop: Loop,
        sock: _socket.socket,
        serve: Callable[[Peer, frames.Frame], None],
        gone: Callable[[Peer], None],
        *,
        folder: str,
    ) -> None:
        """Watch the socket; `serve` is called with each frame, `gone` once when the connection ends.

        `folder` is for what has to be kept.
        """
        self._loop = loop
        self._socket = sock
        self._serve = serve
        self._gone = gone
        self._pending = Backlog(folder)
        self._finishing = False
        self.started = True
        """It started the process that it reads of."""
        self._late: list[bytes] = []  # for want of room: the few frames that were on their way
        self.stuck = False
        """There is no more room for what it does not read."""
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
        if self._pending.append(packet):
            self._watch()
        elif self.started or kind not in {frames.OUTPUT, frames.ERRORS}:
            self._late.append(packet)
            self.stuck = True
        else:
            self._late.append(frames.pack(frames.NOT_DONE, _BEHIND.encode()))
            self._finishing = True

    def refuse(self, reason: str) -> None:
        """Say why a request is not done."""
        self.send(frames.NOT_DONE, reason.encode()[: frames.PAYLOAD_LIMIT])

    def finish(self) -> None:
        """Close when everything has been sent."""
        self._finishing = True
        if not self._pending and not self._late:
            self.close()

    def close(self) -> None:
        """End the connection now."""
        if self.closed:
            return
        self.closed = True
        self._pending.clear()
        self._late.clear()
        self.stuck = False
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
                self._socket.send(self._pending.first(), _NOW)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._pending.drop()
            while self._late and self._pending.append(self._late[0]):
                del self._late[0]
            if self.stuck and not self._late:
                self.stuck = False
                if self.process:
                    self.process.resume()
        if self._finishing:
            self.close()
            return
        self._watch()

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
