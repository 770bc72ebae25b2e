"""A tar as a stream of entries: pulls unpacked bytes, hands out entries and their content, never seeks.

Whoever wants to look into a tar in its own process (an image archive, a build context's listing) uses
this; whoever wants files on disk uses `apply`, which runs it in a confined process.
"""

from __future__ import annotations

from zlib import adler32

from tiffin.errors import Corrupt, Unsupported
from tiffin.layer import tar
from tiffin.layer.sparse import gnu_extents, pax_extents, pax_extents_in_data
from tiffin.layer.tar import BLOCK, ZEROS, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXTENSION_LIMIT = 1 << 20
"""Bytes of one extended header or long name; more is hostile (Go's reader has the same limit)."""

_WITH_DATA = frozenset({tar.REGULAR, tar.CONTIGUOUS, tar.GNU_SPARSE})
_KINDS = _WITH_DATA | {tar.LINK, tar.SYMLINK, tar.CHARACTER, tar.BLOCK_DEVICE, tar.FOLDER, tar.FIFO}
_EXTENSIONS = frozenset({tar.PAX, tar.PAX_SOLARIS, tar.PAX_GLOBAL, tar.GNU_NAME, tar.GNU_LINK})
_NAME_MAX = 4096
_NOTHING: dict[bytes, bytes] = {}


class TarReader:
    """Iterates over the entries; `piece` hands out the current entry's content, unread content is skipped.

        for entry in TarReader(stream_of_chunks):
            while piece := reader.piece(): ...

    Raises Corrupt, naming the entry, for whatever is not a tar.
    """

    def __init__(
        self,
        chunk: Callable[[], bytes],
        *,
        name_max: int = _NAME_MAX,
        skip: Callable[[int], object] | None = None,
    ) -> None:
        """Read from `chunk`, which returns the next unpacked bytes and b"" at the end.

        `skip`, if given, passes over so many bytes of unwanted content without reading them; whether
        they are all there is then for the caller to check.
        """
        self._chunk = chunk
        self._skip_ahead = skip
        self._received = 0
        self._buffer = b""
        self._view = memoryview(b"")
        self._position = 0
        self._left = 0  # bytes of the current entry's stored content not handed out yet
        self._padding = 0
        self._name_max = name_max
        self._numbers: dict[bytes, int] = {}
        self._last: bytes | None = None
        self.entry: Entry | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries until the end of the archive."""
        while True:
            entry = self.next()
            if entry is None:
                return
            yield entry

    def next(self) -> Entry | None:
        """Return the next entry, None behind the last."""
        if self._left or self._padding:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        fields = self._header()
        said = _NOTHING
        if fields and fields[7] in _EXTENSIONS:
            fields, said = self._extensions(fields)
        if not fields:
            self.entry = None
            return None
        entry = self._parse(fields)
        if said:
            _extend(entry, said)
        self._settle(entry)
        if b"GNU.sparse.major" in said:
            self._sparse_in_data(entry)
        self.entry = entry
        self._last = entry.path
        return entry

    def piece(self) -> memoryview:
        """Return more of the current entry's stored content, empty at its end; valid until the next call."""
        left = self._left
        if not left:
            return self._view[:0]
        position = self._position
        if position == len(self._buffer):
            if not self._refill():
                raise Corrupt(f"entry {self._where()}: unexpected end of the archive in its content")
            position = 0
        end = min(position + left, len(self._buffer))
        self._position = end
        self._left = left - (end - position)
        return self._view[position:end]

    def read(self) -> bytes:
        """Return the rest of the current entry's stored content; for small files only."""
        parts = []
        while piece := self.piece():
            parts.append(bytes(piece))
        return b"".join(parts)

    @property
    def offset(self) -> int:
        """Where in the unpacked stream the next byte is: after `next`, where the entry's content begins."""
        return self._received - len(self._buffer) + self._position

    def drain(self) -> None:
        """Read what stands behind the archive's end, so that digests are of the whole stream."""
        while self._refill():
            pass

    def _where(self) -> str:
        return "the beginning" if self._last is None else tar.show(self._last)

    def _refill(self) -> bool:
        self._buffer = self._chunk()
        self._view = memoryview(self._buffer)
        self._position = 0
        self._received += len(self._buffer)
        return bool(self._buffer)

    def _take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        position = self._position
        end = position + size
        if end <= len(self._buffer):
            self._position = end
            return self._buffer[position:end]
        parts = [self._buffer[position:]]
        have = len(parts[0])
        while have < size and self._refill():
            take = self._buffer[: size - have]
            self._position = len(take)
            parts.append(take)
            have += len(take)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while True:
            there = len(self._buffer) - self._position
            if size <= there:
                self._position += size
                return
            size -= there
            if self._skip_ahead is not None:
                self._buffer, self._position = b"", 0
                self._skip_ahead(size)
                self._received += size
                return
            if not self._refill():
                raise Corrupt(f"entry {self._where()}: unexpected end of the archive in its content")

    def _header(self) -> tuple[bytes, ...]:
        """Return the fields of the next header, its checksum verified; () at the end of the archive."""
        position = self._position
        end = position + BLOCK
        if end <= len(self._buffer):
            self._position = end
            block: bytes | memoryview = self._view[position:end]
        else:
            block = self._take(BLOCK)
            if len(block) < BLOCK:
                if bytes(block).strip(b"\0"):
                    raise Corrupt(f"tar: unexpected end after {self._where()}")
                return ()
        fields = tar.FIELDS.unpack(block)
        declared = fields[6]
        # What tar.checksum computes, modulo 65521 and without copies: this runs 20,000 times a layer.
        total = (adler32(block) & 0xFFFF) - (adler32(declared) & 0xFFFF) + 256
        try:
            right = (total - tar.number(declared)) % 65521 == 0
        except Corrupt:
            right = False
        return fields if right else self._unusual(bytes(block), fields)

    def _unusual(self, block: bytes, fields: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Tell the archive's end and a very old checksum from garbage."""
        if block == ZEROS:
            # Two blocks of zeros end an archive. One and then nothing is common, one and then more is not.
            if self._take(BLOCK).strip(b"\0"):
                raise Corrupt(f"tar: garbage after {self._where()}")
            return ()
        if fields[6].strip(b"\0 ").isdigit() and tar.number(fields[6]) == _signed_checksum(block):
            return fields
        raise Corrupt(f"tar: garbage instead of a header after {self._where()}")

    def _extensions(self, fields: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], dict[bytes, bytes]]:
        """Read the headers that extend the next one; return that one, and what they say as PAX records."""
        said: dict[bytes, bytes] = {}
        while fields and (kind := fields[7]) in _EXTENSIONS:
            size = tar.number(fields[4])
            if not 0 <= size <= EXTENSION_LIMIT:
                raise Corrupt(f"tar: an extended header of {size} bytes after {self._where()}")
            body = self._take(size + -size % BLOCK)
            if len(body) < size:
                raise Corrupt(f"tar: unexpected end after {self._where()}")
            body = body[:size]
            # What a global header says is ignored by docker, so it is here.
            if kind in {tar.PAX, tar.PAX_SOLARIS}:
                said.update(tar.pax_records(body))
            elif kind == tar.GNU_NAME:
                said.setdefault(b"path", body.partition(b"\0")[0])
            elif kind == tar.GNU_LINK:
                said.setdefault(b"linkpath", body.partition(b"\0")[0])
            fields = self._header()
        if not fields and said:
            raise Corrupt(f"tar: unexpected end after {self._where()}")
        return fields, said

    def _parse(self, fields: tuple[bytes, ...]) -> Entry:
        name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, _, major, minor, prefix, more = fields
        name = name.partition(b"\0")[0]
        if prefix[0] and magic == b"ustar\0":
            name = prefix.partition(b"\0")[0] + b"/" + name
        known = self._numbers
        entry = Entry.__new__(Entry)
        entry.name = name
        entry.kind = kind
        entry.size = entry.stored = tar.number(size)
        try:
            entry.mode = known[mode]
            entry.uid = known[uid]
            entry.gid = known[gid]
            entry.mtime = known[mtime] * tar.SECOND
        except KeyError:
            entry.mode, entry.uid, entry.gid = self._number(mode), self._number(uid), self._number(gid)
            entry.mtime = self._number(mtime) * tar.SECOND
        entry.link = link.partition(b"\0")[0] if link[0] else b""
        entry.xattrs = entry.extents = None
        entry.major = entry.minor = 0
        if kind == tar.CHARACTER or kind == tar.BLOCK_DEVICE:  # noqa: PLR1714 - half the price of a set
            entry.major = tar.number(major)
            entry.minor = tar.number(minor)
        elif kind == tar.GNU_SPARSE:
            entry.extents, entry.size = gnu_extents(prefix + more, lambda: self._take(BLOCK))
        elif kind == b"\0":
            entry.kind = tar.REGULAR
        return entry

    def _number(self, field: bytes) -> int:
        """Read a number that is likely to come again."""
        if len(self._numbers) > 4096:
            self._numbers.clear()
        value = self._numbers[field] = tar.number(field)
        return value

    def _settle(self, entry: Entry) -> None:
        """Check the parts against each other and begin the content."""
        kind, name = entry.kind, entry.name
        if len(name) > self._name_max or len(entry.link) > self._name_max:
            raise Corrupt(f"entry {tar.show(name[:200])}: its name has more than {self._name_max} bytes")
        if kind not in _KINDS:
            raise Unsupported(f"entry {tar.show(name)}: tar entries of type {tar.show(kind)} are not known")
        entry.path = tar.clean(name)
        if not name:
            raise Corrupt(f"tar: an entry without a name after {self._where()}")
        if b"\0" in entry.link:
            raise Corrupt(f"entry {entry.text}: its link holds a NUL")
        if kind in _WITH_DATA and not (kind == tar.REGULAR and name.endswith(b"/")):
            if entry.stored < 0 or entry.size < 0:
                raise Corrupt(f"entry {entry.text}: a size of {entry.size} bytes")
            self._left = entry.stored
            self._padding = -entry.stored % BLOCK
            entry.kind = tar.REGULAR
            return
        if kind == tar.REGULAR:  # a folder, as archives before ustar wrote it
            entry.kind = tar.FOLDER
        entry.size = entry.stored = 0  # whatever is claimed: these kinds have no content

    def _sparse_in_data(self, entry: Entry) -> None:
        """Read the map of a sparse file of PAX format 1.0, which stands in front of its data."""
        before = self._left

        def take(size: int) -> bytes:
            taken = self._take(min(size, self._left))
            self._left -= len(taken)
            return taken

        entry.extents = pax_extents_in_data(lambda: take(BLOCK))
        entry.stored -= before - self._left


