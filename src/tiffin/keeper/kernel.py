"""The system calls that Python does not have: a mount namespace of one's own, mounts, prctl."""

from __future__ import annotations

import ctypes
import os

from tiffin.errors import TiffinError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NEW_MOUNT_NAMESPACE, _NEW_USER_NAMESPACE = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, BIND, _RECURSIVE, _SLAVE = 0x1, 0x20, 0x1000, 0x4000, 0x80000
_DETACH = 2
_SET_CHILD_SUBREAPER = 36
_GET_SECCOMP = 21
_SET_NAME = 15
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # numbers of system calls, the same everywhere
_HERE = -100  # AT_FDCWD
_CLONE, _FROM_DESCRIPTOR = 0x1, 0x4
_LOCKED = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
"""Flags of statvfs that mount has under the same numbers, and a remount must repeat."""
_RELATIVE_TIMES = 0x200000
_CAPABILITY_VERSION = 0x20080522
_FILE_CAPABILITIES = (0, 1, 2, 3, 4, 27, 31)
"""chown, dac_override, dac_read_search, fowner, fsetid, mknod, setfcap."""
_UNIFIED = "/sys/fs/cgroup/unified"

_libc: Any = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """Attach a file system or change a mount, as the system call does; raise OSError."""
    words = (os.fsencode(w) if w else None for w in (source, target, kind))
    pointer = os.fsencode(data) if data else None
    _check(_libc.mount(*words, ctypes.c_ulong(flags), pointer), target)


def unmount(target: str) -> None:
    """Take a mount away, also one that is in use."""
    _check(_libc.umount2(os.fsencode(target), _DETACH), target)


def call(number: int, *arguments: Any) -> int:
    """Make a system call that has no function, and return what it returns; raise OSError."""
    found: int = _libc.syscall(number, *arguments)
    _check(found < 0, f"system call {number}")
    return found


def own_ids() -> None:
    """Enter a user namespace of our own, still without maps."""
    _check(_libc.unshare(_NEW_USER_NAMESPACE), "unshare")


def join_ids(namespace: int) -> None:
    """Enter the user namespace of a descriptor; this process must have one thread."""
    _check(_libc.setns(namespace, _NEW_USER_NAMESPACE), "setns")


def keep_file_capabilities() -> None:
    """Give up every capability but those that files need: their owners, modes, kinds and attributes.

    What /proc guards by another process's privileges (its root, its open files) stays closed from then on.
    """
    kept = sum(1 << number for number in _FILE_CAPABILITIES)
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    current = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(head, current), "capget")
    for number in range(6):  # what this process never had it cannot keep
        sets[number] &= current[number]
    _check(_libc.capset(head, sets), "capset")


def own_mounts() -> None:
    """Enter a mount namespace of our own, where mounts of the host still arrive but ours never leave.

    Slave, not private: a private copy would hold mounts that the host has taken away.
    """
    _check(_libc.unshare(_NEW_MOUNT_NAMESPACE), "unshare")
    mount("none", "/", "", _RECURSIVE | _SLAVE, "")


def enter_mounts(descriptor: int) -> None:
    """Enter another mount namespace."""
    _check(_libc.setns(descriptor, _NEW_MOUNT_NAMESPACE), "setns")


def copy_mount(path: str) -> int:
    """Return a descriptor of a mount like the one at a path, which stands nowhere yet."""
    copy: int = _libc.syscall(_OPEN_TREE, _HERE, os.fsencode(path), _CLONE | os.O_CLOEXEC)
    _check(copy < 0, path)
    return copy


def attach_mount(copy: int, target: str) -> None:
    """Put such a mount at a path."""
    found = _libc.syscall(_MOVE_MOUNT, copy, b"", _HERE, os.fsencode(target), _FROM_DESCRIPTOR)
    _check(found, target)


def hide_unified_cgroups() -> None:
    """Cover the v2 tree of a hybrid host if it holds a controller: crun refuses such a host.

    Covered, not taken away: crun would write its folders into the host's file system below, for ever.
    """
    try:
        with open(f"{_UNIFIED}/cgroup.controllers", "rb") as stream:
            if not stream.read().strip():
                return
    except OSError:
        return
    mount("tmpfs", _UNIFIED, "tmpfs", 0, "size=64k")


def bind_read_only(path: str) -> None:
    """Bind a program over itself, read-only: crun and runc then need not copy themselves first (1.5 ms).

    It only saves time: where it is not allowed (a user namespace), they copy.
    """
    try:
        mount(path, path, "", BIND, "")
        mount("", path, "", BIND | _REMOUNT | _READ_ONLY, "")
    except OSError:
        return


def bind(source: str, target: str, *, recursive: bool) -> None:
    """Show a file or folder at another place too, with what is mounted below it if `recursive`."""
    mount(source, target, "", BIND | (_RECURSIVE if recursive else 0), "")


def make_read_only(target: str) -> None:
    """Take writing away from one mount; what a user namespace may not change of it stays as it is."""
    found = os.statvfs(target).f_flag
    flags = found & _LOCKED | (_RELATIVE_TIMES if found & os.ST_RELATIME else 0)
    mount("", target, "", _REMOUNT | BIND | _READ_ONLY | flags, "")


def mount_overlay(base: str, target: str, options: str) -> None:
    """Mount an overlay whose lower directories are relative to `base` (the options must fit in a page)."""
    os.chdir(base)
    try:
        mount("overlay", target, "overlay", 0, options)
    finally:
        os.chdir("/")


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants: the container, once the runtime has gone."""
    _check(_libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def set_name(name: str) -> None:
    """Change what `ps` shows as this thread's name (15 bytes)."""
    _libc.prctl(_SET_NAME, os.fsencode(name), 0, 0, 0)


def is_filtered() -> bool:
    """Tell whether this process itself has a seccomp filter, or cannot know."""
    return bool(_libc.prctl(_GET_SECCOMP, 0, 0, 0, 0))


def attempt(action: Callable[..., object], *arguments: object) -> None:
    """Do one step of a cleaning; one that fails must not stop the others."""
    try:
        action(*arguments)
    except (OSError, TiffinError):
        return
