"""Talking to a keeper: what the engine uses (the protocol is in `frames`)."""

from __future__ import annotations

import _socket
import os
import sys

from tiffin.errors import Conflict, Corrupt, Unavailable
from tiffin.keeper import frames
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from tiffin.keeper.frames import Frame
    from tiffin.keeper.request import StartRequest


def start(channel: _socket.socket, request: StartRequest, *, descriptors: Sequence[int] = ()) -> Connection:
    """Tell a keeper what to run; the connection then gets S or F, and what the request attaches it to.

    The keeper holds copies of `descriptors` while the container lives. Raises Unavailable if it died.
    """
    connection = Connection(channel, "start the container")
    if request.attach & frames.STDIN:
        connection.input_quota = frames.INPUT_QUOTA
    packed = b"".join(d.to_bytes(4, sys.byteorder) for d in descriptors)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if packed else []
    try:
        channel.sendmsg([request.pack()], rights, _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise connection.lost() from error
    return connection


def connect(live: str) -> Connection:
    """Connect to the keeper whose folder this is; raise Conflict if none lives there."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        folder = os.open(live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{folder}/{frames.SOCKET}")
        finally:
            os.close(folder)
    except OSError as error:
        sock.close()
        message = f"container {os.path.basename(live)} is not running"
        raise Conflict(message) from error
    return Connection(sock, os.path.basename(live))


class Connection:
    """One conversation with a keeper about one process. `fileno` can be polled; `recv` then returns."""

    def __init__(self, sock: _socket.socket, name: str) -> None:
        """Own the socket; `name` is for messages."""
        self._socket = sock
        self._name = name
        self.input_quota = 0
        """Bytes that `send_stdin` takes at this moment; grows as QUOTA frames come in."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave; the process goes on (see `frames` on "stdin once")."""
        self._socket.close()

    detach = close

    def lost(self) -> Unavailable:
        """Return the error for a keeper that has gone without a last word."""
        return Unavailable(
            f"{self._name}: the keeper of the container has died",
            hint="look at it with `tiffin ps -a`; its processes are ended by the next command",
        )

    # --- frames --------------------------------------------------------------------------------

    def recv(self) -> Frame | None:
        """Wait for the next frame; None when the keeper has closed (after X, F, or its own death)."""
        try:
            packet = self._socket.recv(frames.PACKET_LIMIT)
        except ConnectionResetError:
            # It closed before reading our last frame; what it had sent is still there.
            packet = self._socket.recv(frames.PACKET_LIMIT)
        if not packet:
            return None
        frame = frames.unpack(packet)
        if frame.kind == frames.QUOTA:
            self.input_quota += int.from_bytes(frame.data, "big")
        return frame

    def _send(self, kind: str, data: bytes = b"") -> None:
        """Send a frame; one that the keeper will not hear any more is no error (recv will tell)."""
        try:
            self._socket.send(frames.pack(kind, data), _socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _answer(self) -> Frame:
        """Return the answer to a request, on a connection that is not attached."""
        frame = self.recv()
        if frame is None:
            message = f"container {self._name} is not running"
            raise Conflict(message)
        if frame.kind == frames.NOT_DONE:
            raise Conflict(frame.text)
        return frame

    # --- requests ------------------------------------------------------------------------------

    def attach(self, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        """Attach to the container's process; its output comes by `recv`, X at the end. Raises Conflict."""
        bits = stdin * frames.STDIN | stdout * frames.STDOUT | stderr * frames.STDERR
        self._send(frames.ATTACH, bytes((bits,)))
        frame = self._answer()
        if frame.kind != frames.DONE:
            raise Corrupt(f"keeper: {frame.kind!r} is no answer to attach")
        self.input_quota = frames.INPUT_QUOTA if stdin else 0

    def wait(self) -> None:
        """Ask for X when the container's process ends."""
        self._send(frames.WAIT)

    def execute(
        self,
        process: dict[str, Any],
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        rows: int = 0,
        columns: int = 0,
        exec_id: str = "",
    ) -> None:
        """Start one more process, an OCI `process`; S or F comes by `recv`, then its output and X."""
        body = {"process": process, "stdin": stdin, "stdout": stdout, "stderr": stderr}
        data = jsontext.dumps_bytes({**body, "rows": rows, "columns": columns, "id": exec_id})
        limit = frames.PAYLOAD_LIMIT
        while len(data) > limit:
            self._send(frames.PART, data[:limit])
            data = data[limit:]
        self._send(frames.EXEC, data)
        self.input_quota = frames.INPUT_QUOTA if stdin else 0

    def send_stdin(self, data: bytes) -> None:
        """Send input, at most `input_quota` bytes (ValueError otherwise: it would be refused)."""
        if len(data) > self.input_quota:
            message = f"{len(data)} bytes of input, but only {self.input_quota} are granted"
            raise ValueError(message)
        self.input_quota -= len(data)
        self._send(frames.INPUT, data)

    def close_stdin(self) -> None:
        """Say that there is no more input."""
        self._send(frames.CLOSE_STDIN)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the process's terminal its size."""
        size = (min(max(n, 0), 65535).to_bytes(2, "big") for n in (rows, columns))
        self._send(frames.RESIZE, b"".join(size))

    def send_kill(self, signal: int) -> None:
        """Send a signal to the process; D or N comes by `recv`, between its output."""
        self._send(frames.KILL, bytes((signal,)))

    def kill(self, signal: int) -> None:
        """Send a signal on a connection that is not attached; raise Conflict if it was not delivered."""
        self.send_kill(signal)
        self._answer()

    def pause(self) -> None:
        """Freeze the container (on a connection that is not attached); raise Conflict if that fails."""
        self._send(frames.VERB, b"pause")
        self._answer()

    def resume(self) -> None:
        """Let a frozen container go on."""
        self._send(frames.VERB, b"resume")
        self._answer()

    def stay_down(self) -> None:
        """Have the container not started again by its policy; one that waits for that has ended now."""
        self._send(frames.VERB, b"stay")
        self._answer()

    def set_policy(self, name: str, limit: int) -> None:
        """Give the container another restart policy."""
        self._send(frames.VERB, f"policy {name} {limit}".encode())
        self._answer()

    def update(self, resources: dict[str, Any]) -> None:
        """Give the container other limits (OCI `linux.resources`); raise Conflict with a reason."""
        self._send(frames.VERB, b"update " + jsontext.dumps_bytes(resources))
        self._answer()

    def execs(self) -> list[str]:
        """Return the ids of the further processes that run; a keeper that is too old knows of none."""
        self._send(frames.VERB, b"execs")
        try:
            found = jsontext.loads(self._answer().data.decode())
        except (Conflict, Corrupt, ValueError):
            return []
        return [str(name) for name in found] if isinstance(found, list) else []

    def network(self, action: str, **words: Any) -> None:
        """Change the container's networks (see keeper.network: connect, publish...); raise Conflict."""
        self._send(frames.VERB, b"network " + jsontext.dumps_bytes({"action": action, **words}))
        self._answer()

    def acknowledge(self) -> None:
        """Promise to clean up after an auto-remove, once X or F has come."""
        self._send(frames.ACKNOWLEDGE)
