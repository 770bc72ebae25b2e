"""Deletions: the names that a tar uses for them, and the marks that a layer's folder has for them.

A store has marks of one of two kinds, told by the prefix of its attributes. Overlayfs's own (`trusted.`,
`user.`) are what its mounts understand. A store that itself lies on overlayfs cannot have those (the kernel
refuses their making there), so its marks are our own (`trusted.tiffin.`, `user.tiffin.`): a socket without
any permission, which no layer can hold otherwise, and an attribute of ours. No mount understands them.

Sources: OCI image-spec layer.md "Whiteouts"; the kernel's filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import stat

from tiffin.errors import Corrupt

OWN = ".tiffin."
"""How the prefix of our own marks ends."""

PREFIX = b".wh."
"""`.wh.NAME` in a layer deletes NAME of the layers below."""

OPAQUE = b".wh..wh..opq"
"""This name in a folder deletes all that the layers below have in the folder."""

AUFS = b".wh..wh."
"""Other names with this prefix are aufs's own bookkeeping, found in very old images."""

AUFS_LINKS = b".wh..wh.plnk"
"""aufs's folder of files that have more than one name; hard links of such a layer point into it."""


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether this is a mark for a deleted name: the character device 0:0, or a socket of mode 0."""
    mode = status.st_mode
    return mode == stat.S_IFSOCK or (stat.S_ISCHR(mode) and status.st_rdev == 0)


def make_whiteout(path: bytes | str, xattr: str) -> None:
    """Put the mark at a path that does not exist."""
    os.mknod(path, stat.S_IFSOCK if is_own(xattr) else stat.S_IFCHR, 0)


def is_own(xattr: str) -> bool:
    """Tell whether a store's marks are our own, which overlayfs does not understand."""
    return xattr.endswith(OWN)


def can_have(folder: str, xattr: str) -> bool:
    """Tell whether the file system of an existing folder, which must be ours, takes marks of this kind."""
    trial = f"{folder}/{PREFIX.decode()}{os.urandom(6).hex()}"
    os.mkdir(trial)
    try:
        make_opaque(trial, xattr)
        make_whiteout(f"{trial}/gone", xattr)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EINVAL}:
            raise
        return False
    else:
        os.unlink(f"{trial}/gone")
        return True
    finally:
        os.rmdir(trial)


def opaque_name(xattr: str) -> str:
    """Return the attribute that makes a folder opaque; `xattr` is `trusted.`, `user.` or one of our own."""
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
