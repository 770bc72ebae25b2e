"""Starting a keeper as a new interpreter: for the library, builds and servers, which must not fork."""

from __future__ import annotations

import _socket
import _thread
import os
import posix
import sys

from tiffin.errors import Unsupported

_CHANNEL = 3
_PROGRAM = "import sys;sys.path.append(sys.argv[1]);from tiffin.keeper.main import detach;detach(3)"


def spawn() -> _socket.socket:
    """Start a keeper and return the channel to it; closing the channel unused ends it.

    The new process forks once more, so that the keeper is nobody's child here and leaves no zombie.
    """
    if not sys.executable:
        message = "this program has no Python interpreter that could be started again"
        raise Unsupported(message, hint="sys.executable is empty; run tiffin from an ordinary Python")
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    # -I and -S: nothing of the user's site, variables or current folder gets into a keeper.
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, package]
    actions = [(posix.POSIX_SPAWN_DUP2, theirs.fileno(), _CHANNEL)]
    try:
        first = posix.posix_spawn(sys.executable, command, {"PATH": os.defpath}, file_actions=actions)
    except OSError as error:
        ours.close()
        raise Unsupported(f"start a keeper: {sys.executable}: {error.strerror}") from error
    finally:
        theirs.close()
    # In a thread: it ends when that interpreter has started, and nobody needs to wait for it.
    _thread.start_new_thread(_reap, (first,))
    return ours


def _reap(process: int) -> None:
    try:
        posix.waitpid(process, 0)
    except ChildProcessError:
        return  # the program reaps all its children itself
