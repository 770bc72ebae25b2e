"""The tar format, without any I/O: one header's 512 bytes <-> one Entry, and the extensions around it.

Reads ustar, GNU (long names, base-256 numbers, sparse files), PAX and V7; writes ustar with PAX records
where ustar has no room. Sources: POSIX.1-2017 pax; GNU tar manual "Standard", "Sparse Formats".
"""

from __future__ import annotations

import struct
import zlib

from tiffin.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BLOCK = 512
ZEROS = bytes(BLOCK)
END = bytes(2 * BLOCK)
"""What stands behind the last entry."""

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = (b"0", b"1", b"2", b"3", b"4", b"5", b"6")
CONTIGUOUS = b"7"
GNU_SPARSE = b"S"
PAX, PAX_SOLARIS, PAX_GLOBAL, GNU_NAME, GNU_LINK = (b"x", b"X", b"g", b"L", b"K")
XATTR = b"SCHILY.xattr."
SECOND = 1_000_000_000

# name mode uid gid size mtime checksum | type link magic version uname gname major minor prefix rest
FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")
_OCTAL_MTIME = 8**11
_OCTAL_ID = 8**7


class Entry:
    """One member of a tar. Paths are bytes, as the kernel has them.

    `path` is relative and clean ("" is the top folder); `name` is as it was written. `link` is a symbolic
    link's text or a hard link's target, `size` the bytes of content, `mtime` nanoseconds, `extents` the
    (offset, length) pairs of a sparse file's data or None, `stored` the bytes that the archive holds for it.
    """

    __slots__ = (
        "extents", "gid", "kind", "link", "major", "minor", "mode", "mtime", "name", "path", "size",
        "stored", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self,
        path: bytes,
        kind: bytes = REGULAR,
        *,
        name: bytes = b"",
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime: int = 0,
        link: bytes = b"",
        major: int = 0,
        minor: int = 0,
        xattrs: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Describe one member."""
        self.path = path
        self.kind = kind
        self.name = name or path
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.stored = size
        self.mtime = mtime
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = xattrs
        self.extents: list[tuple[int, int]] | None = None

    @property
    def text(self) -> str:
        """The path for people, quoted; unprintable bytes are escaped."""
        return show(self.path or b"./")


def show(path: bytes) -> str:
    """Quote a path for a message, whatever bytes it has."""
    return repr(path.decode("utf-8", "backslashreplace"))


def checksum(block: bytes) -> int:
    """Return the sum of a header's bytes, its checksum field counted as spaces.

    adler32's low half is one plus the sum of the bytes modulo 65521, so two halves of 256 bytes (at most
    65280 each) are exact, and ten times as fast as sum().
    """
    halves = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    return halves - (zlib.adler32(block[148:156]) & 0xFFFF) + 1 + 8 * 32


def number(field: bytes) -> int:
    """Read a header's number: octal digits, or GNU's base-256; raise Corrupt for anything else."""
    text = field.rstrip(b"\0 ")
    if text.isdigit():
        try:
            return int(text, 8)
        except ValueError:
            raise Corrupt(f"tar header: {field!r} is no number") from None
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        if text.removeprefix(b"-").isdigit():  # int() knows more spellings than tar
            return int(text, 8)
    except ValueError:
        pass
    raise Corrupt(f"tar header: {field!r} is no number")


def clean(name: bytes) -> bytes:
    """Return a name relative to the top, without empty and dot parts; raise Corrupt where it leads out."""
    if name.startswith(b"./"):
        name = name[2:]
    if name.endswith(b"/"):
        name = name.rstrip(b"/")
    if not (name.startswith((b"/", b".")) or b"/." in name or b"//" in name or b"\0" in name):
        return name
    if b"\0" in name:
        raise Corrupt(f"entry {show(name)}: its name holds a NUL")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise Corrupt(f"entry {show(name)}: its name leads out of the archive")
            parts.pop()
        elif part and part != b".":
            parts.append(part)
    return b"/".join(parts)


def pax_records(body: bytes) -> dict[bytes, bytes]:
    """Read the records of an extended header; raise Corrupt where one is malformed."""
    records = {}
    pieces = []
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 20)
        digits = body[position:space] if space > 0 else b""
        if not digits.isdigit():
            if not body[position:].strip(b"\0"):
                break
            raise Corrupt("tar: malformed PAX record")
        end = position + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not equals or end <= space + 1 or end > len(body) or body[end - 1] != 0x0A:
            raise Corrupt("tar: malformed PAX record")
        # The one kind of record that is repeated: a sparse file's map in PAX format 0.0.
        if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            pieces.append(value)
        else:
            records[key] = value
        position = end
    if pieces:
        records[b"GNU.sparse.map"] = b",".join(pieces)
    return records


def pax_body(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write the records of an extended header; each begins with its own length, which counts itself."""
    lines = []
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(b"%d" % rest)
        length = rest + len(b"%d" % length)
        lines.append(b"%d %b=%b\n" % (length, key, value))
    return b"".join(lines)


def xattr_key(name: bytes) -> bytes:
    """Return the PAX key of an extended attribute; GNU tar's way with the two signs that it cannot hold."""
    return XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D")


def xattr_name(key: bytes) -> bytes:
    """Return the extended attribute that a PAX key names."""
    name = key[len(XATTR) :]
    return name.replace(b"%3D", b"=").replace(b"%25", b"%") if b"%" in name else name


def pax_number(value: bytes, what: str) -> int:
    """Read a PAX record's whole number."""
    if not value.isdigit() or len(value) > 20:
        raise Corrupt(f"tar: PAX {what} {value[:40]!r} is no number")
    return int(value)


def pax_time(value: bytes) -> int:
    """Read a PAX time, decimal seconds, as nanoseconds; digits beyond are cut off."""
    negative = value.startswith(b"-")
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    if not (whole or b"0").isdigit() or not (fraction or b"0").isdigit() or len(whole) > 20:
        raise Corrupt(f"tar: PAX mtime {value[:40]!r} is no time")
    nanoseconds = int(whole or b"0") * SECOND + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if negative else nanoseconds


def format_time(nanoseconds: int) -> bytes:
    """Write a PAX time: the shortest decimal that keeps every nanosecond."""
    sign = b"-" if nanoseconds < 0 else b""
    whole, fraction = divmod(abs(nanoseconds), SECOND)
    return sign + b"%d" % whole + (b".%09d" % fraction).rstrip(b"0").rstrip(b".")


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """Return (prefix, name) for a ustar header, or None where they do not fit."""
    if len(name) <= 100:
        return b"", name
    # The slash that ends the prefix may not be the one that marks a folder.
    slash = name.rfind(b"/", 1, min(156, len(name) - 1))
    if slash < 1 or len(name) - slash - 1 > 100:
        return None
    return name[:slash], name[slash + 1 :]


def encode(entry: Entry) -> bytes:
    """Write an entry's header, after a PAX header where ustar has no room for something.

    The bytes are a function of the entry alone. This is the layer format's version 1: a change here
    changes the digest of every layer that is written from its folder (see diff.SERIALIZER).
    """
    name = entry.name
    records: list[tuple[bytes, bytes]] = []
    split = split_name(name)
    if split is None:
        records.append((b"path", name))
        split = b"", name[:100]
    if len(entry.link) > 100:
        records.append((b"linkpath", entry.link))
    seconds, fraction = divmod(entry.mtime, SECOND)
    if fraction or not 0 <= seconds < _OCTAL_MTIME:
        records.append((b"mtime", format_time(entry.mtime)))
        seconds = min(max(seconds, 0), _OCTAL_MTIME - 1)
    uid, gid, size = entry.uid, entry.gid, entry.size
    if uid >= _OCTAL_ID:
        records.append((b"uid", b"%d" % uid))
        uid = 0
    if gid >= _OCTAL_ID:
        records.append((b"gid", b"%d" % gid))
        gid = 0
    if size >= _OCTAL_MTIME:
        records.append((b"size", b"%d" % size))
        size = 0
    if entry.xattrs:
        records += [(xattr_key(key), value) for key, value in entry.xattrs.items()]
    header = _ustar(
        split[1], entry.kind, entry.mode & 0o7777, uid, gid, size, seconds, entry.link[:100],
        entry.major, entry.minor, split[0],
    )  # fmt: skip
    return _pax(records) + header if records else header


def _pax(records: list[tuple[bytes, bytes]]) -> bytes:
    body = pax_body(sorted(records))
    head = _ustar(b"PaxHeader", PAX, 0o644, 0, 0, len(body), 0, b"", 0, 0, b"")
    return head + body + bytes(-len(body) % BLOCK)


def _ustar(  # noqa: PLR0917 - a header has these fields, and 20,000 of them are written in a row
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    link: bytes,
    major: int,
    minor: int,
    prefix: bytes,
) -> bytes:
    block = FIELDS.pack(
        name, b"%07o" % mode, b"%07o" % uid, b"%07o" % gid, b"%011o" % size, b"%011o" % seconds,
        b"        ", kind, link, b"ustar", b"00", b"", b"", b"%07o" % major, b"%07o" % minor, prefix, b"",
    )  # fmt: skip
    return b"%b%06o\0 %b" % (block[:148], checksum(block), block[156:])
