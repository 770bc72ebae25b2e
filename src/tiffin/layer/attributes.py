"""Which extended attributes belong to a file and so to a layer: the user's, capabilities and ACLs.

The rest is the host's (security.selinux), root's (trusted.*), overlayfs's or our own, and never travels.
"""

from __future__ import annotations

import errno
import os

from tiffin.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SINGLE = frozenset({b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"})


def belongs(name: bytes) -> bool:
    """Tell whether a layer keeps this attribute."""
    if name.startswith(b"user."):
        return not name.startswith((b"user.overlay.", b"user.tiffin."))
    return name in _SINGLE


def names(file: int) -> list[bytes]:
    """Return the names of an open file's attributes, sorted, [] where the file system has none."""
    try:
        found = os.listxattr(file)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
    return sorted(map(os.fsencode, found)) if found else []


def read(file: int, present: list[bytes]) -> dict[bytes, bytes] | None:
    """Return those of an open file's attributes that a layer keeps, None if there are none."""
    return {name: os.getxattr(file, name) for name in present if belongs(name)} or None


def write(file: int | bytes, attributes: Mapping[bytes, bytes]) -> None:
    """Give a file those of the attributes that a layer keeps.

    What the file system or the file's kind cannot have (user.* on a device) is left out, as docker does;
    what has no room there raises Unsupported.
    """
    for name, value in attributes.items():
        if not belongs(name):
            continue
        try:
            os.setxattr(file, name, value, follow_symlinks=isinstance(file, int))
        except OSError as error:
            if error.errno in {errno.ENOTSUP, errno.EPERM}:
                continue
            # ext4 says "no space" where a file's attributes exceed its block, however empty the disk.
            if error.errno in {errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EINVAL, errno.ENODATA}:
                raise Unsupported(
                    f"extended attribute {name.decode('utf-8', 'backslashreplace')!r} of {len(value)} bytes:"
                    f" {os.strerror(error.errno).lower()}",
                    hint="the file system of the store cannot keep it",
                ) from error
            raise
