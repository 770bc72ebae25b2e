"""The files of an image archive by name: of a tar that can be read anywhere, or of a folder.

A tar is indexed once and then read in place. What cannot be read in place, a pipe or a compressed
tar, is first written out to a file that the caller names and that has no name any more once it is open.
"""

from __future__ import annotations

import hashlib
import os
import posix
import stat

from tiffin.errors import Corrupt, InvalidArgument, NotFound, StorageFull, Unsupported
from tiffin.layer import tar
from tiffin.layer.compression import HEAD, Decompressor, sniff
from tiffin.layer.reader import TarReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Protocol

    from tiffin.layer.limits import Limits
    from tiffin.spec.blob import BlobReader
    from tiffin.spec.descriptor import Descriptor

    class Members(Protocol):
        """What is in an archive, by relative path."""

        def size(self, path: str) -> int:
            """Return a file's length in bytes; -1 if there is no such file."""

        def open(self, path: str) -> MemberReader:
            """Open a file; raise NotFound if there is none."""

        def close(self) -> None:
            """Close what is open."""


_BLOCK = 1 << 16
_PIECE = 1 << 20
_ENTRIES = 200_000
"""Members of one archive: far more than any image has layers."""
_HOPS = 16
SMALL = 8 << 20
"""The most that is read of a file that has to be understood: manifest.json, index.json, a config."""


class MemberReader:
    """A piece of an open file, read without moving anybody's position."""

    def __init__(self, file: int, start: int, size: int, *, owned: bool = False) -> None:
        """Read `size` bytes from `start`; an `owned` file is closed with the reader."""
        self._file = file
        self._at = start
        self._left = size
        self._owned = owned

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes (the rest, with -1), b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        piece = posix.pread(self._file, min(size, self._left), self._at)
        if not piece and self._left and size:
            message = "the archive was cut short while it was read"
            raise Corrupt(message)
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Close the file, if it is this reader's own."""
        if self._owned:
            posix.close(self._file)
            self._owned = False


class Verified:
    """A reader whose last read raises Corrupt if the bytes are not the descriptor's."""

    def __init__(self, reader: BlobReader, descriptor: Descriptor) -> None:
        """Wrap a reader of exactly the descriptor's size."""
        self._reader = reader
        self._left = descriptor.size
        self._digest = descriptor.digest
        self._hash = hashlib.new(descriptor.digest.partition(":")[0])

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes (the rest, with -1), b"" at the verified end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        piece = self._reader.read(min(size, self._left))
        self._hash.update(piece)
        self._left -= len(piece)
        if self._left == 0 and self._hash.hexdigest() != self._digest.partition(":")[2]:
            message = f"archive: {self._digest} has other bytes than its name says"
            raise Corrupt(message, hint="the archive is damaged; save or download it again")
        return piece

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


class TarMembers:
    """The regular files of a tar, links to them followed within the archive."""

    def __init__(self, file: int, start: int = 0) -> None:
        """Index the tar that begins at `start` of an open regular file, which is this object's to close.

        Raises Corrupt for what is no tar, or for one that ends too early, names things outside of
        itself or has more members than any image.
        """
        self._file = file
        self._end = posix.fstat(file).st_size
        self._files: dict[bytes, tuple[int, int]] = {}
        self._links: dict[bytes, bytes] = {}
        try:
            self._index(start)
        except BaseException:
            posix.close(file)
            raise

    def _index(self, start: int) -> None:
        at = start

        def chunk() -> bytes:
            nonlocal at
            data = posix.pread(self._file, _BLOCK, at)
            at += len(data)
            return data

        def skip(size: int) -> None:
            nonlocal at
            at += size

        reader = TarReader(chunk, skip=skip)
        for count, entry in enumerate(reader):
            if count >= _ENTRIES:
                message = f"archive: more than {_ENTRIES} members"
                raise Corrupt(message)
            if entry.kind == tar.REGULAR:
                offset = start + reader.offset
                if entry.extents is not None:
                    message = f"archive: {entry.text} is a sparse file"
                    raise Unsupported(message)
                if offset + entry.size > self._end:
                    message = f"archive: unexpected end in {entry.text}"
                    raise Corrupt(message, hint="it was cut short; save or download it again")
                self._files[entry.path] = (offset, entry.size)
                self._links.pop(entry.path, None)
            elif entry.kind in {tar.LINK, tar.SYMLINK}:
                self._links[entry.path] = _target(entry)
                self._files.pop(entry.path, None)

    def size(self, path: str) -> int:
        """Return a file's length in bytes; -1 if there is no such file."""
        found = self._find(path)
        return -1 if found is None else found[1]

    def open(self, path: str) -> MemberReader:
        """Open a file; raise NotFound if there is none."""
        found = self._find(path)
        if found is None:
            message = f"archive: no file {tar.show(_bytes(path))}"
            raise NotFound(message)
        return MemberReader(self._file, *found)

    def close(self) -> None:
        """Close the tar."""
        if self._file >= 0:
            posix.close(self._file)
            self._file = -1

    def _find(self, path: str) -> tuple[int, int] | None:
        key = tar.clean(_bytes(path))
        for _ in range(_HOPS):
            if key not in self._links:
                return self._files.get(key)
            key = self._links[key]
        message = f"archive: {tar.show(key)} is a link in a circle"
        raise Corrupt(message)


