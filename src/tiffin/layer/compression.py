"""How layer bytes are packed: recognised by their first bytes, unpacked and packed as a stream.

gzip goes through isal (three times zlib's speed), zstd through zstandard, xz and bzip2 through the
standard library; each is imported when the first stream of its kind is opened.
"""

from __future__ import annotations

from tiffin.errors import Corrupt, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HEAD = 6
"""Bytes that `sniff` wants to see."""

_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
# isal and zstandard cannot be told how much to return, so they get their input in steps so small that even
# the tightest bomb of the kind returns 64 MiB at most: gzip grows 1032-fold, a zstd run of zeros 32768-fold.
_STEP = {"gzip": 1 << 16, "zstd": 1 << 11}
# Once a step has returned more than this the others are smaller: several pieces may wait for their reader.
_LARGE = 1 << 22
_SMALL_STEP = {"gzip": 1 << 13, "zstd": 1 << 8}
_PIECE = 1 << 18
_ISAL_BEST = 3
_LEVEL = {"gzip": 2, "zstd": 3, "xz": 6, "bzip2": 9}


def sniff(head: bytes) -> str:
    """Return gzip, zstd, xz or bzip2 by the first bytes, "" for anything else."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    # A zstd stream may begin with a skippable frame (RFC 8878, 3.1.2).
    if len(head) >= 4 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18":
        return "zstd"
    return ""


class Decompressor:
    """Unpacks one stream that is pushed in; members (frames) may follow one another, as may zeros.

    Raises Corrupt for bytes that are not of the kind. Memory is bounded in `pieces` for any input, in
    `feed` only by what the input grows to.
    """

    def __init__(self, kind: str) -> None:
        """Begin a stream of one kind: "", gzip, zstd, xz or bzip2."""
        self.kind = kind
        self._make, self._failures = _decoder(kind)
        self._step = _STEP.get(kind, 0)
        self._member: Any = self._make()
        self._begun = False
        self._padding = False

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes unpack to."""
        return b"".join(self.pieces(data))

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes unpack to, in bounded pieces."""
        if not self.kind:
            if data:
                yield data
        elif not self._step or len(data) <= self._step:
            yield from self._unpack(data)
        else:
            parts: list[bytes] = []
            size = 0
            view = memoryview(data)
            start = 0
            while start < len(data):
                step = self._step
                for part in self._unpack(view[start : start + step]):
                    parts.append(part)
                    size += len(part)
                    if len(part) > _LARGE:
                        self._step = _SMALL_STEP[self.kind]
                start += step
                if size >= _PIECE:
                    yield b"".join(parts) if len(parts) > 1 else parts[0]
                    parts.clear()
                    size = 0
            if parts:
                yield b"".join(parts)

    def _unpack(self, data: bytes | memoryview) -> Iterator[bytes]:
        while data:
            if self._member.eof and not self._next_member(data):
                return
            self._begun = True
            member = self._member
            try:
                if self._step:
                    piece = member.decompress(data)
                else:
                    piece = member.decompress(data, _PIECE)
                    while not (member.eof or member.needs_input):
                        yield piece
                        piece = member.decompress(b"", _PIECE)
            except (*self._failures, MemoryError) as error:
                raise Corrupt(f"{self.kind} stream: {error or 'out of memory'}") from error
            if piece:
                yield piece
            data = member.unused_data if member.eof else b""

    def _next_member(self, data: bytes | memoryview) -> bool:
        """Begin another member, or tell that this is padding (tape blocks, as gzip(1) accepts)."""
        if self._padding or data[0] == 0:
            self._padding = True
            if any(data):
                raise Corrupt(f"{self.kind} stream: garbage after its end")
            return False
        self._member = self._make()
        return True

    def finish(self) -> None:
        """Raise Corrupt unless the stream ended where a member ends."""
        if self.kind and not (self._begun and self._member.eof):
            raise Corrupt(f"{self.kind} stream: unexpected end")


def _decoder(kind: str) -> tuple[Any, Any]:
    """Return what makes a member's decoder, and what that raises for garbage."""
    if kind == "gzip":
        from isal import isal_zlib

        return lambda: isal_zlib.decompressobj(31), (isal_zlib.error, ValueError)
    if kind == "zstd":
        import zstandard

        # 128 MiB is what zstd(1) itself accepts by default.
        context = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        return context.decompressobj, (zstandard.ZstdError,)
    if kind == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28), (lzma.LZMAError, EOFError)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)
    if kind:
        raise InvalidArgument(f"unknown compression {kind!r}", hint="known are gzip, zstd, xz and bzip2")
    return object, ()


class Compressor:
    """Packs one stream; the same bytes, kind and level give the same result (no names, no times)."""

    def __init__(self, kind: str, level: int | None = None) -> None:
        """Begin a stream; `level` is the kind's own scale, None its good middle.

        gzip's levels up to 3 are isal's, which is several times faster; those above are zlib's.
        """
        self.kind = kind
        self._stream: Any = None
        chosen = _LEVEL.get(kind, 0) if level is None else level
        if kind == "gzip" and chosen > _ISAL_BEST:
            import zlib

            self._stream = zlib.compressobj(chosen, zlib.DEFLATED, 31)
        elif kind == "gzip":
            from isal import isal_zlib

            self._stream = isal_zlib.compressobj(chosen, isal_zlib.DEFLATED, 31)
        elif kind == "zstd":
            import zstandard

            self._stream = zstandard.ZstdCompressor(level=chosen, write_checksum=True).compressobj()
        elif kind == "xz":
            import lzma

            self._stream = lzma.LZMACompressor(preset=chosen)
        elif kind == "bzip2":
            import bz2

            self._stream = bz2.BZ2Compressor(chosen)
        elif kind:
            raise InvalidArgument(f"unknown compression {kind!r}", hint="known are gzip, zstd, xz and bzip2")

    def feed(self, data: bytes) -> bytes:
        """Return packed bytes that are ready, perhaps none."""
        return data if self._stream is None else self._stream.compress(data)

    def finish(self) -> bytes:
        """Return the last packed bytes."""
        return b"" if self._stream is None else self._stream.flush()
