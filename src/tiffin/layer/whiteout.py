"""Deletions: the names that a tar uses for them, and the marks that overlayfs uses for them.

Sources: OCI image-spec layer.md "Whiteouts"; the kernel's filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import Corrupt

PREFIX = b".wh."
"""`.wh.NAME` in a layer deletes NAME of the layers below."""

OPAQUE = b".wh..wh..opq"
"""This name in a folder deletes all that the layers below have in the folder."""

AUFS = b".wh..wh."
"""Other names with this prefix are aufs's own bookkeeping, found in very old images."""

AUFS_LINKS = b".wh..wh.plnk"
"""aufs's folder of files that have more than one name; hard links of such a layer point into it."""


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether this is overlayfs's mark for a deleted name: the character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_whiteout(path: bytes | str) -> None:
    """Put the mark at a path that does not exist."""
    os.mknod(path, stat.S_IFCHR, 0)


def opaque_name(xattr: str) -> str:
    """Return the attribute that makes a folder opaque; `xattr` is `trusted.` or `user.`."""
    return xattr + "overlay.opaque"


def is_opaque(path: bytes | str | int, xattr: str) -> bool:
    """Tell whether a folder hides the contents of the same folder in the layers below."""
    try:
        return os.getxattr(path, opaque_name(xattr)) == b"y"
    except OSError:
        return False


def make_opaque(path: bytes | str | int, xattr: str) -> None:
    """Let a folder hide the contents of the same folder in the layers below.

    The kernel does not look for this mark on the top folder of a layer; store.overlay does.
    """
    os.setxattr(path, opaque_name(xattr), b"y")


def target(name: bytes) -> bytes:
    """Return what `.wh.NAME` deletes; raise Corrupt where that is no name."""
    victim = name[len(PREFIX) :]
    if victim in {b"", b".", b".."}:
        raise Corrupt(f"whiteout {name.decode('utf-8', 'backslashreplace')!r} names nothing")
    return victim
