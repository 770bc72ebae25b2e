r"""What a container wrote, in the format of docker's json-file driver.

One JSON object a line: `{"log":"text\\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`.
A line of output becomes one entry; one longer than 16 KiB becomes several, of which only the last
has a newline. A full disk loses entries, never the container.
"""

from __future__ import annotations

import _json
import os

from tiffin.spec import clock
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRY_LIMIT = 16384
"""Bytes of output in one entry."""

_NEWLINE = "\ud800"
"""Half of a character: decoded text has none."""

_HEAD = '{"log":"'
_CHUNK = 1 << 18
_FREE = 3
"""The first descriptor that is no standard stream."""

_quote = _json.encode_basestring


class JsonLog:
    """An open log file; `max_size` in bytes (0: endless), `max_file` files in all."""

    def __init__(
        self,
        path: str,
        *,
        max_size: int = 0,
        max_file: int = 1,
        compress: bool = False,
        attributes: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Open the file, going on where an earlier run stopped; `compress` gzips those that are full."""
        self._compress = compress
        self._packing = -1
        self._path = path
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._rests: dict[str, bytes] = {}
        pairs = ",".join(f"{_quote(k)}:{_quote(v)}" for k, v in attributes)
        self._attributes = f'"attrs":{{{pairs}}},' if pairs else ""
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        """Take output as it comes; whole lines are written, the rest waits for its newline."""
        data = self._rests.get(stream, b"") + data
        cut = data.rfind(b"\n") + 1
        whole, rest = data[:cut], data[cut:]
        when = clock.now()
        written = []
        if whole:
            written.append(self._lines(stream, whole, when))
        if len(rest) > ENTRY_LIMIT:
            parts, rest = _split(rest)
            written += [self._entry(stream, part, when) for part in parts]
        self._rests[stream] = rest
        if written:
            self._append(b"".join(written))

    def flush(self) -> None:
        """Write what waits for a newline that will not come."""
        when = clock.now()
        entries = [self._entry(s, rest, when) for s, rest in self._rests.items() if rest]
        self._rests.clear()
        if entries:
            self._append(b"".join(entries))

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        os.close(self._descriptor)

    def _lines(self, stream: str, data: bytes, when: str) -> bytes:
        """Return the entries of whole lines.

        All lines of a read are quoted in one go; line by line it took twenty times as long. Where there are
        backslashes in it, quoted newlines could be mistaken, and a character that no decoded text has stands
        for them meanwhile; that makes the text twice as wide.
        """
        if not _are_short(data):
            lines = data[:-1].split(b"\n")
            return b"".join(self._long(stream, line + b"\n", when) for line in lines)
        text, newline = data[:-1].decode(errors="replace"), "\\n"
        if b"\\" in data:
            text, newline = text.replace("\n", _NEWLINE), _NEWLINE
        tail = f'\\n","stream":"{stream}",{self._attributes}"time":"{when}"}}\n'
        return f'{{"log":{_quote(text)[:-1].replace(newline, tail + _HEAD)}{tail}'.encode()

    def _long(self, stream: str, line: bytes, when: str) -> bytes:
        parts, rest = _split(line)
        return b"".join(self._entry(stream, part, when) for part in (*parts, rest))

    def _entry(self, stream: str, data: bytes, when: str) -> bytes:
        text = _quote(data.decode(errors="replace"))
        return f'{{"log":{text},"stream":"{stream}",{self._attributes}"time":"{when}"}}\n'.encode()

    def _append(self, entries: bytes) -> None:
        """Write entries, each whole in one file."""
        while self._max_size and self._size + len(entries) > self._max_size:
            room = entries.rfind(b"\n", 0, max(0, self._max_size - self._size)) + 1
            if not room and not self._size:
                room = entries.find(b"\n") + 1  # longer than a file may be
            self._put(entries[:room])
            entries = entries[room:]
            if not entries:
                return
            self._rotate()
        self._put(entries)

    def _put(self, data: bytes) -> None:
        try:
            atomic.write_all(self._descriptor, data)
        except OSError:
            return
        self._size += len(data)

    def _rotate(self) -> None:
        """Make room: the file becomes `.1`, `.1` becomes `.2`; with one file only, it starts again."""
        try:
            if self._max_file == 1:
                os.ftruncate(self._descriptor, 0)
                self._size = 0
                return
            self._await_packing()
            for number in range(self._max_file - 2, 0, -1):
                for suffix in ("", ".gz"):
                    if os.path.lexists(f"{self._path}.{number}{suffix}"):
                        atomic.replace(f"{self._path}.{number}{suffix}", f"{self._path}.{number + 1}{suffix}")
            atomic.replace(self._path, f"{self._path}.1")
            os.close(self._descriptor)
            self._open()
            if self._compress:
                self._pack(f"{self._path}.1")
        except OSError:
            self._size = 0

    def _pack(self, path: str) -> None:
        """Have a fork compress a full file beside us; its pipe closes when it is done."""
        self._packing, end = os.pipe2(os.O_CLOEXEC)
        if os.fork():
            os.close(end)
            return
        try:
            os.closerange(_FREE, end)  # locks and connections, whose end would be ours
            os.closerange(end + 1, 1 << 16)
            pack(path)
        finally:
            os._exit(0)

    def _await_packing(self) -> None:
        """Wait for that one: the files are about to get other names."""
        if self._packing >= 0:
            os.read(self._packing, 1)
            os.close(self._packing)
            self._packing = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._descriptor).st_size


def pack(path: str) -> None:
    """Replace a file by its compressed form, with `.gz` behind its name."""
    import zlib

    packer = zlib.compressobj(1, wbits=31)
    with open(path, "rb") as source, open(f"{path}.gz.tmp", "wb") as out:
        while chunk := source.read(_CHUNK):
            out.write(packer.compress(chunk))
        out.write(packer.flush())
        out.flush()
        written = os.fstat(source.fileno())
        os.utime(out.fileno(), ns=(written.st_atime_ns, written.st_mtime_ns))  # by which readers know it
    atomic.replace(f"{path}.gz.tmp", f"{path}.gz")
    os.unlink(path)


def _are_short(data: bytes) -> bool:
    """Tell whether every line of some whole lines fits into one entry."""
    position = 0
    while position < len(data):
        cut = data.rfind(b"\n", position, position + ENTRY_LIMIT)
        if cut < 0:
            return False
        position = cut + 1
    return True


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut into parts of at most ENTRY_LIMIT bytes, not inside a UTF-8 character, and what remains."""
    parts = []
    start = 0
    while len(data) - start > ENTRY_LIMIT:
        end = start + ENTRY_LIMIT
        for back in range(4):
            if data[end - back] & 0xC0 != 0x80:
                end -= back
                break
        parts.append(data[start:end])
        start = end
    return parts, data[start:]
