"""The merged view of a stack as one tar: what a container sees, without mounting anything.

Entries come parents first, names sorted; hard links stay links; times, owners, modes and the attributes
that belong to files are kept. Sockets are left out. The stack's top may be the upper folder of a running
container: a file that goes is left out, one that shrinks while it is read is filled up with zeros.
"""

from __future__ import annotations

import os
import posix
import stat

from tiffin.layer import attributes, tar
from tiffin.layer.tar import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.store.overlay import Node, Stack

_READ = 1 << 20
_KINDS = {
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}


def write_tar(stack: Stack, write: Callable[[bytes], object]) -> None:
    """Write everything that a stack shows; the root folder itself is not an entry."""
    links: dict[tuple[int, int], bytes] = {}
    for path, node in stack.walk("/"):
        if path != "/":
            _write_entry(stack, os.fsencode(path[1:]), node, links, write)
    write(tar.END)


def _write_entry(
    stack: Stack,
    path: bytes,
    node: Node,
    links: dict[tuple[int, int], bytes],
    write: Callable[[bytes], object],
) -> None:
    info = node.info
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFSOCK:
        return
    entry = Entry(path, mode=stat.S_IMODE(info.st_mode), uid=info.st_uid, gid=info.st_gid)
    entry.mtime = info.st_mtime_ns
    if kind in _KINDS:
        entry.kind = _KINDS[kind]
    if node.is_folder:
        entry.kind, entry.name = tar.FOLDER, path + b"/"
    elif info.st_nlink > 1:
        first = links.setdefault((info.st_dev, info.st_ino), path)
        if first is not path:
            entry.kind, entry.link = tar.LINK, first
            write(tar.encode(entry))
            return
    if kind == stat.S_IFLNK:
        try:
            entry.link = posix.readlink(os.fsencode(node.places[0]))
        except OSError:
            return  # it went, or became something else
    elif kind in {stat.S_IFCHR, stat.S_IFBLK}:
        entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    elif kind in {stat.S_IFREG, stat.S_IFDIR}:
        _write_open(stack, node, entry, write)
        return
    write(tar.encode(entry))


def _write_open(stack: Stack, node: Node, entry: Entry, write: Callable[[bytes], object]) -> None:
    """Write a file or a folder by its open descriptor, which is what has content and attributes."""
    descriptor = stack.open_place(node.places[0])
    if descriptor is None:
        return
    try:
        if stat.S_IFMT(posix.fstat(descriptor).st_mode) != stat.S_IFMT(node.info.st_mode):
            return
        entry.xattrs = attributes.read(descriptor, attributes.names(descriptor))
        if not node.is_folder:
            entry.size = posix.fstat(descriptor).st_size
        write(tar.encode(entry))
        left = entry.size
        while left:
            data = posix.read(descriptor, min(left, _READ)) or bytes(min(left, _READ))
            left -= len(data)
            write(data)
        if padding := -entry.size % tar.BLOCK:
            write(tar.ZEROS[:padding])
    finally:
        posix.close(descriptor)
