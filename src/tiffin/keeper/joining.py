"""Namespaces of another container, and its /dev/shm, put where the runtime finds them.

They come as descriptors, which pin them: a process id could be another's by now. They are bound into the
folder of the living, in this keeper's own mount namespace, so that each start by a restart policy joins
the same ones.
"""

from __future__ import annotations

import _socket
import os
import sys

from tiffin.keeper import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SHM = "shm"
"""Stands for the other's mount namespace, of which only /dev/shm is taken."""


def place(live: str, kind: str) -> str:
    """Return the path where the runtime finds what is joined."""
    return f"{live}/{kind}.joined"


def join(live: str, kinds: Sequence[str], descriptors: Sequence[int]) -> list[str]:
    """Bind one thing per descriptor; return the paths, to be unmounted at the end. Raises OSError."""
    made = []
    for kind, descriptor in zip(kinds, descriptors, strict=False):
        path = place(live, kind)
        if kind == SHM:
            os.mkdir(path)
            copy = _copy_of_shm(descriptor)
            kernel.attach_mount(copy, path)
            os.close(copy)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
            kernel.mount(f"/proc/self/fd/{descriptor}", path, "", kernel.BIND, "")
        made.append(path)
    return made


def _copy_of_shm(mounts: int) -> int:
    """Return a detached copy of the /dev/shm in a mount namespace; a fork goes there and sends it back."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    child = os.fork()
    if not child:
        try:
            kernel.enter_mounts(mounts)
            right = kernel.copy_mount("/dev/shm").to_bytes(4, sys.byteorder)  # noqa: S108 - the container's
            theirs.sendmsg([b"m"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, right)])
        except OSError as error:
            theirs.send(str(error.errno).encode())
        finally:
            os._exit(0)
    theirs.close()
    space, flags = _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
    data, ancillary, _flags, _address = ours.recvmsg(64, space, flags)
    ours.close()
    os.waitpid(child, 0)
    for level, kind, rights in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            return int.from_bytes(rights[:4], sys.byteorder)
    number = int(data or b"5")
    raise OSError(number, os.strerror(number), "/dev/shm")  # noqa: S108 - the container's
