"""Zygote: a small interpreter that forks keepers, for programs that must not fork themselves.

The library, builds and servers have threads, and are large. The zygote is neither: a keeper of it costs
1 ms and shares its pages (0.7 MB of its own instead of 4). It is started when the first keeper is asked
for, without waiting for it, and ends when the program closes it or dies; its keepers stay.
"""

from __future__ import annotations

import _socket
import _thread
import os
import posix
import sys

from tiffin.errors import Unavailable, Unsupported
from tiffin.settings import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from tiffin.settings import Privilege

_CONTROL = 3
_PROGRAM = "import sys;sys.path.append(sys.argv[1]);from tiffin.keeper.main import zygote;zygote(3)"


class Zygote:
    """Hands out channels to fresh keepers. Safe for threads; a context manager."""

    def __init__(self, privilege: Privilege = ROOT) -> None:
        """Start nothing yet; `privilege` is what the keepers must find to be theirs, too."""
        self._environment = {"PATH": os.defpath}
        if privilege.rung != "root":
            self._environment["TIFFIN_RUNG"] = privilege.rung
            if privilege.runtime:
                self._environment["XDG_RUNTIME_DIR"] = privilege.runtime
        self._control: _socket.socket | None = None
        self._lock = _thread.allocate_lock()

    def take(self) -> _socket.socket:
        """Return the channel of a new keeper; closing it unused ends that keeper."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        right = theirs.fileno().to_bytes(4, sys.byteorder)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, right)]
        try:
            with self._lock:
                for _attempt in range(2):
                    if self._control is None:
                        self._control = _start(self._environment)
                    try:
                        self._control.sendmsg([b"k"], rights, _socket.MSG_NOSIGNAL)
                    except (BrokenPipeError, ConnectionResetError):
                        self._control.close()  # somebody killed it: start another
                        self._control = None
                    else:
                        return ours
            ours.close()
            message = "the process that starts keepers has died twice"
            raise Unavailable(message)
        finally:
            theirs.close()

    def close(self) -> None:
        """Let it end; its keepers go on."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        self.close()


def _start(environment: dict[str, str]) -> _socket.socket:
    """Start the interpreter and return our end of its control socket."""
    if not sys.executable:
        message = "this program has no Python interpreter that could be started again"
        raise Unsupported(message, hint="sys.executable is empty; run tiffin from an ordinary Python")
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    # -I and -S: nothing of the user's site, variables or current folder gets into a keeper.
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, package]
    actions = [(posix.POSIX_SPAWN_DUP2, theirs.fileno(), _CONTROL)]
    try:
        first = posix.posix_spawn(sys.executable, command, environment, file_actions=actions)
    except OSError as error:
        ours.close()
        raise Unsupported(f"start a keeper: {sys.executable}: {error.strerror}") from error
    finally:
        theirs.close()
    # It forks once more and ends, so that no zombie is left; in a thread, as nobody needs to wait for it.
    _thread.start_new_thread(_reap, (first,))
    return ours


def _reap(process: int) -> None:
    try:
        posix.waitpid(process, 0)
    except ChildProcessError:
        return  # the program reaps all its children itself
