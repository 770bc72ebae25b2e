"""Writing so that a crash leaves the old or the new, never half; locking; removing trees.

Every rename, sync and flock of tiffin is in this room, most of them in this file. Only C and built-in
modules are imported: keepers use it too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posix
import stat

from tiffin.errors import Conflict, InvalidArgument, NotFound, StorageFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from tiffin.errors import TiffinError

_DEEP = 40
"""Folders below this depth are moved up before they are emptied, so that no path or stack overflows."""

MAKE_ROOM = "make room: `tiffin image prune`, `container prune` and `builder prune` remove what nothing uses"
"""What to do about a full disk."""


def storage_error(error: OSError, doing: str) -> TiffinError:
    """Translate a failed write into an outcome: `doing` is the path of verbs before the cause."""
    text = f"{doing}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(text, hint=MAKE_ROOM)
    if error.errno == errno.EROFS:
        return StorageFull(text, hint="the store must lie on a file system that can be written")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return InvalidArgument(text, hint="this user may not write there")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return InvalidArgument(text, hint="a file stands where a folder should be")
    if error.errno == errno.ENOENT:
        return NotFound(text)
    return StorageFull(text)


def temporary_name(path: str) -> str:
    """Return an unused name beside `path`; what is left of a killed writer is cleared away by gc."""
    return f"{path}.{posix.urandom(6).hex()}.tmp"


def write_file(path: str, data: bytes, mode: int = 0o644, *, sync: bool = False) -> None:
    """Put `data` at `path`: readers see the old file or the whole new one.

    `sync` forces the bytes to disk before the rename; without it they survive a kill, not a power cut.
    """
    temporary = temporary_name(path)
    descriptor = posix.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
            posix.fchmod(descriptor, mode)
            if sync:
                posix.fsync(descriptor)
        finally:
            posix.close(descriptor)
        posix.rename(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[posix.write(descriptor, view) :]


def replace(source: str, destination: str) -> None:
    """Move a file or folder within one file system, over a file or an empty folder."""
    posix.rename(source, destination)


def remove_file(path: str) -> bool:
    """Remove a file if it is there; return whether it was."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return False
    return True


def syncfs(path: str) -> None:
    """Force everything written so far to the file system that `path` is on to disk (syncfs(2))."""
    import ctypes  # 3 ms, and only what makes an image durable comes here

    descriptor = posix.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        posix.close(descriptor)


class Lock:
    """A flock on a file that is made for it, exclusive unless `shared`, as a context manager.

    Raises Conflict where `blocking` is false and somebody else has it. The file may be removed by its
    holder (`remove`): whoever waited for it then notices and locks the new one.
    """

    def __init__(self, path: str, *, blocking: bool = True, shared: bool = False, busy: str = "") -> None:
        """Remember the path; `busy` is the sentence of the Conflict."""
        self.path = path
        self._flags = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if blocking else fcntl.LOCK_NB)
        self._busy = busy or f"{path} is locked by another process"
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock, waiting for it if it is a blocking one."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, self._flags)
                if is_at(descriptor, self.path):
                    self._descriptor = descriptor
                    return self
            except BlockingIOError:
                posix.close(descriptor)
                raise Conflict(self._busy) from None
            except BaseException:
                posix.close(descriptor)
                raise
            posix.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return posix.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            return posix.open(self.path, flags, 0o600)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Let go."""
        posix.close(self._descriptor)
        self._descriptor = -1

    def remove(self) -> None:
        """Remove the lock file; only its holder may."""
        remove_file(self.path)


def lock(descriptor: int) -> None:
    """Take the flock of something that is open already, waiting for it; closing that lets go."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def is_at(descriptor: int, path: str) -> bool:
    """Tell whether an open file still is what the path names."""
    try:
        there = posix.stat(path)
    except FileNotFoundError:
        return False
    return posix.fstat(descriptor).st_ino == there.st_ino


def remove_tree(path: str) -> bool:
    """Remove a folder and all in it, never following a symlink; return whether it was there.

    It is renamed aside first, so that its name is free (and nobody sees half of it) at once.
    """
    aside = temporary_name(path)
    try:
        posix.rename(path, aside)
    except FileNotFoundError:
        return False
    delete_tree(aside)
    return True


def delete_tree(path: str) -> None:
    """Remove a folder in place, or a file; a missing one is fine."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    else:
        return
    top = _open_folder(path, None)
    try:
        _empty(top, top, 0)
        while posix.listdir(top):
            _empty(top, top, 0)  # what lay too deep is now here
    finally:
        posix.close(top)
    posix.rmdir(path)


def _open_folder(name: str, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return posix.open(name, flags, dir_fd=parent)
    except PermissionError:
        # Overlayfs's own work folder has mode 000; it is ours all the same.
        posix.chmod(name, 0o700, dir_fd=parent)
        return posix.open(name, flags, dir_fd=parent)


def _empty(folder: int, top: int, depth: int) -> None:
    """Empty an open folder; folders in it that lie too deep are moved into `top`."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            _ignore_missing(posix.unlink, name, folder)
        elif depth < _DEEP:
            inner = _open_folder(name, folder)
            try:
                _empty(inner, top, depth + 1)
            finally:
                posix.close(inner)
            _ignore_missing(posix.rmdir, name, folder)
        else:
            aside = f".deep-{posix.urandom(6).hex()}"
            posix.rename(name, aside, src_dir_fd=folder, dst_dir_fd=top)


def _ignore_missing(remove: Callable[..., None], name: str, folder: int) -> None:
    try:
        remove(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except PermissionError:
        posix.fchmod(folder, 0o700)  # one that may not be written, and we are not root
        remove(name, dir_fd=folder)


def tree_size(path: str) -> int:
    """Return the bytes that the files below a folder take, each inode once, as docker counts them."""
    seen: set[tuple[int, int]] = set()
    total, todo = 0, [path]
    while todo:
        here = todo.pop()
        try:
            entries = list(os.scandir(here))
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            total += posix.lstat(here).st_size  # a file by itself
            continue
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(info.st_mode):
                todo.append(entry.path)
            elif info.st_nlink == 1 or (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_size
    return total


_boot = ""


def boot_id() -> str:
    """Return the identity of this boot of the kernel: facts of another boot are history."""
    global _boot  # noqa: PLW0603 - a constant of the machine, read once
    if not _boot:
        with open("/proc/sys/kernel/random/boot_id", "rb") as stream:
            _boot = stream.read().strip().decode()
    return _boot


def start_time(pid: int) -> int:
    """Return when a process started (clock ticks since boot, proc_pid_stat(5)), 0 if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            words = stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # A zombie has ended: what it held it holds no more.
    return 0 if words[0] in {b"Z", b"X"} else int(words[19])


def owner_tag() -> str:
    """Return a text that names this process for as long as it lives: boot, pid and start time."""
    pid = posix.getpid()
    return f"{boot_id()[:8]}-{pid}-{start_time(pid)}"


def owner_lives(tag: str) -> bool:
    """Tell whether the process that an `owner_tag` (or a name starting with one) names still lives."""
    boot, _, rest = tag.partition("-")
    pid, _, start = rest.partition("-")
    start = start.partition("-")[0]
    if boot != boot_id()[:8] or not pid.isdigit() or not start.isdigit():
        return False
    return start_time(int(pid)) == int(start) != 0
