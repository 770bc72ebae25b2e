"""Being the terminal of a process in a container: raw mode, size, detach keys, signals, stdin and output.

One loop over three descriptors (the keeper's connection, stdin, a pipe that signals write to). It waits
for the keeper only: a stdin that is slow, or a process that reads nothing, never blocks the output.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import select
import termios

from tiffin.errors import Interrupted, InvalidArgument, StartFailed
from tiffin.spec.detach import Escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from tiffin.keeper.client import Connection

_CHUNK = 32768
# What cannot be caught, says nothing to the process, or is the terminal's own business.
_NOT_PROXIED = frozenset(
    {_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGURG, _signal.SIGWINCH}
)
_ENDING = frozenset({int(_signal.SIGINT), int(_signal.SIGTERM), int(_signal.SIGHUP)})
_FORCED = 3
"""So many attempts to end the command succeed, if the process does not care (as with docker)."""
_GOES_ON = "the process goes on: `tiffin ps` shows it, `tiffin attach` comes back to it"
_DETACHED = -1
"""What `converse` returns when the user left by the detach keys."""


def size(descriptor: int = 1) -> tuple[int, int]:
    """Return (rows, columns) of the terminal, (0, 0) where there is none."""
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return found.lines, found.columns


class Raw:
    """The terminal of a descriptor in raw mode while the context lasts; nothing where it is none."""

    def __init__(self, descriptor: int) -> None:
        """Change nothing yet."""
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        """Switch to raw mode (cfmakeraw)."""
        if self._descriptor < 0 or not os.isatty(self._descriptor):
            return self
        self._before = termios.tcgetattr(self._descriptor)
        raw = termios.tcgetattr(self._descriptor)
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, raw)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Put the terminal back as it was."""
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


class Signals:
    """Signals as bytes in a pipe: each caught one writes its number; `read` returns them."""

    def __init__(self, wanted: frozenset[int]) -> None:
        """Catch nothing yet."""
        self._wanted = wanted
        self._before: dict[int, Any] = {}
        self._pipe = (-1, -1)
        self._wakeup = -1

    def __enter__(self) -> Self:
        """Begin to catch."""
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = _signal.set_wakeup_fd(self._pipe[1])
        for number in self._wanted:
            self._before[number] = _signal.signal(number, _note)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Give the signals back to whoever had them."""
        for number, before in self._before.items():
            _signal.signal(number, before)
        _signal.set_wakeup_fd(self._wakeup)
        for descriptor in self._pipe:
            os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._pipe[0]

    def read(self) -> bytes:
        """Return the numbers of the signals that came."""
        try:
            return os.read(self._pipe[0], 512)
        except BlockingIOError:
            return b""


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the interpreter has written the number into the pipe."""


def proxied(*, enabled: bool, tty: bool) -> frozenset[int]:
    """Return the signals to catch: what goes to the process, or what a raw terminal must be saved from."""
    if tty:
        return frozenset({int(_signal.SIGWINCH), *_ENDING})
    if not enabled:
        return frozenset()
    return frozenset(int(s) for s in _signal.valid_signals() if s < 32) - _NOT_PROXIED


class Conversation:
    """One attached process: carries bytes both ways until it ends or the user leaves."""

    def __init__(
        self,
        connection: Connection,
        signals: Signals,
        *,
        stdin: bool,
        tty: bool,
        keys: bytes = b"",
        streams: tuple[str, ...] = ("stdout", "stderr"),
    ) -> None:
        """`keys` are the detach keys (only looked for with a terminal)."""
        self._connection = connection
        self._signals = signals
        self._stdin = stdin
        self._tty = tty
        self._endings = 0
        self._escape = Escape(keys if tty else b"")
        self._outputs = {"O": 1 if "stdout" in streams else -1, "E": 2 if "stderr" in streams else -1}

    def run(self) -> int:
        """Return the exit code, or -1 when the user left by the detach keys.

        Raises StartFailed if the process could not be started, Unavailable if its keeper died.
        """
        connection, signals = self._connection, self._signals
        while True:
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN)
            poller.register(signals.fileno(), select.POLLIN)
            if self._stdin and connection.input_quota > self._escape.length:
                poller.register(0, select.POLLIN)
            ready = {descriptor for descriptor, _event in poller.poll()}
            if signals.fileno() in ready:
                self._forward(signals.read())
            if 0 in ready and self._feed():
                return _DETACHED
            if connection.fileno() in ready:
                code = self._receive()
                if code is not None:
                    return code

    def _forward(self, numbers: bytes) -> None:
        for number in numbers:
            if number == _signal.SIGWINCH:
                rows, columns = size()
                if rows:
                    self._connection.resize(rows, columns)
                continue
            if number in _ENDING:
                self._endings += 1
                if self._tty:
                    raise Interrupted("interrupted", hint=_GOES_ON)
                if self._endings == _FORCED:
                    message = f"got {_FORCED} SIGTERM/SIGINTs, forcefully exiting"
                    raise Interrupted(message, hint=_GOES_ON)
            self._connection.send_kill(number)

    def _feed(self) -> bool:
        """Send what came from stdin; return True if the detach keys are complete."""
        try:
            data = os.read(0, min(_CHUNK, self._connection.input_quota - self._escape.length))
        except OSError:
            data = b""
        if not data:
            self._stdin = False
            self._connection.close_stdin()
            return False
        data, left = self._escape.feed(data)
        if data:
            self._connection.send_stdin(data)
        return left

    def _receive(self) -> int | None:
        frame = self._connection.recv()
        if frame is None:
            raise self._connection.lost()
        if frame.kind in self._outputs:
            write(self._outputs[frame.kind], frame.data)
        elif frame.kind == "X":
            return frame.exit_code
        elif frame.kind == "F":
            raise StartFailed(frame.text, exit_code=frame.exit_code)
        return None


def write(descriptor: int, data: bytes) -> None:
    """Write all of it; -1 drops it. Raises BrokenPipeError when nobody reads any more."""
    if descriptor < 0:
        return
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def converse(
    connect: Callable[[], AbstractContextManager[Connection]],
    *,
    stdin: bool,
    tty: bool,
    keys: bytes = b"",
    proxy: bool = True,
    streams: tuple[str, ...] = ("stdout", "stderr"),
    ended: Callable[[Connection], None] | None = None,
) -> int:
    """Open a connection and carry bytes until its process ends; the exit code, or -1 after the detach keys.

    `ended` is called with the connection once the process has ended. Signals are caught before `connect`,
    so that one that comes while the process starts is not lost.
    """
    raw = Raw(0 if stdin and tty else -1) if tty and stdin else None
    with Signals(proxied(enabled=proxy, tty=tty)) as signals, connect() as connection:
        conversation = Conversation(connection, signals, stdin=stdin, tty=tty, keys=keys, streams=streams)
        with raw or Raw(-1):
            code = conversation.run()
        if code != _DETACHED and ended is not None:
            ended(connection)
        return code


def check_stdin(*, interactive: bool, tty: bool) -> None:
    """Raise docker's error where a terminal is asked for and stdin is none."""
    if interactive and tty and not os.isatty(0):
        raise InvalidArgument(
            "the input device is not a TTY", hint="leave -t out where input comes from a pipe or a file"
        )
