"""COPY's hands: write files straight into the folder that becomes the layer, no mount needed.

The destination is looked up through all layers, so that a path through a symlink of the image
(`/var/run -> /run`) ends where a container would see it, and a folder that is there already is
written as itself (owner, mode, times), because an upper folder of overlayfs hides those of the lower.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posix
import stat

from tiffin.errors import InvalidArgument
from tiffin.layer import owners
from tiffin.store.overlay import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiffin.build.context import Entry
    from tiffin.store.overlay import Node

_SMALL = 1 << 17
_CHUNK = 1 << 26
_NO_RANGE = {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EBADF}


class _Folder:
    """A folder of the draft: its canonical path, its host path, and what lies below it in the layers."""

    __slots__ = ("host", "node", "path")

    def __init__(self, path: str, host: str, node: Node | None) -> None:
        self.path = path
        self.host = host
        self.node = node


class Copier:
    """Writes into one draft over some layers. Call `finish` at the end: folders' times are set there."""

    def __init__(
        self,
        draft: str,
        lower: Sequence[str],
        *,
        xattr: str,
        now_ns: int,
        owner: tuple[int, int] | None = None,
        mode: Callable[[int], int] | None = None,
    ) -> None:
        """`lower` are the folders of the layers, topmost first; `owner` None means 0:0."""
        self._lower = Stack(lower, xattr) if lower else None
        self._view = Stack((draft, *lower), xattr)
        self._now = now_ns
        self._owner = owner
        self._mode = mode
        self._times: dict[str, int] = {}
        self._closed: dict[str, int] = {}
        self._copied: dict[tuple[int, int], str] = {}
        root = self._lower.root() if self._lower else None
        self._root = _Folder("", draft, root)
        self._folders = {"": self._root}
        if root is not None:
            self._look_like(draft, root)
        else:
            self._times[draft] = now_ns

    # Where to

    def find(self, path: str) -> tuple[str, Node | None]:
        """Return where a path really is and what is there, in the draft or in the layers."""
        canonical, node = self._view.find(path)
        return canonical.strip("/"), node

    def folder(self, path: str) -> _Folder:
        """Return a folder of the draft by its canonical path; it and its parents are made where needed."""
        known = self._folders.get(path)
        if known is not None:
            return known
        above, _, name = path.rpartition("/")
        parent = self.folder(above)
        node = self._child(parent, name)
        host = f"{parent.host}/{name}"
        there = os.path.lexists(host)
        if (node is not None and not node.is_folder) or (there and not _is_folder(host)):
            message = f"cannot copy to non-directory: /{path}"
            raise InvalidArgument(message)
        made = _Folder(path, host, node)
        if there:  # an archive brought it
            self._folders[path] = made
            return made
        posix.mkdir(host, 0o755)
        if node is not None:
            self._look_like(host, node)
        else:
            uid, gid = self._owner or (0, 0)
            if uid or gid:
                owners.give(host, uid, gid)
            posix.chmod(host, 0o755)
            self._times[host] = self._now
        self._folders[path] = made
        return made

    def empty(self, path: str) -> bool:
        """Make the folder, and tell whether nothing is in it, here or in the layers.

        What is then put there by other hands (an archive's worker) sets the folder's looks as well.
        """
        folder = self.folder(path)
        if folder.node is not None or posix.listdir(folder.host):
            return False
        self._times.pop(folder.host, None)
        return True

    def _child(self, folder: _Folder, name: str) -> Node | None:
        if folder.node is None or self._lower is None:
            return None
        return self._lower.child(folder.node, name)

    def _look_like(self, host: str, node: Node) -> None:
        info = node.info
        if info.st_uid or info.st_gid:
            owners.give(host, info.st_uid, info.st_gid)
        self._permit(host, stat.S_IMODE(info.st_mode))
        place = node.places[0]
        for key in os.listxattr(place, follow_symlinks=False):
            if "overlay." not in key and key != "security.selinux":
                os.setxattr(host, key, os.getxattr(place, key, follow_symlinks=False))
        self._times[host] = info.st_mtime_ns

    # What

    def put_tree(self, entries: Sequence[Entry], path: str, *, links: bool = False) -> None:
        """Copy a scanned folder's contents into the folder with that canonical path.

        A destination that is there keeps its looks; one that is made has the source's. `links` makes
        hard links of the source's files, as they are (an archive that was unpacked for this only).
        """
        there = self.find(path)[1] is not None
        top = self.folder(path)
        if not there:
            self._dress(top.host, entries[0], links=links)
        into = {"": top}
        for entry in entries[1:]:
            above, _, name = entry.name.rpartition("/")
            parent = into.get(above)
            if parent is None:
                continue  # its folder was left out
            if stat.S_ISDIR(entry.info.st_mode):
                into[entry.name] = self._put_folder(entry, parent, name, links=links)
            else:
                self.put_file(entry, parent, name, links=links)

    def _put_folder(self, entry: Entry, parent: _Folder, name: str, *, links: bool) -> _Folder:
        path = f"{parent.path}/{name}" if parent.path else name
        known = self._folders.get(path)
        if known is None:
            real, node = self.find(path)
            if real != path and node is not None and node.is_folder:
                # The image has a symlink to a folder here: what is copied goes where it leads.
                return self.folder(real)
            known = self.folder(path)
        self._dress(known.host, entry, links=links)
        return known

    def put_file(self, entry: Entry, parent: _Folder, name: str, *, links: bool = False) -> None:
        """Copy a file or a symlink; what the image has there is replaced, unless it is a folder."""
        host = self._place(parent, name)
        info = entry.info
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1 or links:
            with contextlib.suppress(FileNotFoundError):
                posix.unlink(host)
        if links:
            os.link(entry.place, host, follow_symlinks=False)
            if self._owner:
                owners.give(host, *self._owner)
                if not stat.S_ISLNK(info.st_mode):
                    posix.chmod(host, stat.S_IMODE(info.st_mode))
        elif stat.S_ISLNK(info.st_mode):
            posix.symlink(entry.link, host)
            if self._owner:
                owners.give(host, *self._owner)
            posix.utime(host, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)
        elif stat.S_ISFIFO(info.st_mode):
            posix.mkfifo(host, 0o600)
            self._dress(host, entry, links=False)
        elif info.st_nlink > 1 and (info.st_dev, info.st_ino) in self._copied:
            os.link(self._copied[info.st_dev, info.st_ino], host)
        else:
            self._copy(entry, host)
            if info.st_nlink > 1:
                self._copied[info.st_dev, info.st_ino] = host

    def put_bytes(self, data: bytes, path: str) -> None:
        """Write a here-document's file, mode 0644."""
        above, _, name = path.rpartition("/")
        host = self._place(self.folder(above), name)
        descriptor = _create(host)
        try:
            _write(descriptor, data)
            self._finish_file(descriptor, 0o100644, self._now)
        finally:
            posix.close(descriptor)

    def _place(self, parent: _Folder, name: str) -> str:
        """Return the host path of a file; raise InvalidArgument if the image has a folder there."""
        path = f"{parent.path}/{name}" if parent.path else name
        host = f"{parent.host}/{name}"
        node = self._child(parent, name)
        if path in self._folders or (node is not None and node.is_folder):
            message = f"cannot replace to directory /{path} with file"
            raise InvalidArgument(message, hint="end the destination with / to copy into the folder")
        return host

    def _copy(self, entry: Entry, host: str) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        source = posix.open(entry.place, flags)
        try:
            descriptor = _create(host)
            try:
                _copy_bytes(source, descriptor, entry.info.st_size)
                self._finish_file(descriptor, entry.info.st_mode, entry.info.st_mtime_ns)
                # Last: a capability is lost by write and chown.
                for key, value in entry.attributes:
                    os.setxattr(descriptor, key, value)
            finally:
                posix.close(descriptor)
        finally:
            posix.close(source)

    def _finish_file(self, descriptor: int, st_mode: int, mtime_ns: int) -> None:
        if self._owner and self._owner != (0, 0):
            owners.give(descriptor, *self._owner)
        posix.fchmod(descriptor, self._mode(st_mode) if self._mode else stat.S_IMODE(st_mode))
        posix.utime(descriptor, ns=(mtime_ns, mtime_ns))

    def _dress(self, host: str, entry: Entry, *, links: bool) -> None:
        """Give a folder the source's mode and times, and its owner."""
        info = entry.info
        owner = self._owner or ((info.st_uid, info.st_gid) if links else (0, 0))
        owners.give(host, *owner)
        mode = self._mode(info.st_mode) if self._mode and not links else stat.S_IMODE(info.st_mode)
        self._permit(host, mode)
        self._times[host] = info.st_mtime_ns

    def _permit(self, folder: str, mode: int) -> None:
        """Give a folder a mode, one that we could not write into (not being root) only at the end."""
        self._closed.pop(folder, None)
        if mode & 0o700 != 0o700:
            self._closed[folder] = mode
        posix.chmod(folder, mode | 0o700)

    def finish(self) -> None:
        """Set times and the last modes of folders, after the last thing was put into them."""
        for host, mtime_ns in self._times.items():
            posix.utime(host, ns=(mtime_ns, mtime_ns))
        for host, mode in sorted(self._closed.items(), reverse=True):
            posix.chmod(host, mode)


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(posix.lstat(path).st_mode)


def _create(path: str) -> int:
    """Open a new file for writing; one that an earlier source of the same COPY left is replaced."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return posix.open(path, flags, 0o600)
    except FileExistsError:
        posix.unlink(path)
        return posix.open(path, flags, 0o600)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[posix.write(descriptor, data) :]


def _copy_bytes(source: int, target: int, size: int) -> None:
    if size <= _SMALL:
        data = posix.read(source, _SMALL)
        _write(target, data)
        if len(data) < _SMALL:
            return
    try:
        while os.copy_file_range(source, target, _CHUNK):
            pass
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
    # The end, where the kernel could not copy by itself (other file systems); nothing, where it could.
    while os.sendfile(target, source, None, _CHUNK):
        pass
