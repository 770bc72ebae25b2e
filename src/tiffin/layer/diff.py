"""A layer's directory becomes its tar: the same tree gives the same bytes, on any host and file system.

The format is version 1 (`SERIALIZER`). Layers keep the version that they were measured with, since their
blob is made again from the directory whenever it is wanted; golden digests in the tests hold it.

- Entries in depth-first order; in each folder first the opaque mark, then deletions, then the rest, by
  the bytes of their names. Names have no `./`; the top folder is written only where it is not root's, 0755.
- ustar headers, PAX records only for what ustar cannot hold (times with a fraction of a second included).
  No user names, no access or change times, deletions with time 0.
- The first name of a file has its content, the others are hard links. Sockets are left out.
- Two blocks of zeros at the end and nothing behind.
"""

from __future__ import annotations

import errno
import os
import stat

from tiffin.errors import (
    Conflict,
    Forbidden,
    InvalidArgument,
    NotFound,
    TiffinError,
    Unavailable,
    Unsupported,
)
from tiffin.layer import attributes, owners, tar, whiteout
from tiffin.layer.tar import Entry
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERIALIZER = 1
"""The version of the format that `write_tar` writes."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, because a live container may put a fifo where a file was a moment ago.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = 1 << 18
_OPEN_FOLDERS = 64
_NAME_MAX = 4096
_KINDS = {
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}


class Measured(Value):
    """A directory as a layer: the digest of its tar, its files' bytes, its tar's bytes."""

    diff_id: str
    size: int
    tar_size: int


def write_tar(directory: str, write: Callable[[bytes], object], *, xattr: str) -> None:
    """Write a layer's directory, or an overlay's upper one, as a tar; `xattr` is the prefix of its marks.

    Symbolic links are never followed. Raises Conflict if something changes meanwhile, InvalidArgument for
    what no layer can hold.
    """
    Serializer(write, xattr).run(directory)


def measure(directory: str, *, xattr: str) -> Measured:
    """Return what `write_tar` would write, without keeping it."""
    import hashlib

    digest = hashlib.sha256()
    serializer = Serializer(digest.update, xattr)
    serializer.run(directory)
    return Measured(
        diff_id="sha256:" + digest.hexdigest(), size=serializer.content, tar_size=serializer.written
    )


class Open:
    """A folder on the way: its descriptor (-1 while lent back), path, identity, and names still to come."""

    __slots__ = ("beside", "file", "identity", "names", "path")

    def __init__(self, file: int, path: bytes, identity: tuple[int, int]) -> None:
        """Begin without names."""
        self.file = file
        self.path = path
        self.identity = identity
        self.names: Iterator[tuple[bytes, bool]] = iter(())
        self.beside: list[bytes] = []  # its attributes that say whose links and pipes in it are


class Serializer:
    """One walk over a layer's directory, in the order of the format."""

    def __init__(self, write: Callable[[bytes], object], xattr: str) -> None:
        """Write to `write`; `xattr` is the prefix of overlayfs's marks."""
        self.content = 0
        self.written = 0
        self._write = write
        self._writer_failed = False  # an error on its way is the caller's own
        self._noted = xattr.startswith("user.")  # a container of real root cannot tell us whose its files are
        self._opaque = os.fsencode(whiteout.opaque_name(xattr))
        self._foreign = {os.fsencode(xattr + name) for name in ("overlay.redirect", "overlay.metacopy")}
        self._parts: list[bytes] = []
        self._waiting = 0
        self._first: dict[tuple[int, int], Entry] = {}  # of files with several names

    def run(self, directory: str) -> None:
        """Write everything below a directory."""
        try:
            top = os.open(directory, FOLDER & ~os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no such layer directory: {directory}") from None
        stack: list[Open] = []
        try:
            self._enter(stack, top, b"")
            while stack:
                self._step(stack)
        finally:
            for folder in stack:
                if folder.file >= 0:
                    os.close(folder.file)
        self._put(tar.END)
        self._flush()

    def _step(self, stack: list[Open]) -> None:
        """Write the next name of the innermost folder, or leave the folder."""
        folder = stack[-1]
        for name, deletion in folder.names:
            path = folder.path + name
            if deletion:
                self._mark(folder.path + whiteout.PREFIX + name)
                continue
            if name.startswith(whiteout.PREFIX):
                raise InvalidArgument(
                    f"{tar.show(path)} cannot be kept in a layer: names that begin with .wh. mark deletions"
                )
            if len(path) >= _NAME_MAX:
                raise InvalidArgument(
                    f"{tar.show(path[:80])}... cannot be kept in a layer: its name is too long"
                )
            try:
                inner = self._entry(folder, name, path)
            except OSError as error:
                if self._writer_failed or error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    raise  # not by reading
                raise _explain(error, path) from error
            if inner >= 0:
                self._enter(stack, inner, path + b"/")
                return
        self._leave(stack)

    def _enter(self, stack: list[Open], file: int, path: bytes) -> None:
        status = os.fstat(file)
        folder = Open(file, path, (status.st_dev, status.st_ino))
        # A tree may be deeper than a process may have files open: the way back up is "..".
        if len(stack) >= _OPEN_FOLDERS:
            os.close(stack[-1].file)
            stack[-1].file = -1
        stack.append(folder)
        names = attributes.names(file)
        if names and self._noted:
            folder.beside = [key for key in names if key.startswith(owners.BESIDE)]
        kept = self._attributes(file, names, path)
        mode = stat.S_IMODE(status.st_mode)
        uid, gid = self._owner(file, names, status)
        if path or mode != 0o755 or uid or gid or kept:
            entry = Entry(path or b"./", tar.FOLDER, mode=mode, uid=uid, gid=gid)
            entry.mtime = status.st_mtime_ns if path else 0
            entry.xattrs = kept
            self._emit(entry)
        if self._opaque in names and os.getxattr(file, self._opaque) == b"y":
            self._mark(path + whiteout.OPAQUE)
        folder.names = iter(_listing(file))

    def _leave(self, stack: list[Open]) -> None:
        folder = stack.pop()
        if stack and stack[-1].file < 0:
            above = os.open("..", FOLDER, dir_fd=folder.file)
            stack[-1].file = above
            status = os.fstat(above)
            if (status.st_dev, status.st_ino) != stack[-1].identity:
                os.close(folder.file)
                raise Conflict(f"{tar.show(folder.path)} was moved while it was read")
        os.close(folder.file)

    def _entry(self, folder: Open, name: bytes, path: bytes) -> int:
        """Write one entry; a folder is opened and returned instead, -1 for anything else."""
        parent = folder.file
        status = os.lstat(name, dir_fd=parent)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            return os.open(name, FOLDER, dir_fd=parent)
        if kind == stat.S_IFSOCK:
            return -1
        uid, gid = owners.seen(status) if self._noted else (status.st_uid, status.st_gid)
        entry = Entry(path, mode=stat.S_IMODE(status.st_mode), uid=uid, gid=gid)
        entry.mtime = status.st_mtime_ns
        if status.st_nlink > 1:
            identity = status.st_dev, status.st_ino
            first = self._first.setdefault(identity, entry)
            if first is not entry:
                entry.kind = tar.LINK
                entry.link = first.path
                entry.uid, entry.gid = first.uid, first.gid  # which may be noted
                self._emit(entry)
                return -1
        if kind == stat.S_IFREG:
            self._file(parent, name, entry, status)
            return -1
        if folder.beside:
            entry.uid, entry.gid = owners.owner(parent, folder.beside, owners.beside(name)) or (uid, gid)
        entry.kind = _KINDS[kind]
        if kind == stat.S_IFLNK:
            entry.link = os.readlink(name, dir_fd=parent)
        elif kind != stat.S_IFIFO:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self._emit(entry)
        return -1

    def _file(self, parent: int, name: bytes, entry: Entry, status: os.stat_result) -> None:
        file = os.open(name, FILE, dir_fd=parent)
        try:
            if not os.path.samestat(os.fstat(file), status):
                raise Conflict(f"{entry.text} changed while it was read")
            names = attributes.names(file)
            entry.xattrs = self._attributes(file, names, entry.path)
            if self._noted:
                entry.uid, entry.gid = self._owner(file, names, status)
                _restore_device(entry, file, names)
            left = entry.size = status.st_size if entry.kind == tar.REGULAR else 0
            self.content += left
            self._emit(entry)
            while left:
                data = os.read(file, min(left, _READ))
                if not data:
                    raise Conflict(f"{entry.text} became shorter while it was read")
                left -= len(data)
                self._content(data)
            self._end(entry)
        finally:
            os.close(file)

    def _attributes(self, file: int, names: list[bytes], path: bytes) -> dict[bytes, bytes] | None:
        if not names:
            return None
        self._refuse_foreign(names, path)
        return attributes.read(file, names)

    def _refuse_foreign(self, names: list[bytes], path: bytes) -> None:
        if not self._foreign.isdisjoint(names):
            raise Unsupported(
                f"{tar.show(path)} refers to the layers below by an overlay attribute",
                hint="mount with redirect_dir=off,metacopy=off",
            )

    def _owner(self, file: int, names: list[bytes], status: os.stat_result) -> tuple[int, int]:
        """Return whose a file is: what is noted counts, where notes are taken."""
        if not self._noted:
            return status.st_uid, status.st_gid
        return (names and owners.owner(file, names)) or owners.seen(status)

    def _mark(self, name: bytes) -> None:
        self._emit(Entry(name, mode=0o600))

    # What an index overrides: it wants the same entries and content, but no tar (see index).

    def _emit(self, entry: Entry) -> None:
        self._put(tar.encode(entry))

    def _content(self, data: bytes) -> None:
        self._put(data)

    def _end(self, entry: Entry) -> None:
        if padding := -entry.size % tar.BLOCK:
            self._put(tar.ZEROS[:padding])

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= _READ:
            self._flush()

    def _flush(self) -> None:
        self.written += self._waiting
        self._waiting = 0
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if data:
            self._writer_failed = True
            self._write(data)
            self._writer_failed = False


def _restore_device(entry: Entry, file: int, names: list[bytes]) -> None:
    """Make an entry the device that a note says the file stands for."""
    device = owners.device(file, names)
    if device:
        entry.kind = tar.CHARACTER if device[0] == "c" else tar.BLOCK_DEVICE
        entry.major, entry.minor = device[1:]


def _explain(error: OSError, path: bytes) -> TiffinError:
    """Translate what the kernel said while an entry was read."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
        return Conflict(f"{tar.show(path)} changed while it was read")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Forbidden(f"read {tar.show(path)}: {os.strerror(error.errno).lower()}")
    return Unavailable(f"read {tar.show(path)}: {(error.strerror or str(error)).lower()}")


def _listing(folder: int) -> list[tuple[bytes, bool]]:
    """Return a folder's names in the order of the format, each with whether it marks a deletion."""
    names = []
    with os.scandir(folder) as listing:
        for child in listing:
            # The kind comes with the name; only what may be a device is looked at.
            plain = child.is_file(follow_symlinks=False) or child.is_dir(follow_symlinks=False)
            deletion = not (plain or child.is_symlink()) and whiteout.is_whiteout(
                child.stat(follow_symlinks=False)
            )
            names.append((not deletion, os.fsencode(child.name)))
    names.sort()
    return [(name, not kept) for kept, name in names]
