"""Entries become files below the current directory of a process that has confined itself (see worker).

All paths are relative bytes. Being confined is the caller's part; being right is this one's: what stands
in the way is replaced, missing folders are made, and what overlayfs needs of a layer is marked.

Where the process could not make the directory its root, this part keeps names in by itself: symbolic links
on the way to an entry are resolved by hand, as if the directory were the root, whenever the name is used (a
later entry may have put a link on the way). What the kernel then gets has no link on the way. Nobody else
writes into the directory meanwhile.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from tiffin.errors import Conflict, Corrupt, Forbidden, StorageFull, TiffinError, Unavailable
from tiffin.layer import attributes, owners, sparse, tar, whiteout
from tiffin.layer.limits import CHANGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from tiffin.layer.limits import Limits
    from tiffin.layer.lower import Lower
    from tiffin.layer.reader import TarReader
    from tiffin.layer.tar import Entry

    Made = TypeVar("Made")

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40
_ID_END = 0xFFFFFFFF  # the last 32-bit id means "leave it"
# Beyond this a time says nothing, and the kernel's calls overflow; docker writes 0 as well.
_TIME_END = (1 << 35) * tar.SECOND
_PERMANENT = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EROFS: StorageFull,
    errno.EPERM: Forbidden,
    errno.EACCES: Forbidden,
    errno.EIO: Unavailable,
    errno.ENOMEM: Unavailable,
    errno.EMFILE: Unavailable,
    errno.ENFILE: Unavailable,
}


class MissingTarget(Corrupt):
    """A hard link to what this layer doesn't hold; with its parents as `lower` it may work."""


def explain(error: OSError) -> TiffinError:
    """Translate what the kernel said about an entry into an outcome."""
    number = error.errno or 0
    return _PERMANENT.get(number, Corrupt)((error.strerror or str(error)).lower())


