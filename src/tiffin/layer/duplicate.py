"""A layer's directory is copied as it is: what can be kept in a layer, and nothing else, arrives.

The one that is copied may belong to a running container, so it is walked as `diff` walks it: no symbolic link
is followed, and what changes under the reader ends the copy. The copy is nobody's yet, so paths in it lead
where they say. Content goes from file to file inside the kernel; whoever wants the digest measures the copy.
"""

from __future__ import annotations

import errno
import os
import stat

from tiffin.errors import Conflict
from tiffin.layer import attributes, tar, whiteout
from tiffin.layer.diff import FILE, FOLDER, Serializer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.layer.diff import Open
    from tiffin.layer.tar import Entry

_CHUNK = 16 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}


def duplicate(source: str, destination: str, *, xattr: str) -> None:
    """Copy the upper directory of an overlay into an empty directory.

    Deletions and opaque folders stay what they are. Raises Conflict if something changes meanwhile,
    InvalidArgument for what no layer can hold, OSError where the copy cannot be written.
    """
    top = os.open(destination, FOLDER)
    try:
        _Copier(top, xattr).run(source)
    finally:
        os.close(top)


class _Copier(Serializer):
    """The walk of a serializer that makes each entry, below an open folder, instead of telling it."""

    def __init__(self, top: int, xattr: str) -> None:
        super().__init__(lambda _: None, xattr)
        self._top = top
        self._mark_kind = stat.S_IFSOCK if whiteout.is_own(xattr) else stat.S_IFCHR

    def _emit(self, entry: Entry) -> None:
        path, top = entry.path, self._top
        if entry.kind == tar.FOLDER:
            if entry.path != b"./":
                os.mkdir(path, 0o700, dir_fd=top)  # dressed when it is left
            return
        if entry.kind == tar.LINK:
            os.link(entry.link, path, src_dir_fd=top, dst_dir_fd=top, follow_symlinks=False)
            return
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, path, dir_fd=top)
        else:
            os.mknod(path, _KINDS[entry.kind] | 0o600, os.makedev(entry.major, entry.minor), dir_fd=top)
        if entry.uid or entry.gid or not os.geteuid():
            try:
                os.chown(path, entry.uid, entry.gid, dir_fd=top, follow_symlinks=False)
            except OSError as error:
                self._unless_noted(error)
        if entry.kind != tar.SYMLINK:
            os.chmod(path, entry.mode, dir_fd=top)
        os.utime(path, ns=(entry.mtime, entry.mtime), dir_fd=top, follow_symlinks=False)

    def _mark(self, name: bytes) -> None:
        folder, _, mark = name.rpartition(b"/")
        if mark != whiteout.OPAQUE:  # that is an attribute, which comes with the others
            path = os.path.join(folder, mark.removeprefix(whiteout.PREFIX))
            os.mknod(path, self._mark_kind, 0, dir_fd=self._top)

    def _file(self, parent: int, name: bytes, entry: Entry, status: os.stat_result) -> None:
        file = os.open(name, FILE, dir_fd=parent)
        try:
            if not os.path.samestat(os.fstat(file), status):
                raise Conflict(f"{entry.text} changed while it was read")
            self._refuse_foreign(attributes.names(file), entry.path)
            copy = os.open(entry.path, _NEW, 0o600, dir_fd=self._top)
            try:
                copy_bytes(file, copy)
                if os.fstat(file).st_size < status.st_size:
                    raise Conflict(f"{entry.text} became shorter while it was read")
                self._dress(file, copy, status)
            finally:
                os.close(copy)
        finally:
            os.close(file)

    def _leave(self, stack: list[Open]) -> None:
        folder = stack[-1]
        copy = os.open(folder.path or b".", FOLDER, dir_fd=self._top)
        try:
            self._dress(folder.file, copy, os.fstat(folder.file))
        finally:
            os.close(copy)
        super()._leave(stack)

    def _dress(self, file: int, copy: int, status: os.stat_result) -> None:
        """Give an open copy the owner, mode, attributes (those that count in a layer) and times."""
        made = os.fstat(copy)
        if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            try:
                os.chown(copy, status.st_uid, status.st_gid)
            except OSError as error:
                self._unless_noted(error)
        os.chmod(copy, stat.S_IMODE(status.st_mode))
        for name in attributes.names(file):
            noted = self._noted and name.startswith(b"user.tiffin.")
            if noted or name == self._opaque or attributes.belongs(name):
                os.setxattr(copy, name, os.getxattr(file, name))
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _unless_noted(self, error: OSError) -> None:
        """Raise what the kernel said of an owner, unless those that it refuses are noted beside the file."""
        if not self._noted or error.errno not in {errno.EINVAL, errno.EPERM}:
            raise error


def copy_bytes(source: int, target: int) -> None:
    """Copy an open file to an empty one inside the kernel, holes as holes.

    What is written to it meanwhile is left out.
    """
    status = os.fstat(source)
    end = status.st_size
    if status.st_blocks * 512 >= end:
        _copy_part(source, target, 0, end)
        return
    os.truncate(target, end)
    at = 0
    while at < end:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
            after = min(os.lseek(source, at, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        _copy_part(source, target, at, after)
        at = after


def _copy_part(source: int, target: int, at: int, end: int) -> None:
    while at < end:
        size = min(end - at, _CHUNK)
        try:
            done = os.copy_file_range(source, target, size, at, at)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
            done = os.pwrite(target, os.pread(source, size, at), at)
        if not done:
            return  # it has become shorter
        at += done
