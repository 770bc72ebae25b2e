"""The user namespace of an ordinary user: entered by every process that deals with a store's ids.

Namespaces with the same owner and maps are the same to the file system, so nobody has to hold one: each
keeper and each command that needs ids makes its own (1 ms on the path of a run, which hides it), or goes into
the one that the user's network belongs to while there is one (`keeper.host`).
"""

from __future__ import annotations

import errno
import os

from tiffin.errors import Unsupported
from tiffin.keeper import host, kernel
from tiffin.settings import find_helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.settings import Map, Privilege

_ADVICE = "tiffin doctor says what this user may do, and what would change it"


def enter(privilege: Privilege) -> None:
    """Make this process, which must have one thread, root in a user namespace with the privilege's maps.

    Raises OSError (EINVAL) where there are more threads, Unsupported where the host does not allow it.
    After an Unsupported from the helpers the process is nobody, and good for nothing.
    """
    if privilege.rung == "root" or privilege.inside:
        return
    if privilege.rung == "none":
        raise Unsupported(
            f"containers need user namespaces, which this user cannot have: {privilege.why}",
            hint=privilege.remedy,
        )
    if host.enter_ids(privilege):
        pass
    elif len(privilege.uid_map) == len(privilege.gid_map) == 1:
        _unshare()
        _write("setgroups", "deny")
        _write("uid_map", _lines(privilege.uid_map))
        _write("gid_map", _lines(privilege.gid_map))
    else:
        _enter_with_helpers(privilege)
    os.setgid(0)
    os.setuid(0)


def _unshare() -> None:
    try:
        kernel.own_ids()
    except PermissionError as error:
        message = "this host refuses user namespaces to ordinary users"
        raise Unsupported(message, hint=_ADVICE) from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EUSERS}:
            raise
        message = "this user has as many user namespaces as the host allows"
        hint = "end what has them, or: sudo sysctl -w user.max_user_namespaces=10000"
        raise Unsupported(message, hint=hint) from error


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "wb", buffering=0) as stream:
        stream.write(text.encode())


def _lines(rows: Map) -> str:
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)


def _enter_with_helpers(privilege: Privilege) -> None:
    """Let newuidmap and newgidmap write the maps; they must be called from outside, so by a fork."""
    wait, go = os.pipe2(os.O_CLOEXEC)
    said, saying = os.pipe2(os.O_CLOEXEC)
    process = os.getpid()
    helper = os.fork()
    if not helper:
        _help(privilege, process, wait, go, saying)
    os.close(wait)
    os.close(saying)
    try:
        try:
            _unshare()
            os.write(go, b"g")
        finally:
            os.close(go)
            _, status = os.waitpid(helper, 0)
        if status:
            text = os.read(said, 4096).decode(errors="replace").strip().rpartition("\n")[2]
            message = f"subordinate ids cannot be used: {text or 'newuidmap failed'}"
            raise Unsupported(message, hint=f"{_ADVICE}; TIFFIN_RUNG=single does without")
    finally:
        os.close(said)


def _help(privilege: Privilege, process: int, wait: int, go: int, saying: int) -> NoReturn:
    """Wait until the process has its namespace, then call both programs side by side."""
    code = 1
    try:
        os.close(go)
        if not os.read(wait, 1):
            os._exit(1)
        running = []
        for name, rows in (("newuidmap", privilege.uid_map), ("newgidmap", privilege.gid_map)):
            path = find_helper(name)
            words = [path, str(process), *_lines(rows).split()]
            actions = ((os.POSIX_SPAWN_DUP2, saying, 2),)
            running.append(os.posix_spawn(path, words, {"PATH": os.defpath}, file_actions=actions))
        statuses = [os.waitpid(pid, 0)[1] for pid in running]
        code = int(any(statuses))
    finally:
        os._exit(code)
