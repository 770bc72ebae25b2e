"""Contents are digested once: an unchanged file costs one stat."""

from __future__ import annotations

import os
import posix
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from tiffin.build.context import Entry
else:
    Protocol = object

_CHUNK = 1 << 20


class Memo(Protocol):
    """Where small things are remembered between builds (the store's build cache plays it)."""

    def recall(self, key: str) -> bytes | None:
        """Return what was remembered."""

    def remember(self, key: str, value: bytes) -> None:
        """Remember it."""


_ROW = struct.Struct("<QQqq32s")
_MEMO_FORMAT = b"1"
_FRESH_NS = 100_000_000


class Digests:
    """sha256 of regular files, remembered by (device, inode, size, mtime, ctime) in one memo per `name`."""

    def __init__(self, memo: Memo | None, name: str) -> None:
        """Remember under that name (without a memo nothing); nothing is read before the first question."""
        self._memo = memo
        self._name = name
        self._known: dict[int, dict[int, tuple[int, int, int, bytes]]] = {}
        self._changed: set[int] = set()
        self.hashed = 0  # how many files had to be read

    def of(self, entry: Entry) -> bytes:
        """Return the digest of a regular file's bytes."""
        info = entry.info
        known = self._known.get(info.st_dev)
        if known is None:
            known = self._table(info.st_dev)
        row = known.get(info.st_ino)
        if row and row[0] == info.st_size and row[1] == info.st_mtime_ns and row[2] == info.st_ctime_ns:
            return row[3]
        digest = _hash(entry.place)
        self.hashed += 1
        # A file that changed just now may change again within the clock's tick: not worth remembering.
        newest = max(info.st_mtime_ns, info.st_ctime_ns)
        if newest < time.time_ns() - _FRESH_NS:
            known[info.st_ino] = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, digest)
            self._changed.add(info.st_dev)
        return digest

    def _table(self, device: int) -> dict[int, tuple[int, int, int, bytes]]:
        raw = (self._memo.recall(self._key(device)) if self._memo else None) or b""
        table = {}
        if raw[:1] == _MEMO_FORMAT and (len(raw) - 1) % _ROW.size == 0:
            rows = _ROW.iter_unpack(memoryview(raw)[1:])
            table = {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}
        self._known[device] = table
        return table

    def _key(self, device: int) -> str:
        return f"digests {device} {self._name}"

    def save(self) -> None:
        """Remember what was learnt."""
        if self._memo is None:
            return
        # Another stage's thread may be learning: work on copies, which are made in one step.
        for device in tuple(self._changed):
            rows = [_ROW.pack(inode, *row) for inode, row in tuple(self._known[device].items())]
            self._memo.remember(self._key(device), _MEMO_FORMAT + b"".join(rows))
        self._changed.clear()


def _hash(path: str) -> bytes:
    import hashlib

    descriptor = posix.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        digest = hashlib.sha256()
        while data := posix.read(descriptor, _CHUNK):
            digest.update(data)
    finally:
        posix.close(descriptor)
    return digest.digest()
