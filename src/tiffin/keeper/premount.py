"""What is mounted before the runtime is called, at places that it then binds: what it could not do by itself.

An image is an overlay of relative folders; a part of a volume must be found without following a link out of
it, which a container may have put there; and crun binds a folder with all that is mounted below, always.
"""

from __future__ import annotations

import ctypes
import os

from tiffin.errors import NotFound
from tiffin.keeper import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OPENAT2 = 437  # numbers of system calls, the same everywhere
_NO_MAGIC_LINKS, _IN_ROOT = 0x02, 0x10
_READ_ONLY = 0x1


def mount_all(wanted: Sequence[Sequence[str]]) -> list[str]:
    """Mount each of (kind, folder, what, target) and return the targets.

    Kinds are `image` (`what` are the options of an overlay over relative folders), `part` (a path in the
    folder) and `alone` (without the mounts below it). Raises NotFound with docker's sentence for a part
    that is not there.
    """
    made = []
    for kind, base, what, target in wanted:
        if kind == "image":
            os.makedirs(target, 0o755, exist_ok=True)
            os.chdir(base)
            try:
                kernel.mount("overlay", target, "overlay", _READ_ONLY, what)
            finally:
                os.chdir("/")
        else:
            part = find(base, what)
            try:
                _make_place(target, folder=os.path.isdir(f"/proc/self/fd/{part}"))
                kernel.bind(f"/proc/self/fd/{part}", target, recursive=kind == "part")
            finally:
                os.close(part)
        made.append(target)
    return made


def find(folder: str, path: str) -> int:
    """Open what a path leads to in a folder that is taken for the root of all links on the way."""
    top = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, _NO_MAGIC_LINKS | _IN_ROOT)
    try:
        return kernel.call(_OPENAT2, top, os.fsencode(path), how, ctypes.sizeof(how))
    except (FileNotFoundError, NotADirectoryError):
        message = f"cannot access path {folder}/{path}: lstat {folder}/{path}: no such file or directory"
        raise NotFound(message) from None
    finally:
        os.close(top)


def _make_place(target: str, *, folder: bool) -> None:
    os.makedirs(target if folder else os.path.dirname(target), 0o755, exist_ok=True)
    if not folder:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
