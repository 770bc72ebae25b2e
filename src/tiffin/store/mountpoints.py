"""The lowest thing that a container adds: a folder with the mount points that its image lacks.

An OCI runtime makes a missing mount point in the writable layer, where it would show in `diff` and be
committed by the next build step. So each chain of layers gets one small read-only folder on top that
holds them; every container over that chain shares it. It is made once, from the layers alone.
"""

from __future__ import annotations

import os
import posix
import stat

from tiffin.store import atomic
from tiffin.store.overlay import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.store.layout import Layout

_FOLDERS = ("/dev", "/dev/pts", "/dev/shm", "/proc", "/sys", "/etc")  # noqa: S108 - a mount point
_FILES = ("/.dockerenv", "/dev/console", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def ensure(layout: Layout, layers: Sequence[str], xattr: str) -> str:
    """Return the folder's name below `layout.layers` for these chain ids (bottom first), making it once."""
    name = layout.mount_points_name(layers[-1] if layers else "")
    path = f"{layout.layers}/{name}"
    if not os.path.isdir(path):
        _make(path, Stack([layout.layer(chain) for chain in reversed(layers)], xattr) if layers else None)
    return name


def _make(path: str, stack: Stack | None) -> None:
    draft = atomic.temporary_name(path)
    os.makedirs(draft, mode=0o755)
    try:
        if stack is not None:
            _copy_metadata(stack.root().places[0], draft)
        for folder in _FOLDERS:
            _place(draft, stack, folder, folder=True)
        for file in _FILES:
            _place(draft, stack, file, folder=False)
        atomic.replace(draft, path)
    except OSError:
        atomic.delete_tree(draft)
        if not os.path.isdir(path):  # otherwise another command was faster
            raise


def _place(draft: str, stack: Stack | None, path: str, *, folder: bool) -> None:
    """Make one mount point where the image would show it, unless it is there."""
    if stack is not None:
        path, node = stack.find(path)
        if node is not None:
            return
    parts = path.strip("/").split("/")
    made = []
    for depth in range(1, len(parts)):
        parent = "/".join(parts[:depth])
        node = stack.find(f"/{parent}", follow_last=False)[1] if stack else None
        if node is not None and not node.is_folder:
            return  # a file stands in the way: the runtime will say so
        if not os.path.isdir(f"{draft}/{parent}"):
            posix.mkdir(f"{draft}/{parent}", 0o755)
        made.append((f"{draft}/{parent}", node.places[0] if node else ""))
    target = f"{draft}/{path.strip('/')}"
    if folder:
        os.makedirs(target, mode=0o755, exist_ok=True)
    elif not os.path.lexists(target):
        posix.close(posix.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
    for copy, original in reversed(made):
        if original:
            _copy_metadata(original, copy)


def _copy_metadata(source: str, target: str) -> None:
    """Give a folder the owner, mode, attributes and times of the one that it will hide."""
    info = posix.lstat(source)
    posix.chown(target, info.st_uid, info.st_gid)
    posix.chmod(target, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if ".overlay." not in name:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
