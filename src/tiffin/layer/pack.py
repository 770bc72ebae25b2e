"""What lies at a path, as a tar: how `cp` reads, in a worker that is confined to a container, or at home.

Unlike a layer's serialiser (`diff`) this one knows no deletions and leaves out what goes away under it, as
a program that copies files would: the tree belongs to somebody who goes on using it.
"""

from __future__ import annotations

import errno
import os
import stat

from tiffin.layer import attributes, owners, tar
from tiffin.layer.tar import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Not blocking, because a pipe may stand where a file was a moment ago.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = 1 << 18
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
_KINDS = {
    stat.S_IFDIR: tar.FOLDER,
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}


class Packer:
    """Writes trees into one archive. `finish` must follow the last `add`.

    Hard links among what is added stay links, sockets are left out, symbolic links are not followed.
    """

    def __init__(self, write: Callable[[bytes], object], *, noted: bool = False) -> None:
        """Write with that function; `noted` says that owners may be noted beside files (`layer.owners`)."""
        self._write = write
        self._noted = noted
        self._links: dict[tuple[int, int], bytes] = {}

    def add(self, path: bytes, name: bytes) -> None:
        """Add what is at `path`, and all below it, under `name` (`.` puts what is in a folder on top).

        Raises OSError if there is nothing or it may not be read.
        """
        todo = [(path, name)] if self._add(path, name) else []
        while todo:
            here, shown = todo.pop()
            for child in sorted(_names(here)):
                inner = here.rstrip(b"/") + b"/" + child
                inner_name = shown.rstrip(b"/") + b"/" + child
                try:
                    if self._add(inner, inner_name):
                        todo.append((inner, inner_name))
                except OSError as error:
                    if error.errno not in _GONE:
                        raise

    def finish(self) -> None:
        """Write the archive's end."""
        self._write(tar.END)

    def _add(self, path: bytes, name: bytes) -> bool:
        """Write one entry; tell whether it is a folder."""
        info = os.lstat(path)
        kind = _KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return False
        uid, gid = owners.seen(info)
        entry = Entry(name, kind, mode=stat.S_IMODE(info.st_mode), uid=uid, gid=gid)
        entry.mtime = info.st_mtime_ns
        if kind == tar.FOLDER:
            entry.name = name.rstrip(b"/") + b"/"
        elif info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), name)
            if first is not name:
                entry.kind, entry.link = tar.LINK, first
                self._write(tar.encode(entry))
                return False
        if kind in {tar.FOLDER, tar.REGULAR}:
            self._open(path, info, entry)
            return kind == tar.FOLDER
        if kind == tar.SYMLINK:
            entry.link = os.readlink(path)
        elif kind != tar.FIFO:
            entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        self._write(tar.encode(entry))
        return False

    def _open(self, path: bytes, info: os.stat_result, entry: Entry) -> None:
        """Write a file or a folder by its descriptor, which is what has content and attributes."""
        file = os.open(path, _FILE)
        try:
            if not os.path.samestat(os.fstat(file), info):
                return  # something else stands there now
            names = attributes.names(file)
            entry.xattrs = attributes.read(file, names)
            if self._noted:
                entry.uid, entry.gid = owners.owner(file, names) or (entry.uid, entry.gid)
            entry.size = left = info.st_size if entry.kind == tar.REGULAR else 0
            self._write(tar.encode(entry))
            while left:
                # What has become shorter meanwhile is filled up: its length is written already.
                data = os.read(file, min(left, _READ)) or bytes(min(left, _READ))
                left -= len(data)
                self._write(data)
            if padding := -entry.size % tar.BLOCK:
                self._write(tar.ZEROS[:padding])
        finally:
            os.close(file)


def _names(folder: bytes) -> list[bytes]:
    try:
        return os.listdir(folder)
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise
