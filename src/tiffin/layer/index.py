"""A layer's index: what its tar would say, with a digest for each file, in a form that is quickly read.

Rows are in the order of the tar, deletions and opaque marks among them. The format has a version: an index of
another one, or one whose bytes are not those that were written, is none and is made again from the layer.
"""

from __future__ import annotations

import hashlib
import os

from tiffin.errors import Corrupt
from tiffin.layer import tar, whiteout
from tiffin.layer.diff import Serializer
from tiffin.spec import digest as digests
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.layer.tar import Entry

VERSION = 1
_MAGIC = b"tiffin-index"

FILE, LINK, SYMLINK, FOLDER = (kind.decode() for kind in (tar.REGULAR, tar.LINK, tar.SYMLINK, tar.FOLDER))
GONE, OPAQUE = "gone", "opaque"

Row = tuple[str, str, int, int, int, int, str, str]
"""Path ("" is the top), kind (of tar, GONE or OPAQUE), mode, uid, gid, size, what it holds, attributes.

What a file holds is its sha256, a link its target, a device its numbers; all else is of the first name for a
hard link. Attributes are JSON of their names and hexadecimal values, "" for none.
"""


def make(directory: str, *, xattr: str) -> list[Row]:
    """Return the rows of a layer's directory; reads every file."""
    indexer = _Indexer(xattr)
    indexer.run(directory)
    return indexer.rows


def pack(rows: list[Row]) -> bytes:
    """Return the bytes of an index file."""
    body = jsontext.dumps_bytes(rows)
    return b"%b %d %b\n%b" % (_MAGIC, VERSION, digests.of(body).encode(), body)


def unpack(data: bytes) -> list[Row]:
    """Return the rows of an index file; raise Corrupt for one that is damaged or of another version."""
    head, _, body = data.partition(b"\n")
    if head != b"%b %d %b" % (_MAGIC, VERSION, digests.of(body).encode()):
        message = "the index is damaged, or of another version"
        raise Corrupt(message)
    rows: list[Row] = [tuple(row) for row in jsontext.loads(body)]
    return rows


class _Indexer(Serializer):
    """Collects rows where a tar would be written."""

    def __init__(self, xattr: str) -> None:
        super().__init__(lambda _data: None, xattr)
        self.rows: list[Row] = []
        self._hash = hashlib.sha256()

    def _emit(self, entry: Entry) -> None:
        path = os.fsdecode(tar.clean(entry.name))
        folder, _, name = path.rpartition("/")
        if name == os.fsdecode(whiteout.OPAQUE):
            self.rows.append((folder, OPAQUE, 0, 0, 0, 0, "", ""))
        elif name.startswith(".wh."):
            below = f"{folder}/{name[4:]}" if folder else name[4:]
            self.rows.append((below, GONE, 0, 0, 0, 0, "", ""))
        else:
            holds = os.fsdecode(entry.link) or (
                f"{entry.major}:{entry.minor}" if entry.major or entry.minor else ""
            )
            kept = {os.fsdecode(key): value.hex() for key, value in sorted((entry.xattrs or {}).items())}
            attributes = jsontext.dumps(kept) if kept else ""
            kind = entry.kind.decode()
            self.rows.append((path, kind, entry.mode, entry.uid, entry.gid, entry.size, holds, attributes))

    def _content(self, data: bytes) -> None:
        self._hash.update(data)

    def _end(self, entry: Entry) -> None:
        if entry.kind == tar.REGULAR:
            self.rows[-1] = (*self.rows[-1][:6], self._hash.hexdigest(), self.rows[-1][7])
            self._hash = hashlib.sha256()