class FolderMembers:
    """The regular files of a folder; symbolic links in it are not followed."""

    def __init__(self, path: str) -> None:
        """Open the folder; raise NotFound or InvalidArgument if it is none."""
        try:
            self._folder = posix.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            kind = NotFound if isinstance(error, FileNotFoundError) else InvalidArgument
            message = f"open {path}: {(error.strerror or '').lower()}"
            raise kind(message) from error

    def size(self, path: str) -> int:
        """Return a file's length in bytes; -1 if there is no such file."""
        file = self._open(path)
        if file < 0:
            return -1
        try:
            return posix.fstat(file).st_size
        finally:
            posix.close(file)

    def open(self, path: str) -> MemberReader:
        """Open a file; raise NotFound if there is none."""
        file = self._open(path)
        if file < 0:
            message = f"archive: no file {tar.show(_bytes(path))}"
            raise NotFound(message)
        return MemberReader(file, 0, posix.fstat(file).st_size, owned=True)

    def close(self) -> None:
        """Close the folder."""
        if self._folder >= 0:
            posix.close(self._folder)
            self._folder = -1

    def _open(self, path: str) -> int:
        """Open part by part, each without following a link; -1 for whatever is not there or no file."""
        *folders, name = tar.clean(_bytes(path)).split(b"/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        at = posix.dup(self._folder)
        try:
            for part in folders:
                below = posix.open(part, flags | os.O_DIRECTORY, dir_fd=at)
                posix.close(at)
                at = below
            # Without O_NONBLOCK a FIFO would hold us for ever.
            file = posix.open(name, flags | os.O_NONBLOCK, dir_fd=at)
        except OSError:
            return -1
        finally:
            posix.close(at)
        if stat.S_ISREG(posix.fstat(file).st_mode):
            return file
        posix.close(file)
        return -1


def _bytes(path: str) -> bytes:
    """Return a path out of JSON as a tar would have it; JSON can say what UTF-8 cannot."""
    return path.encode("utf-8", "surrogatepass")


def _target(entry: tar.Entry) -> bytes:
    """Return the path within the archive that a link names; raise Corrupt where it leads out."""
    if entry.kind == tar.LINK:
        return tar.clean(entry.link)
    folder = entry.path.rpartition(b"/")[0]
    if entry.link.startswith(b"/"):
        message = f"archive: {entry.text} links to {tar.show(entry.link)}, outside of the archive"
        raise Corrupt(message)
    return tar.clean(folder + b"/" + entry.link)


def read_small(members: Members, path: str, limit: int = SMALL) -> bytes:
    """Return a whole file that has to be understood; raise NotFound, or Corrupt if it is too long."""
    size = members.size(path)
    if size > limit:
        message = f"archive: {tar.show(_bytes(path))} of {size} bytes is too long"
        raise Corrupt(message)
    reader = members.open(path)
    try:
        return reader.read()
    finally:
        reader.close()


def open_tar(stream: BinaryIO, spool: str, limits: Limits) -> TarMembers:
    """Index a tar, compressed or not, that comes from a file or a pipe.

    `spool` is a path that does not exist: what cannot be read in place is written there, to a file
    without a name by the time this returns. The stream stays the caller's to close.
    """
    place = _in_place(stream)
    if place is not None:
        file, start = place
        if not sniff(posix.pread(file, HEAD, start)):
            return TarMembers(file, start)
        posix.close(file)
    return TarMembers(_spool(stream, spool, limits))


def _in_place(stream: BinaryIO) -> tuple[int, int] | None:
    """Return a duplicate of the stream's file and its position, None if it is no regular file."""
    try:
        file, start = stream.fileno(), stream.tell()
    except (OSError, AttributeError, ValueError):
        return None
    if not stat.S_ISREG(posix.fstat(file).st_mode):
        return None
    return posix.dup(file), start


def _spool(stream: BinaryIO, path: str, limits: Limits) -> int:
    """Write the unpacked stream to a nameless file; return it, positioned anywhere."""
    try:
        file = posix.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        posix.unlink(path)
    except OSError as error:
        raise _full(path, error) from error
    try:
        _unpack(stream, file, limits)
    except OSError as error:
        posix.close(file)
        raise _full(path, error) from error
    except BaseException:
        posix.close(file)
        raise
    return file


def _unpack(stream: BinaryIO, file: int, limits: Limits) -> None:
    head = b""
    while len(head) < HEAD and (data := stream.read(_PIECE)):
        head += data
    decompressor = Decompressor(sniff(head))
    taken = written = 0
    data = head
    while data:
        taken += len(data)
        for piece in decompressor.pieces(data):
            written += len(piece)
            limits.check(written, taken)
            _write(file, piece)
        data = stream.read(_PIECE)
    decompressor.finish()


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[posix.write(file, view) :]


def _full(path: str, error: OSError) -> StorageFull:
    message = f"unpack to {path}: {(error.strerror or str(error)).lower()}"
    return StorageFull(message, hint="make room there, or unpack the archive elsewhere and load that file")
