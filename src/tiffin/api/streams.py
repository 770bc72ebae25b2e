"""Attach and logs: bytes between a client and a container, framed as docker frames them."""

from __future__ import annotations

import select

from tiffin.api.router import Operation
from tiffin.engine.patience import ready
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.http.message import Response
from tiffin.keeper import frames
from tiffin.spec import clock, detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tiffin.api.call import Call
    from tiffin.api.desk import Waiting
    from tiffin.engine.logs import LogEntry
    from tiffin.keeper.client import Connection
    from tiffin.store.containers import ContainerRecord

_RAW = "application/vnd.docker.raw-stream"
_FRAMED = "application/vnd.docker.multiplexed-stream"
_NUMBERS = {"stdout": 1, "stderr": 2}
_CHUNK = 32 << 10


def framed(stream: int, data: bytes) -> bytes:
    """Return bytes of a stream (1 stdout, 2 stderr) with docker's eight bytes before them."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def taken_over(call: Call, upgrade: Callable[[socket.socket, bytes], None], *, tty: bool) -> Response:
    """Return the answer after which the connection carries raw bytes, in the form the client asked for."""
    kind = _FRAMED if call.since((1, 42)) and not tty else _RAW
    headers: tuple[tuple[str, str], ...] = (("Content-Type", kind),)
    if call.upgrades():
        headers += (("Connection", "Upgrade"), ("Upgrade", "tcp"))
    return Response(status=101 if call.upgrades() else 200, headers=headers, upgrade=upgrade)


class Pump:
    """Carries bytes between a client's socket and a process in a container until one of them ends."""

    def __init__(
        self, sock: socket.socket, early: bytes, *, tty: bool, stdin: bool, wanted: set[str], keys: bytes
    ) -> None:
        """`early` is input that came with the request; `wanted` names the outputs; `keys` detach."""
        self._socket = sock
        self._input = early
        self._tty = tty
        self._stdin = stdin
        self._wanted = wanted
        self._escape = detach.Escape(keys if tty else b"")
        self._ended = False

    def write(self, stream: str, data: bytes) -> None:
        """Send the client some output."""
        if stream in self._wanted or self._tty:
            self._socket.sendall(data if self._tty else framed(_NUMBERS[stream], data))

    def say(self, data: bytes) -> None:
        """Send the client what the engine has to say, as if the process had printed it."""
        self._socket.sendall(data if self._tty else framed(1, data))

    def run(self, connection: Connection) -> int | None:
        """Return the process's exit code; None when the client has left."""
        while True:
            self._feed(connection)
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN)
            wants = self._stdin and not self._ended and not self._input and connection.input_quota > 0
            # Hanging up is always told.
            poller.register(self._socket.fileno(), select.POLLIN if wants else 0)
            for descriptor, events in poller.poll(0 if wants and _pending(self._socket) else None):
                if descriptor == connection.fileno():
                    frame = connection.recv()
                    if frame is None or frame.kind == frames.EXITED:
                        return frame.exit_code if frame else -1
                    if frame.kind in {frames.OUTPUT, frames.ERRORS}:
                        self.write("stdout" if frame.kind == frames.OUTPUT else "stderr", frame.data)
                elif events & (select.POLLHUP | select.POLLERR):
                    return None
            if wants and self._receive(connection):
                return None

    def _receive(self, connection: Connection) -> bool:
        """Read what the client has sent; True when it typed the detach keys."""
        self._socket.setblocking(False)  # noqa: FBT003 - the socket's own signature
        try:
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if type(error).__name__ == "SSLWantReadError":
                return False
            raise
        finally:
            self._socket.setblocking(True)  # noqa: FBT003
        if not data:
            self._ended = True
            connection.close_stdin()
            return False
        data, left = self._escape.feed(data)
        self._input += data
        return left

    def _feed(self, connection: Connection) -> None:
        if self._stdin and self._input and connection.input_quota:
            size = min(connection.input_quota, frames.PAYLOAD_LIMIT)
            connection.send_stdin(self._input[:size])
            self._input = self._input[size:]


