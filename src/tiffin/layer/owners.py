"""Owners and devices that this user cannot make: noted beside the file, read back when a layer is written.

With one id only (or none), everything belongs to the user; an owner that the kernel does not take is kept
in an attribute. The same goes, without real root, for device nodes: an empty file stands for one. Symbolic
links and pipes cannot carry an attribute: their folder has it, as far as there is room (dozens, on ext4).
"""

from __future__ import annotations

import errno
import os

OWNER = b"user.tiffin.owner"
"""`UID:GID` of a file, where it is not the one that the file system has."""

DEVICE = b"user.tiffin.device"
"""`c MAJOR:MINOR` or `b MAJOR:MINOR` of an empty file that stands for a device."""

BESIDE = b"user.tiffin.of."
"""How a folder's attributes begin that say whose a link or pipe in it is; a digest of the name follows."""

_ID_END = 0xFFFFFFFF
_DEVICE_END = 1 << 20


def give(target: int | bytes | str, uid: int, gid: int) -> None:
    """Give an open file, or a path that is not followed, to an owner, or note whose it is."""
    follow = isinstance(target, int)
    if uid == gid == 0 and os.geteuid():
        return  # outside, what is ours is root's
    try:
        os.chown(target, uid, gid, follow_symlinks=follow)
    except OSError as error:
        # EINVAL: the user namespace does not have the id. EPERM: there is none, so only real root is told.
        if error.errno != errno.EINVAL and (error.errno != errno.EPERM or os.geteuid() == 0):
            raise
        _note(target, OWNER, f"{uid}:{gid}".encode())


def make_device(path: bytes, mode: int, kind: str, major: int, minor: int) -> None:
    """Make an empty file that stands for a device."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    _note(path, DEVICE, f"{kind} {major}:{minor}".encode())


def _note(target: int | bytes | str, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP}:
            raise
        if not isinstance(target, int) and name == OWNER:  # a symbolic link, a pipe
            _note_beside(os.fsencode(target), value)


def _note_beside(path: bytes, value: bytes) -> None:
    folder, _, name = path.rpartition(b"/")
    try:
        os.setxattr(folder or b".", beside(name), value)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSPC, errno.E2BIG}:
            raise


def beside(name: bytes) -> bytes:
    """Return the attribute of a folder that says whose a name in it is."""
    import hashlib

    return BESIDE + hashlib.sha256(name).hexdigest()[:16].encode()


def note(path: str) -> bytes:
    """Return what is noted about the owner of a path that is not followed, b"" for nothing."""
    try:
        return os.getxattr(path, OWNER, follow_symlinks=False)
    except OSError:
        return b""


def owner(file: int, names: list[bytes], attribute: bytes = OWNER) -> tuple[int, int] | None:
    """Return the noted owner of an open file that has attributes of these names, None without a note.

    With `attribute` (see `beside`), that of a name in an open folder.
    """
    pair = _pair(os.getxattr(file, attribute)) if attribute in names else None
    return pair if pair and max(pair) < _ID_END else None


def seen(status: os.stat_result) -> tuple[int, int]:
    """Return the owner in the file system as it is inside: outside of any namespace, ours are root's."""
    return (0, 0) if os.geteuid() else (status.st_uid, status.st_gid)


def device(file: int, names: list[bytes]) -> tuple[str, int, int] | None:
    """Return kind, major and minor of the device that an open file stands for, None if for none."""
    if DEVICE not in names:
        return None
    kind, _, numbers = os.getxattr(file, DEVICE).partition(b" ")
    pair = _pair(numbers)
    return (kind.decode(), *pair) if pair and kind in {b"c", b"b"} and max(pair) < _DEVICE_END else None


def _pair(text: bytes) -> tuple[int, int] | None:
    """Read `A:B`; what a container may have written there instead is None."""
    first, _, second = text.partition(b":")
    digits = first.isdigit() and second.isdigit() and len(text) < 32
    return (int(first), int(second)) if digits else None
