"""What a reader has not taken yet: a little in memory, more in a file without a name, never without end."""

from __future__ import annotations

import os

LIMIT = 64 << 20
"""Bytes that are kept for one reader."""

_MEMORY = 256 << 10
_LENGTH = 4


class Backlog:
    """A queue of packets, in order. `folder` is where the file is made, on a disk."""

    def __init__(self, folder: str) -> None:
        """Keep nothing yet."""
        self._folder = folder
        self._first: list[bytes] = []  # the oldest, in memory
        self._held = 0  # bytes of those
        self._file = -1
        self._start = self._end = 0  # of what is in the file, counted without end: it is a ring
        self.size = 0

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return self.size > 0

    def append(self, packet: bytes) -> bool:
        """Keep a packet; tell whether there was room."""
        if self.size + len(packet) > LIMIT:
            return False
        if self._start == self._end and self._held < _MEMORY:
            self._first.append(packet)
            self._held += len(packet)
        elif not self._spill(packet):
            return False
        self.size += len(packet)
        return True

    def first(self) -> bytes:
        """Return the oldest packet."""
        if not self._first:
            length = int.from_bytes(self._read(self._start, _LENGTH), "big")
            self._first.append(self._read(self._start + _LENGTH, length))
            self._held += length
            self._start += _LENGTH + length
        return self._first[0]

    def drop(self) -> None:
        """Forget the oldest packet, which has been sent."""
        length = len(self._first.pop(0))
        self._held -= length
        self.size -= length
        if not self.size:
            self.clear()

    def clear(self) -> None:
        """Forget everything, and give the file back."""
        self._first.clear()
        self.size = self._held = self._start = self._end = 0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # --- the ring ------------------------------------------------------------------------------

    def _spill(self, packet: bytes) -> bool:
        data = len(packet).to_bytes(_LENGTH, "big") + packet
        if self._end - self._start + len(data) > LIMIT:
            return False
        try:
            if self._file < 0:
                self._file = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            for offset, part in self._parts(self._end, len(data)):
                if os.pwrite(self._file, data[: part - offset], offset) < part - offset:
                    return False
                data = data[part - offset :]
        except OSError:
            return False  # the disk is full
        self._end += _LENGTH + len(packet)
        return True

    def _read(self, position: int, length: int) -> bytes:
        parts = self._parts(position, length)
        return b"".join(os.pread(self._file, end - offset, offset) for offset, end in parts)

    def _parts(self, position: int, length: int) -> list[tuple[int, int]]:
        """Return where in the file some bytes lie: (begin, end), twice where the ring closes."""
        start = position % LIMIT
        end = min(start + length, LIMIT)
        return [(start, end)] + ([(0, length - (end - start))] if end - start < length else [])