def _pending(sock: socket.socket) -> bool:
    """Tell whether TLS holds bytes that a poll does not see."""
    pending = getattr(sock, "pending", None)
    return bool(pending and pending())


# --- attach ---------------------------------------------------------------------------------------


def attach(call: Call) -> Response:
    """Attach a client to a container, also to one that is started later."""
    call.body(needed=False)
    record = call.engine.containers.get(call.name)
    tty = record.config.tty
    stdin = call.flag("stdin") and record.config.open_stdin and call.flag("stream")
    wanted = {name for name in _NUMBERS if call.flag(name)}
    keys = detach.keys_of(call.text("detachKeys"))
    streaming = call.flag("stream")
    past = call.flag("logs")
    state = call.engine.containers.state(record.id)
    waiting = connection = None
    if streaming and state.running:
        connection = call.engine.containers.attach(record.id, stdin=stdin)
    elif streaming:
        waiting = call.desk.wait(record.id, stdin=stdin)

    def upgrade(sock: socket.socket, early: bytes) -> None:
        pump = Pump(sock, early, tty=tty, stdin=stdin, wanted=wanted, keys=keys)
        if past:
            for entry in call.engine.containers.logs(record.id):
                pump.write(entry.stream, entry.data)
        mine = connection if waiting is None else _started(call, record, waiting, sock)
        if mine is not None:
            with mine:
                _carry(call, record, pump, mine, first=waiting is not None)

    return taken_over(call, upgrade, tty=tty)


def _carry(call: Call, record: ContainerRecord, pump: Pump, connection: Connection, *, first: bool) -> None:
    code = pump.run(connection)
    if first and code is not None and record.host.auto_remove:
        call.engine.containers.forget(record.id, connection)


def _started(call: Call, record: ContainerRecord, waiting: Waiting, sock: socket.socket) -> Connection | None:
    """Wait until the container is started, by this server; None where the client leaves before."""
    try:
        poller = select.poll()
        poller.register(waiting.fileno(), select.POLLIN)
        poller.register(sock.fileno(), 0)
        woken = {descriptor for descriptor, _ in poller.poll()}
        if waiting.fileno() not in woken and call.desk.give_up(record.id, waiting):
            return None
        ready(waiting.fileno())  # claimed: it comes for certain
        return waiting.connection
    finally:
        waiting.close()


# --- logs -----------------------------------------------------------------------------------------


def logs(call: Call) -> Response:
    """Send what a container has printed, and with `follow` what it prints."""
    record = call.engine.containers.get(call.name)
    wanted = {name: call.flag(name) for name in _NUMBERS}
    if not any(wanted.values()):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    tail = call.text("tail")
    entries = call.engine.containers.logs(
        record.id,
        follow=call.flag("follow"),
        tail=int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 12 else -1,
        since=_moment(call.text("since")),
        until=_moment(call.text("until")),
        gone=call.request.gone,
        **wanted,
    )
    kind = _FRAMED if call.since((1, 42)) and not record.config.tty else _RAW
    body = _logged(entries, tty=record.config.tty, times=call.flag("timestamps"))
    return Response(status=200, headers=(("Content-Type", kind),), body=body)


def _moment(text: str) -> str:
    return "" if text == "0" else text


def _logged(entries: Iterator[LogEntry], *, tty: bool, times: bool) -> Iterator[bytes]:
    try:
        for entry in entries:
            stamp = f"{clock.nine_digits(entry.time)} ".encode() if times else b""
            data = stamp + entry.data
            yield data if tty else framed(_NUMBERS[entry.stream], data)
    except TiffinError as error:
        data = f"{error.message}\n".encode()
        yield data if tty else framed(2, data)


OPERATIONS = (
    Operation(method="POST", path="/containers/{name}/attach", act=attach),
    Operation(method="GET", path="/containers/{name}/logs", act=logs),
)
