"""One process of the container: the call of the runtime that starts it, its stdio and its end."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import fcntl
import os
import sys
import termios

from tiffin.keeper import frames
from tiffin.keeper.confinement import has_begun
from tiffin.keeper.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from tiffin.keeper.confinement import Confinement
    from tiffin.keeper.loop import Loop
    from tiffin.keeper.peer import Peer

    class Log(Protocol):
        """Where output goes beside the peers: a `JsonLog`, or what a health check keeps."""

        def write(self, stream: str, data: bytes) -> None:
            """Take output as it comes."""

        def flush(self) -> None:
            """Write what is held back."""

        def close(self) -> None:
            """Flush and close."""


_PIPE_SIZE_LIMIT = 1 << 20
"""What a pipe can hold at most (/proc/sys/fs/pipe-max-size), so what can be left in one."""

_SOON = 0.002  # seconds until a process that is just being confined is looked at again

# The keeper ignores some signals; what it starts must not inherit that.
_DEFAULT_SIGNALS = (
    *(_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGPIPE),
    *(_signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGALRM, _signal.SIGXFSZ),
)
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def launch(command: list[str], actions: list[tuple[int, ...]]) -> int:
    """Start a program of the host with a clean environment and signals as they are by default."""
    return os.posix_spawn(
        command[0],
        command,
        _ENVIRONMENT,
        file_actions=actions,
        setsigmask=(),
        setsigdef=_DEFAULT_SIGNALS,
    )


class Reaper:
    """Collects exit statuses. Any child may be collected while waiting for a certain one.

    Strangers too, and soon: the runtime's exec leaves a process that has entered the container's pid
    namespace, and while a zombie of that one waits for us, the container's first process cannot end.
    """

    def __init__(self) -> None:
        """Start with none; `descriptor` becomes readable when a child has ended."""
        self._statuses: dict[int, int] = {}
        self.descriptor, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, _nothing)  # a handler, so that the wake-up is written
        _signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def sweep(self) -> bytes:
        """Collect whoever has ended, without waiting; return the numbers of the signals that came."""
        numbers = os.read(self.descriptor, 65536)  # never empty: called when it is readable
        while True:
            try:
                found, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return numbers
            if not found:
                return numbers
            self._statuses[found] = status

    def hear(self, number: int) -> None:
        """Let `sweep` return a signal's number as well."""
        _signal.signal(number, _nothing)

    def known(self, pid: int) -> bool:
        """Tell whether the process has been collected already."""
        return pid in self._statuses

    def collect(self, pid: int) -> int:
        """Return the wait status of a child that has ended; 255 if somebody else took it.

        The runtime leaves a process between itself and the container. A container that ends at once is
        that one's zombie, not ours, for a moment: so wait for any child until it is this one.
        """
        while pid not in self._statuses:
            try:
                found, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return 255 << 8
            self._statuses[found] = status
        return self._statuses.pop(pid)

    def end_all_named(self, word: str) -> None:
        """Kill and collect our children that have a word on their command line, and theirs in turn.

        A runtime works in a child of the process that we wait for; when somebody kills the one, the other
        comes to us, and goes on.
        """
        while named := [pid for pid in _children() if word.encode() in _words(pid)]:
            for pid in named:
                os.kill(pid, _signal.SIGKILL)  # a child of ours: at worst a zombie
                self.collect(pid)

    def forget_others(self, pids: set[int]) -> None:
        """Drop the statuses that nobody will ask for; right only while no process is being started."""
        for pid in self._statuses.keys() - pids:
            del self._statuses[pid]


def _nothing(_number: int, _frame: object) -> None:
    """Handle a signal: what is to be done stands in `Reaper.sweep`."""


def _children() -> list[int]:
    """Return our children, those that came to us included (to our first thread)."""
    own = os.getpid()
    with open(f"/proc/{own}/task/{own}/children", "rb") as stream:
        return [int(pid) for pid in stream.read().split()]


def _words(pid: int) -> list[bytes]:
    """Return a process's command line; nothing of one that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().split(b"\0")
    except OSError:
        return []


def exit_code(status: int) -> int:
    """Return docker's exit code for a wait status: 128 + n for one ended by signal n."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