def _signed_checksum(block: bytes) -> int:
    """Return the sum as some very old tars computed it, over signed bytes."""
    high = sum(1 for byte in block[:148] + block[156:] if byte > 127)
    return tar.checksum(block) - 256 * high


def _extend(entry: Entry, said: dict[bytes, bytes]) -> None:
    """Let PAX records replace what the header says; an empty one replaces nothing."""
    entry.name = said.get(b"path") or entry.name
    entry.link = said.get(b"linkpath") or entry.link
    if value := said.get(b"mtime"):
        entry.mtime = tar.pax_time(value)
    if value := said.get(b"size"):
        entry.size = entry.stored = tar.pax_number(value, "size")
    if value := said.get(b"uid"):
        entry.uid = tar.pax_number(value, "uid")
    if value := said.get(b"gid"):
        entry.gid = tar.pax_number(value, "gid")
    xattrs = {tar.xattr_name(key): value for key, value in said.items() if key.startswith(tar.XATTR)}
    entry.xattrs = xattrs or None
    # GNU's sparse files: the header has a made-up name and the size of what is stored.
    entry.name = said.get(b"GNU.sparse.name") or entry.name
    if value := said.get(b"GNU.sparse.realsize") or said.get(b"GNU.sparse.size"):
        entry.size = tar.pax_number(value, "GNU.sparse.size")
    if value := said.get(b"GNU.sparse.map"):
        entry.extents = pax_extents(value)
