"""Containers whose root is a copy of their stack of layers: for stores over which no overlay can be mounted.

`rootfs` holds what the stack shows and all that the container writes since. What it wrote is found by looking
at both, and told as the upper folder of an overlay would tell it, so that `diff`, commit and a build's steps
come out the same. What tells is the change time of each file as it was when the copy was made (the file
`copied` beside it): an untouched file costs one lstat, and a file that was touched counts as changed though
it has its old bytes, as with overlayfs, which has copied it up. Folders carry an attribute, which one that
was made anew does not have.

The container may run meanwhile, so nothing of it is reached by a path: every folder is opened from its parent
without following.
"""

from __future__ import annotations

import errno
import os
import posix
import stat

from tiffin.errors import Conflict, Corrupt
from tiffin.layer import attributes, whiteout
from tiffin.layer.duplicate import copy_bytes
from tiffin.spec.value import Value
from tiffin.store import atomic, copyup
from tiffin.store.overlay import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.store.overlay import Node

ROOT, INDEX = "rootfs", "copied"
_PARTIAL = "rootfs.part"
_SEPARATOR = b"\0"
CHANGED, ADDED, DELETED = "C", "A", "D"


class Found(Value):
    """One path that is not as in the stack: changed, added or deleted (docker's letters).

    `covered` says that a folder above hides whatever the layers have here; `opaque`, that this one does.
    """

    path: str
    kind: str
    info: os.stat_result | None = None
    opaque: bool = False
    covered: bool = False


def make(folder: str, below: Sequence[str], layers: str, xattr: str) -> None:
    """Copy a stack (names of folders below `layers`, topmost first) into a container's folder.

    The copy has its name when it is whole.
    """
    partial = f"{folder}/{_PARTIAL}"
    atomic.delete_tree(partial)  # of a process that was killed
    posix.mkdir(partial, 0o755)
    copyup.copy_tree(Stack([f"{layers}/{name}" for name in below], xattr), "/", partial)
    index = ["/".join(below), *(f"{time} {path}" for path, time in _stamp(partial, xattr))]
    atomic.write_file(f"{folder}/{INDEX}", _SEPARATOR.join(map(os.fsencode, index)), 0o600)
    posix.rename(partial, f"{folder}/{ROOT}")


def _stamp(top: str, xattr: str) -> Iterator[tuple[str, int]]:
    """Mark every folder and yield the change time of all there is, by path."""
    todo = [""]
    while todo:
        here = todo.pop()
        with os.scandir(f"{top}{here}") as entries:
            for entry in entries:
                path = f"{here}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    os.setxattr(entry.path, _mark(xattr), b"y")
                    todo.append(path)
                yield path, posix.lstat(entry.path).st_ctime_ns


def _mark(xattr: str) -> str:
    return f"{xattr}overlay.copied"