class Process:
    """Starts by `start`, then calls `on_started`, feeds its peers, and calls `on_exit`; or `on_failed`."""

    def __init__(
        self,
        loop: Loop,
        reaper: Reaper,
        *,
        folder: str,
        folder_fd: int,
        name: str,
        program: str,
        tty: bool,
        stdin: bool,
        stdin_once: bool,
        size: tuple[int, int],
        on_started: Callable[[Process], None],
        on_failed: Callable[[Process, bytes], None],
        on_exit: Callable[[Process], None],
    ) -> None:
        """Keep what is needed; nothing is opened yet. `folder` (open too) gets a pid file and a socket."""
        self._loop = loop
        self._reaper = reaper
        self._folder = folder_fd
        self._pid_file = f"{folder}/{name}.pid"
        self._socket_name = f"{name}.tty"
        self._tty = tty
        self._wants_stdin = stdin
        self._stdin_once = stdin_once
        self.size = size
        self._left: list[list[str]] = []  # commands of the runtime that follow the one that runs
        self._confinement: Confinement | None = None
        self.log: Log | None = None
        self.program = program
        self._on_started, self._on_failed, self._on_exit = on_started, on_failed, on_exit
        self._console: _socket.socket | None = None
        self._outputs: dict[int, str] = {}  # descriptor -> frame kind
        self._master = -1
        self._stdin = -1
        self._input: list[tuple[bytes, Peer | None]] = []
        self._input_ends = False
        self._runtime = 0
        self._handle = -1
        self._errors = self._held = -1
        self.peers: list[Peer] = []
        self.pid = 0
        self.exit_code = -1
        self.started = False
        self.ended = False

    # --- start ---------------------------------------------------------------------------------

    def start(
        self,
        commands: Callable[[str, str, str], list[list[str]]],
        confinement: Confinement | None,
        held: int = -1,
    ) -> None:
        """Run the runtime: `commands(pid_file, console, log)` returns its arguments, of one call or more.

        After each the process is checked for its `confinement`. `held` is a descriptor that is read, closed
        after the last.
        """
        self._held, self._confinement = held, confinement
        self._errors = os.memfd_create("log")
        own = f"/proc/{os.getpid()}/fd"
        actions: list[tuple[int, ...]] = []
        theirs: list[int] = []
        console = ""
        if self._tty:
            self._listen()
            console = f"{own}/{self._folder}/{self._socket_name}"
        else:
            actions, theirs = self._pipes()
        first, *self._left = commands(self._pid_file, console, f"{own}/{self._errors}")
        self._runtime = launch(first, actions)
        for descriptor in theirs:
            os.close(descriptor)
        self._watch_end(self._runtime, self._runtime_ended)

    def abandon(self) -> None:
        """Wait for the runtime if it was called: the start is given up, and it must not go on alone."""
        if self._runtime and not self.started:
            self._reaper.collect(self._runtime)
        self._close_streams()

    def _listen(self) -> None:
        """Make the socket that the runtime sends the terminal to; any path length (see DESIGN, Keeper)."""
        self._console = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._console.bind(f"/proc/self/fd/{self._folder}/{self._socket_name}")
        self._console.listen(1)

    def _pipes(self) -> tuple[list[tuple[int, ...]], list[int]]:
        """Make the pipes; return what the child does with its ends, and those ends."""
        actions: list[tuple[int, ...]] = []
        theirs = []
        if self._wants_stdin:
            end, self._stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._stdin, False)
            actions.append((os.POSIX_SPAWN_DUP2, end, 0))
            theirs.append(end)
        for number, kind in ((1, frames.OUTPUT), (2, frames.ERRORS)):
            ours, end = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            self._outputs[ours] = kind
            actions.append((os.POSIX_SPAWN_DUP2, end, number))
            theirs.append(end)
        return actions, theirs

    def _watch_end(self, pid: int, callback: Callable[[], None]) -> None:
        if self._reaper.known(pid):
            callback()
            return
        self._handle = os.pidfd_open(pid)

        def ended(_events: int) -> None:
            self._loop.forget(self._handle)
            os.close(self._handle)
            self._handle = -1
            callback()

        self._loop.watch(self._handle, READ, ended)

    def _runtime_ended(self) -> None:
        status = self._reaper.collect(self._runtime)
        self.pid = self.pid or _read_number(self._pid_file)
        if status or not self.pid:
            self._fail(os.pread(self._errors, 65536, 0))
        elif self._confinement:
            self._check()
        else:
            self._go_on()

    def _check(self) -> None:
        """Go on with a process that is as confined as it shall be; end one that is not."""
        assert self._confinement  # noqa: S101 - asked by the caller
        # Asked first: what is read of a process before its program begins is not the last word.
        begun = has_begun(self.pid)
        lacking = self._confinement.lacks(self.pid, created=bool(self._left))
        if not lacking:
            self._go_on()
        elif not self._left and not begun:
            self._loop.later(_SOON, self._check)  # the runtime is still at it
        else:
            os.kill(self.pid, _signal.SIGKILL)
            self._fail(f"the runtime has not applied {lacking}".encode())

    def _go_on(self) -> None:
        if self._left:
            self._runtime = launch(self._left.pop(0), [])
            self._watch_end(self._runtime, self._runtime_ended)
            return
        self._close_files()
        if self._console:
            self._accept()
        self.started = True
        self._on_started(self)
        self.resume()
        if self._input:
            self._write_input(WRITE)
        self._watch_end(self.pid, self._process_ended)

    def _fail(self, log: bytes) -> None:
        self._close_files()
        self._close_streams()
        self.ended = True
        self._on_failed(self, log)

    def _close_files(self) -> None:
        """Close what only the runtime needed."""
        os.close(self._errors)
        if self._held >= 0:
            os.close(self._held)

    def _accept(self) -> None:
        """Take the terminal that the runtime has sent."""
        if not self._console:
            return
        connection = _socket.socket(fileno=self._console._accept()[0])  # type: ignore[attr-defined]  # noqa: SLF001
        space, flags = _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
        _data, ancillary, _flags, _address = connection.recvmsg(4096, space, flags)
        connection.close()
        self._close_console()
        for level, kind, data in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                self._master = int.from_bytes(data[:4], sys.byteorder)
        os.set_blocking(self._master, False)
        self._outputs[self._master] = frames.OUTPUT
        # A second number for the same terminal: epoll watches reading and writing separately.
        self._stdin = os.dup(self._master) if self._wants_stdin else -1
        self.resize(*self.size)

    # --- output --------------------------------------------------------------------------------

    def resume(self) -> None:
        """Read output again, unless a peer has not taken what it was sent."""
        wanted = 0 if any(peer.stuck for peer in self.peers) or not self.started else READ
        for descriptor in self._outputs:
            self._loop.watch(descriptor, wanted, self._reader(descriptor))

    def _reader(self, descriptor: int) -> Callable[[int], object]:
        return lambda _events: self._read(descriptor)

    def _read(self, descriptor: int) -> int:
        """Hand on what can be read now; return how much (0: nothing now; -1: nothing ever again)."""
        try:
            data = os.read(descriptor, frames.PAYLOAD_LIMIT)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the last of the terminal's programs has closed it
            data = b""
        if not data:
            self._loop.forget(descriptor)
            del self._outputs[descriptor]
            os.close(descriptor)
            if descriptor == self._master:
                self._master = -1
            return -1
        self._emit(self._outputs[descriptor], data)
        return len(data)

    def _emit(self, kind: str, data: bytes) -> None:
        if self.log:
            self.log.write("stdout" if kind == frames.OUTPUT else "stderr", data)
        bit = frames.STDOUT if kind == frames.OUTPUT else frames.STDERR
        for peer in tuple(self.peers):
            if peer.bits & bit:
                peer.send(kind, data)
        if any(peer.stuck for peer in self.peers):
            self.resume()

    def drain(self) -> None:
        """Read what the process left in its pipes; never waits."""
        for descriptor in tuple(self._outputs):
            left = _PIPE_SIZE_LIMIT
            while left > 0 and (count := self._read(descriptor)) > 0:
                left -= count

    # --- input ---------------------------------------------------------------------------------

    def write(self, data: bytes, peer: Peer | None) -> None:
        """Queue input; the peer gets its quota back as the process takes it."""
        if self._input_ends or (self.started and self._stdin < 0) or not self._wants_stdin:
            _grant(peer, len(data))  # nobody will read it
            return
        self._input.append((data, peer))
        if self.started and len(self._input) == 1:
            self._write_input(WRITE)

    def close_stdin(self) -> None:
        """End the input after what is queued. A terminal has no end."""
        self._input_ends = not self._tty
        if self.started and not self._input:
            self._write_input(WRITE)

    def _write_input(self, _events: int) -> None:
        while self._input and self._stdin >= 0:
            data, peer = self._input[0]
            try:
                count = os.write(self._stdin, data)
            except BlockingIOError:
                self._loop.watch(self._stdin, WRITE, self._write_input)
                return
            except OSError:  # EPIPE: nobody reads it any more
                self._drop_input()
                return
            _grant(peer, count)
            if count < len(data):
                self._input[0] = (data[count:], peer)
            else:
                del self._input[0]
        if self._stdin >= 0:
            self._loop.forget(self._stdin)
        if self._input_ends:
            self._drop_input()

    def _drop_input(self) -> None:
        if self._stdin >= 0:
            self._loop.forget(self._stdin)
            os.close(self._stdin)
            self._stdin = -1
        for data, peer in self._input:
            _grant(peer, len(data))
        self._input.clear()

    # --- peers ---------------------------------------------------------------------------------

    def attach(self, peer: Peer, bits: int) -> None:
        """Let a peer see the output and write input, by the bits of frames.ATTACH."""
        peer.process, peer.bits = self, bits
        peer.quota = frames.INPUT_QUOTA
        self.peers.append(peer)

    def detach(self, peer: Peer) -> None:
        """Forget a peer; with "stdin once" the input ends with the one that could write it."""
        if peer in self.peers:
            self.peers.remove(peer)
            if peer.bits & frames.STDIN and self._stdin_once:
                self.close_stdin()
            if not self.ended:
                self.resume()

    def end_input_of(self, peer: Peer) -> None:
        """A peer has no more input."""
        if peer.bits & frames.STDIN and self._stdin_once:
            self.close_stdin()

    # --- life and end --------------------------------------------------------------------------

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        self.size = (rows, columns)
        if self._master >= 0 and (rows or columns):
            packed = b"".join(n.to_bytes(2, sys.byteorder) for n in (rows, columns, 0, 0))
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, packed)

    def kill(self, number: int) -> None:
        """Send a signal; raise OSError when that is not possible (ESRCH: it has ended)."""
        if not self.started or self._handle < 0:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        _signal.pidfd_send_signal(self._handle, number)

    def kill_now(self) -> None:
        """Kill a process that has just started, before it is watched."""
        os.kill(self.pid, _signal.SIGKILL)

    def _process_ended(self) -> None:
        self.exit_code = exit_code(self._reaper.collect(self.pid))
        self.ended = True
        self._drop_input()
        self.drain()
        self._on_exit(self)
        # What its orphans write goes to the log, until they close the pipes.
        self.peers.clear()
        self.resume()

    def _close_streams(self) -> None:
        for descriptor in self._outputs:
            self._loop.forget(descriptor)
            os.close(descriptor)
        self._outputs.clear()
        self._drop_input()
        self._close_console()

    def _close_console(self) -> None:
        if self._console:
            self._console.close()
            self._console = None
            os.unlink(self._socket_name, dir_fd=self._folder)


def _grant(peer: Peer | None, count: int) -> None:
    if peer and not peer.closed:
        peer.quota += count
        peer.send(frames.QUOTA, count.to_bytes(4, "big"))


def _read_number(path: str) -> int:
    try:
        with open(path, "rb") as stream:
            text = stream.read()
        os.unlink(path)
    except FileNotFoundError:
        return 0
    return int(text or 0)