class Unpacker:
    """Puts entries into the current directory. `finish` must follow the last `add`.

    With `whiteouts`, names that begin with `.wh.` become overlayfs's marks; without, they are names, and
    the owner and mode of what exists already is never inherited. With `careful`, a folder never takes the
    place of something else, nor something else the place of a folder: that is a Conflict. With `whole` the
    archive is all of the folder that it goes into, and may say how that looks.
    """

    def __init__(
        self,
        reader: TarReader,
        *,
        xattr: str,
        whiteouts: bool,
        limits: Limits,
        lower: Lower | None = None,
        careful: bool = False,
        walled: bool = True,
        whole: bool = False,
    ) -> None:
        """Unpack what `reader` hands out; `walled` says that no name can lead out of this process's root."""
        self.entries = 0
        self.size = 0
        self._reader = reader
        self._xattr = xattr
        self._whiteouts = whiteouts
        self._limits = limits
        self._lower = lower
        self._careful = careful
        self._free = not walled
        self._top = b"/" if walled else b""
        self._whole = whole
        self._folders: dict[bytes, tuple[Entry, bool]] = {}
        self._implied: dict[bytes, None] = {}
        self._pending: list[Entry] = []
        self._aufs_links = False
        self._base = b""
        self._makers: dict[bytes, Callable[[Entry, bytes], None]] = {
            tar.REGULAR: self._regular,
            tar.FOLDER: self._folder,
            tar.SYMLINK: self._symlink,
            tar.LINK: self._link,
            tar.CHARACTER: self._device,
            tar.BLOCK_DEVICE: self._device,
            tar.FIFO: self._device,
        }

    @property
    def implied(self) -> list[bytes]:
        """Folders that no entry described, relative to this process's root, parents first; b"" is the top."""
        top = [b""] if self._whiteouts and b"." not in self._folders else []
        return top + sorted(path for path in self._implied if self._is_folder(self._top + path))

    def add(self, entry: Entry) -> None:
        """Make what an entry says; an error's message names the entry."""
        try:
            self._count(entry)
            if self._free and entry.path:
                entry.path = self._place_of(self._base + entry.path)
            path = entry.path
            if self._whiteouts and b".wh." in path and self._marked(path):
                return
            if not path and entry.kind != tar.FOLDER:
                raise Corrupt("it would replace the top folder")
            self._makers[entry.kind](entry, path)
        except TiffinError as error:
            raise error.at(f"entry {entry.text}")  # noqa: B904 - the same error, with its place
        except OSError as error:
            raise explain(error).at(f"entry {entry.text}") from error

    def finish(self) -> None:
        """Make the links whose targets came late, then give folders what must come last."""
        self._late_links()
        if self._aufs_links:
            self._clear(whiteout.AUFS_LINKS)
        for path in () if self._careful else filter(None, self.implied):
            os.utime(self._top + path, ns=(0, 0), follow_symlinks=False)
        # Setting a group's bit or a default ACL early would let files inherit it; times come last anyway.
        folders = list(reversed(self._folders.items()))
        if self._free:
            # The innermost first: who may not enter a folder cannot settle those in it.
            folders.sort(key=lambda item: -item[0].count(b"/") - bool(item[0] != b"."))
        for path, (entry, existed) in folders:
            try:
                self._settle_folder(path, entry, existed=existed)
            except TiffinError as error:
                raise error.at(f"entry {entry.text}")  # noqa: B904 - the same error, with its place
            except OSError as error:
                raise explain(error).at(f"entry {entry.text}") from error

    def enter(self, folder: bytes) -> None:
        """Put all entries below a folder of the root, made if need be; call it before the first `add`."""
        self.ensure(folder)
        if self._free:
            base = _within(folder)
            self._base = base + b"/" if base else b""
            return
        os.chdir(folder)
        self.stay()

    def stay(self) -> None:
        """Put all entries below the current directory, which need not be the root."""
        self._base = os.getcwdb().strip(b"/") + b"/"

    def ensure(self, folder: bytes) -> None:
        """Make a folder and those above it, through symbolic links, as docker does."""
        way = _within(folder) if self._free else posixpath.realpath(folder).strip(b"/")
        made = self._top
        for part in filter(None, way.split(b"/")):
            made += part
            try:
                os.mkdir(made, 0o755)
            except FileExistsError:
                status = os.lstat(made)
                if not stat.S_ISDIR(status.st_mode):
                    if not whiteout.is_whiteout(status):
                        raise Corrupt(f"{tar.show(b'/' + made.lstrip(b'/'))} is not a folder") from None
                    os.unlink(made)
                    os.mkdir(made, 0o755)
                    whiteout.make_opaque(made, self._xattr)
                    self._implied[made.lstrip(b"/")] = None
            else:
                self._implied[made.lstrip(b"/")] = None
            made += b"/"

    def _place_of(self, path: bytes) -> bytes:
        """Return a path without symbolic links on the way; with a wall around us, the kernel does that."""
        parent, slash, name = path.rpartition(b"/")
        if not slash or not self._free:
            return path
        parent = _within(parent)
        return parent + b"/" + name if parent else name

    def _is_folder(self, path: bytes) -> bool:
        """Tell whether a path of before still is a folder, by the same way."""
        try:
            return self._place_of(path) == path and stat.S_ISDIR(os.lstat(path).st_mode)
        except OSError:
            return False

    def _count(self, entry: Entry) -> None:
        self.entries += 1
        self.size += entry.size
        limits = self._limits
        if self.entries > limits.entries:
            raise Corrupt(f"the archive has more than {limits.entries} entries", hint=CHANGE)
        if self.size > limits.unpacked_bytes:
            message = f"the archive's files have more than {limits.unpacked_bytes} bytes"
            raise Corrupt(message, hint=CHANGE)
        if not (0 <= entry.uid < _ID_END and 0 <= entry.gid < _ID_END):
            raise Corrupt(f"no such owner: {entry.uid}:{entry.gid}")
        if not -_TIME_END < entry.mtime < _TIME_END:
            entry.mtime = 0

    def _regular(self, entry: Entry, path: bytes) -> None:
        mode = entry.mode
        first = mode & 0o777 | (0o600 if self._free else 0)
        try:
            file = os.open(path, _NEW, first)
        except OSError:
            file = self._place(path, lambda: os.open(path, _NEW, first))
        try:
            if entry.extents is None:
                self._write(file, entry.stored)
            else:
                self._write_sparse(file, entry, entry.extents)
            exact = self._free or not self._whiteouts
            if entry.uid or entry.gid or exact:
                owners.give(file, entry.uid, entry.gid)
            if self._free and entry.xattrs:  # while it may be written
                attributes.write(file, entry.xattrs)
            if mode & 0o7000 or exact:
                os.fchmod(file, mode & 0o7777)
            if not self._free and entry.xattrs:
                attributes.write(file, entry.xattrs)
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)

    def _write(self, file: int, left: int) -> None:
        piece_of = self._reader.piece
        while left:
            piece = piece_of()
            left -= len(piece)
            while piece:
                piece = piece[os.write(file, piece) :]

    def _write_sparse(self, file: int, entry: Entry, extents: list[tuple[int, int]]) -> None:
        sparse.check(extents, size=entry.size, stored=entry.stored)
        os.ftruncate(file, entry.size)
        kept = memoryview(b"")
        for offset, length in extents:
            os.lseek(file, offset, os.SEEK_SET)
            left = length
            while left:
                kept = kept or self._reader.piece()
                written = os.write(file, kept[:left])
                kept = kept[written:]
                left -= written

    def _folder(self, entry: Entry, path: bytes) -> None:
        if not path:
            # An archive that is added somewhere leaves that folder as it is; a layer describes its root.
            if self._whiteouts or self._whole:
                self._folders[b"."] = entry, True
            return
        existed = False
        mode = entry.mode & 0o1777 | (0o700 if self._free else 0)
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            status = os.lstat(path)
            existed = stat.S_ISDIR(status.st_mode)
            if not existed:
                if self._careful:
                    raise Conflict(self._overwriting("non-directory", path, "directory")) from None
                os.unlink(path)
                os.mkdir(path, mode)
                if whiteout.is_whiteout(status):
                    whiteout.make_opaque(path, self._xattr)
        except (FileNotFoundError, NotADirectoryError):
            self._place(path, lambda: os.mkdir(path, mode))
        if self._implied:
            self._implied.pop(path if self._free else self._base + path, None)
        self._folders[path] = entry, existed

    def _settle_folder(self, path: bytes, entry: Entry, *, existed: bool) -> None:
        if not self._is_folder(path):  # a later entry took its place
            return
        exact = existed or self._free or not self._whiteouts
        if entry.uid or entry.gid or exact:
            owners.give(path, entry.uid, entry.gid)
        if self._free and entry.xattrs:
            attributes.write(path, entry.xattrs)
        if entry.mode & 0o6000 or exact:
            os.chmod(path, entry.mode & 0o7777)
        if not self._free and entry.xattrs:
            attributes.write(path, entry.xattrs)
        os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)

    def _symlink(self, entry: Entry, path: bytes) -> None:
        if not entry.link:
            raise Corrupt("a symbolic link to nothing")
        try:
            os.symlink(entry.link, path)
        except OSError:
            self._place(path, lambda: os.symlink(entry.link, path))
        if entry.uid or entry.gid or not self._whiteouts:
            owners.give(path, entry.uid, entry.gid)
        os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)

    def _device(self, entry: Entry, path: bytes) -> None:
        mode, device = entry.mode & 0o777, 0
        if entry.kind == tar.FIFO:
            mode |= stat.S_IFIFO
        else:
            mode |= stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
            if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
                raise Corrupt(f"no such device: {entry.major}:{entry.minor}")
            device = os.makedev(entry.major, entry.minor)
            if entry.kind == tar.CHARACTER and not device:
                raise Corrupt("the character device 0:0 is overlayfs's mark for a deleted file")
        self._place(path, lambda: _make_node(path, mode, device))
        if entry.uid or entry.gid or not self._whiteouts:
            owners.give(path, entry.uid, entry.gid)
        if entry.mode & 0o7000:
            os.chmod(path, entry.mode & 0o7777)
        if entry.xattrs:
            attributes.write(path, entry.xattrs)
        os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)

    def _link(self, entry: Entry, path: bytes) -> None:
        entry.link = target = tar.clean(entry.link)
        if not self._try_link(target, path):
            self._pending.append(entry)

    def _try_link(self, target: bytes, path: bytes) -> bool:
        """Link, or tell that there is no target yet."""
        if self._free and target:
            target, path = self._place_of(self._base + target), self._place_of(path)
        try:
            status = os.lstat(target)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if whiteout.is_whiteout(status):
            return False
        if stat.S_ISDIR(status.st_mode):
            raise Corrupt(f"a hard link to the folder {tar.show(target)}")
        try:
            os.link(target, path, follow_symlinks=False)
        except OSError:
            try:
                if os.path.samestat(os.lstat(path), status):
                    return True
            except OSError:
                pass
            self._place(path, lambda: os.link(target, path, follow_symlinks=False))
        return True

    def _late_links(self) -> None:
        """Make the links that stood before their targets, then those into the layers below."""
        waiting = self._pending
        while waiting:
            left = []
            for entry in waiting:
                try:
                    if not self._try_link(entry.link, entry.path):
                        left.append(entry)
                except TiffinError as error:
                    raise error.at(f"entry {entry.text}")  # noqa: B904 - the same error, with its place
                except OSError as error:
                    raise explain(error).at(f"entry {entry.text}") from error
            if len(left) == len(waiting):
                self._copy_up(left[0])
            waiting = left

    def _copy_up(self, entry: Entry) -> None:
        """Bring a hard link's target up from a layer below, as overlayfs itself would."""
        found = self._lower.find(entry.link) if self._lower and entry.link else None
        if found is None:
            raise MissingTarget(
                f"entry {entry.text}: hard link to {tar.show(entry.link)}: no such file in this layer",
                hint="" if self._lower else "it may lie in a layer below",
            )
        folder, name, status = found
        try:
            copy = tar.Entry(
                self._place_of(entry.link),
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                mtime=status.st_mtime_ns,
                major=os.major(status.st_rdev),
                minor=os.minor(status.st_rdev),
            )
            if stat.S_ISREG(status.st_mode):
                self._copy_file(folder, name, copy)
                self.size += status.st_size
            elif stat.S_ISLNK(status.st_mode):
                copy.link = os.readlink(name, dir_fd=folder)
                self._symlink(copy, copy.path)
            else:
                kinds = {stat.S_IFCHR: tar.CHARACTER, stat.S_IFBLK: tar.BLOCK_DEVICE}
                copy.kind = kinds.get(stat.S_IFMT(status.st_mode), tar.FIFO)
                self._device(copy, copy.path)
        except OSError as error:
            raise explain(error).at(f"entry {entry.text}") from error
        finally:
            os.close(folder)

    def _copy_file(self, folder: int, name: bytes, copy: Entry) -> None:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            copy.xattrs = attributes.read(source, attributes.names(source))
            self._regular(copy, copy.path)
            target = os.open(copy.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while os.sendfile(target, source, None, 1 << 24):
                    pass
                if copy.mode & 0o7000:  # writing takes these bits and capabilities away
                    os.fchmod(target, copy.mode)
                if copy.xattrs:
                    attributes.write(target, copy.xattrs)
                os.utime(target, ns=(copy.mtime, copy.mtime))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _marked(self, path: bytes) -> bool:
        """Deal with a path that has a `.wh.` name in it; tell whether nothing else is to be done."""
        folder, _, name = path.rpartition(b"/")
        if path.startswith(whiteout.AUFS_LINKS):
            self._aufs_links = True
            return False
        for part in folder.split(b"/"):
            if part.startswith(whiteout.AUFS):
                return True
            if part.startswith(whiteout.PREFIX):
                raise Corrupt("it lies below a name that marks a deletion")
        if not name.startswith(whiteout.PREFIX):
            return False
        if name == whiteout.OPAQUE:
            if folder:
                try:
                    whiteout.make_opaque(folder, self._xattr)
                except (FileNotFoundError, NotADirectoryError):
                    self.ensure(folder)
                    whiteout.make_opaque(folder, self._xattr)
            else:
                whiteout.make_opaque(b".", self._xattr)
        elif not name.startswith(whiteout.AUFS):
            self._delete(folder + b"/" + whiteout.target(name) if folder else whiteout.target(name))
        return True

    def _delete(self, path: bytes) -> None:
        """Mark a name as deleted below; what this very layer has under the name stays (layer.md)."""
        try:
            whiteout.make_whiteout(path, self._xattr)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                whiteout.make_opaque(path, self._xattr)
        except (FileNotFoundError, NotADirectoryError):
            self.ensure(path.rpartition(b"/")[0])
            whiteout.make_whiteout(path, self._xattr)

    def _overwriting(self, old: str, path: bytes, new: str) -> str:
        top = "/" + os.fsdecode(self._base).rstrip("/")
        here = f"{top.rstrip('/')}/{os.fsdecode(path)}"
        return f'cannot overwrite {old} "{here}" with {new} "{top}"'

    def _place(self, path: bytes, make: Callable[[], Made]) -> Made:
        """Make something new at a path, after removing what is there and making the folders above."""
        try:
            return make()
        except FileExistsError:
            self._clear(path)
        except (FileNotFoundError, NotADirectoryError):
            parent = path.rpartition(b"/")[0]
            if not parent:
                raise
            self.ensure(parent)
        return make()

    def _clear(self, path: bytes) -> None:
        """Remove what a later entry replaces, whatever it is."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            if self._careful:
                raise Conflict(self._overwriting("directory", path, "non-directory")) from None
        else:
            return
        waiting = [path]
        emptied = []
        while waiting:
            folder = waiting.pop()
            emptied.append(folder)
            with os.scandir(folder) as listing:
                for child in listing:
                    if child.is_dir(follow_symlinks=False):
                        waiting.append(child.path)
                    else:
                        os.unlink(child.path)
        for folder in reversed(emptied):
            os.rmdir(folder)


def _make_node(path: bytes, mode: int, device: int) -> None:
    try:
        os.mknod(path, mode, device)
    except PermissionError:
        if stat.S_ISFIFO(mode):
            raise
        kind = "c" if stat.S_ISCHR(mode) else "b"
        owners.make_device(path, stat.S_IMODE(mode), kind, os.major(device), os.minor(device))


def _within(path: bytes) -> bytes:
    """Return a path without symbolic links, resolved as if the current directory were the root.

    What is not there is taken by its letters.
    """
    todo, done, links = path.split(b"/")[::-1], list[bytes](), 0
    while todo:
        part = todo.pop()
        if part in {b"", b"."}:
            continue
        if part == b"..":
            del done[-1:]
            continue
        done.append(part)
        try:
            target = os.readlink(b"/".join(done))
        except OSError:
            continue  # no link, or nothing
        links += 1
        if links > _LINKS:
            raise Corrupt(f"{tar.show(path)}: too many symbolic links")
        done = [] if target.startswith(b"/") else done[:-1]
        todo += target.split(b"/")[::-1]
    return b"/".join(done)