class Copied:
    """A container's folder that `make` has filled."""

    def __init__(self, folder: str, layers: str, xattr: str) -> None:
        """Read what was noted; raise Corrupt where that is gone."""
        self._top = f"{folder}/{ROOT}"
        self._xattr = xattr
        try:
            with open(f"{folder}/{INDEX}", "rb") as stream:
                below, *rows = stream.read().split(_SEPARATOR)
        except FileNotFoundError:
            message = f"{folder}: nothing says of which layers its files are a copy"
            raise Corrupt(message, hint="remove the container") from None
        self._below = Stack([f"{layers}/{name}" for name in os.fsdecode(below).split("/")], xattr)
        self._own = Stack([self._top], xattr)
        times = (row.partition(b" ")[::2] for row in rows)
        self._times = {os.fsdecode(path): int(time) for time, path in times}

    def changes(self) -> list[Found]:
        """Return all that is not as in the stack, parents first; folders with a change in them have one."""
        found: dict[str, Found] = {}
        folders: dict[str, os.stat_result] = {}
        todo: list[tuple[str, Node | None, bool]] = [("", self._below.root(), False)]
        while todo:
            path, node, covered = todo.pop()
            entries = self._entries(path)
            known = set(self._below.names(node)) if node and node.is_folder else set()
            for name in known - entries.keys():
                here = f"{path}/{name}"
                self._note(found, folders, Found(path=here, kind=DELETED, covered=covered))
            for name, info in entries.items():
                here = f"{path}/{name}"
                old = self._below.child(node, name) if node and name in known else None
                one = self._look(here, info, old, covered=covered)
                if one:
                    self._note(found, folders, one)
                if stat.S_ISDIR(info.st_mode):
                    folders[here] = info
                    todo.append((here, old, covered or bool(one and one.opaque)))
        return [found[path] for path in sorted(found)]

    def _look(self, path: str, info: os.stat_result, old: Node | None, *, covered: bool) -> Found | None:
        """Compare one entry with what the stack has there; None if it is the same."""
        kind = CHANGED if old else ADDED
        touched = self._times.get(path) != info.st_ctime_ns
        if stat.S_ISDIR(info.st_mode):
            same = old is not None and old.is_folder and (not touched or self._is_marked(path))
            if covered or not same:
                opaque = old is not None and not covered
                return Found(path=path, kind=kind, info=info, opaque=opaque, covered=covered)
            return Found(path=path, kind=kind, info=info) if touched else None
        if old and not covered and not (touched and not self._lost_a_name(path, info, old)):
            return None
        return Found(path=path, kind=kind, info=info, covered=covered)

    def _lost_a_name(self, path: str, info: os.stat_result, old: Node) -> bool:
        """Tell whether all that happened to a file is that another of its names was removed."""
        before = old.info
        if info.st_nlink >= before.st_nlink or stat.S_IFMT(info.st_mode) != stat.S_IFMT(before.st_mode):
            return False
        looks = [(i.st_mode, i.st_uid, i.st_gid, i.st_size, i.st_mtime_ns) for i in (info, before)]
        return looks[0] == looks[1] and path in self._times

    def _note(self, found: dict[str, Found], folders: dict[str, os.stat_result], one: Found) -> None:
        found[one.path] = one
        parent = one.path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = Found(path=parent, kind=CHANGED, info=folders[parent])
            parent = parent.rpartition("/")[0]

    def _entries(self, path: str) -> dict[str, os.stat_result]:
        folder = self._own.open_place(f"{self._top}{path}")
        if folder is None:
            return {}
        found = {}
        try:
            for name in posix.listdir(folder):
                try:
                    found[name] = posix.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue
        finally:
            posix.close(folder)
        return found

    def _is_marked(self, path: str) -> bool:
        folder = self._own.open_place(f"{self._top}{path}")
        if folder is None:
            return False
        try:
            return os.getxattr(folder, _mark(self._xattr)) == b"y"
        except OSError:
            return False
        finally:
            posix.close(folder)

    def size(self) -> int:
        """Return the bytes of what was written, as `atomic.tree_size` counts them."""
        inodes = {}
        for one in self.changes():
            if one.info and not stat.S_ISDIR(one.info.st_mode):
                inodes[one.info.st_dev, one.info.st_ino] = one.info.st_size
        return sum(inodes.values())

    def fill(self, upper: str) -> None:
        """Copy what was written into an empty folder, as the upper folder of an overlay.

        Raises Conflict if something changes meanwhile.
        """
        links: dict[tuple[int, int], str] = {}
        folders: list[tuple[Found, str]] = []
        for one in self.changes():
            target = f"{upper}{one.path}"
            if one.info is None:
                if not one.covered:
                    whiteout.make_whiteout(target, self._xattr)
            elif stat.S_ISDIR(one.info.st_mode):
                posix.mkdir(target, 0o700)
                if one.opaque:
                    whiteout.make_opaque(target, self._xattr)
                folders.append((one, target))
            elif not stat.S_ISSOCK(one.info.st_mode):  # no layer holds one
                self._bring(one.path, one.info, target, links)
        for one, target in reversed(folders):
            if one.info:
                self._dress(self._open(one.path, one.info), one.info, target)
        info = posix.stat(self._top)
        posix.chown(upper, info.st_uid, info.st_gid)
        posix.chmod(upper, stat.S_IMODE(info.st_mode))

    def _bring(self, path: str, info: os.stat_result, target: str, links: dict[tuple[int, int], str]) -> None:
        key = (info.st_dev, info.st_ino)
        if key in links:
            posix.link(links[key], target, follow_symlinks=False)
            return
        links[key] = target
        if stat.S_ISREG(info.st_mode):
            source = self._open(path, info)
            out = posix.open(
                target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                copy_bytes(source, out)
            finally:
                posix.close(out)
            self._dress(source, info, target)
            return
        if stat.S_ISLNK(info.st_mode):
            posix.symlink(self._text(path), target)
        else:
            posix.mknod(target, info.st_mode, info.st_rdev)
        self._dress(-1, info, target)

    def _text(self, path: str) -> str:
        """Return the text of a symbolic link."""
        parent, _, name = path.rpartition("/")
        folder = self._own.open_place(f"{self._top}{parent}")
        if folder is None:
            raise _changed(path)
        try:
            return posix.readlink(name, dir_fd=folder)
        except OSError:
            raise _changed(path) from None
        finally:
            posix.close(folder)

    def _open(self, path: str, info: os.stat_result) -> int:
        file = self._own.open_place(f"{self._top}{path}")
        if file is None:
            raise _changed(path)
        if not os.path.samestat(posix.fstat(file), info):
            posix.close(file)
            raise _changed(path)
        return file

    def _dress(self, source: int, info: os.stat_result, target: str) -> None:
        """Give a copy the owner, mode, attributes and times of its original; close that."""
        posix.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            posix.chmod(target, stat.S_IMODE(info.st_mode))
        if source >= 0:
            try:
                now = posix.fstat(source)
                if (now.st_mtime_ns, now.st_size) != (info.st_mtime_ns, info.st_size):
                    raise _changed(target.rpartition("/")[2])
                _copy_attributes(source, target)
            finally:
                posix.close(source)
        posix.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def _copy_attributes(source: int, target: str) -> None:
    for name in map(os.fsdecode, attributes.names(source)):
        if ".overlay." in name:
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name), follow_symlinks=False)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EPERM}:
                raise


def _changed(path: str) -> Conflict:
    return Conflict(f"{path} changed while it was read")
