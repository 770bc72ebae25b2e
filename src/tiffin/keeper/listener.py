"""The socket on which a keeper is spoken to."""

from __future__ import annotations

import _socket
import errno

from tiffin.keeper import frames
from tiffin.keeper.loop import READ
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.keeper.loop import Loop

_CONNECTIONS = 128


class Listener:
    """Listens in the folder of the living until it is closed."""

    def __init__(
        self, loop: Loop, live: str, folder: int, accepted: Callable[[_socket.socket], object]
    ) -> None:
        """Listen nowhere yet; `folder` is an open descriptor of `live`, `accepted` gets each connection."""
        self._loop, self._live, self._folder, self._accepted = loop, live, folder, accepted
        self._socket: _socket.socket | None = None

    def open(self) -> None:
        """Make the socket; bound through /proc/self/fd, for paths longer than 108 bytes."""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        atomic.remove_file(f"{self._live}/{frames.SOCKET}")  # of a keeper that was killed
        self._socket.bind(f"/proc/self/fd/{self._folder}/{frames.SOCKET}")
        self._socket.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        self._socket.listen(_CONNECTIONS)
        self.hear()

    def hear(self) -> None:
        """Take connections again, after there was no number free for one."""
        if self._socket:
            self._loop.watch(self._socket.fileno(), READ, self._connected)

    def close(self) -> None:
        """Take no more."""
        if self._socket:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connected(self, _events: int) -> None:
        if not self._socket:
            return
        # Without a free number for it the loop would spin: listen again when a peer has gone.
        self._loop.forget(self._socket.fileno())
        try:
            descriptor, _address = self._socket._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - the C module's
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                self.hear()
            return
        self._accepted(_socket.socket(fileno=descriptor))
        self.hear()
