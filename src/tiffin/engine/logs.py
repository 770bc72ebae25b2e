"""logs: docker's json-file read back, from the end or followed, without loading it whole."""

from __future__ import annotations

import os
import time

from tiffin.engine.filters import moment
from tiffin.engine.start import connect
from tiffin.engine.views import log_path
from tiffin.errors import Conflict, Corrupt
from tiffin.spec import clock, jsontext
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from tiffin.store.containers import ContainerRecord
    from tiffin.store.store import Store

_CHUNK = 1 << 16


class LogEntry(Value):
    """Some bytes that a container printed (a line, or a part of a long one), where and when."""

    stream: str  # stdout or stderr
    time: str  # RFC 3339
    data: bytes


def read(
    store: Store,
    record: ContainerRecord,
    *,
    follow: bool,
    tail: int,
    since: str,
    until: str,
    stdout: bool,
    stderr: bool,
    gone: int,
) -> Iterator[LogEntry]:
    """Yield entries; raises InvalidArgument for times that cannot be read."""
    if record.host.log_config.type == "none":
        raise Conflict("configured logging driver does not support reading")
    now = time.time_ns()
    first = moment(since, now) if since else 0
    last = moment(until, now) if until else None
    wanted = {name for name, on in (("stdout", stdout), ("stderr", stderr)) if on}
    for line in _lines(store, record, follow=follow, tail=tail, gone=gone):
        entry = _parse(line)
        if entry is None:
            continue
        at = clock.to_ns(entry.time) if first or last is not None else 0
        if last is not None and at > last:
            return
        if at >= first and entry.stream in wanted:
            yield entry


def _parse(line: bytes) -> LogEntry | None:
    """Read one line; a half-written last one (power loss) is no entry."""
    try:
        value = jsontext.load_object(line)
        return LogEntry(
            stream=value["stream"],
            time=value["time"],
            data=value["log"].encode("utf-8", "surrogateescape"),
        )
    except (Corrupt, KeyError, AttributeError):
        return None


def _lines(store: Store, record: ContainerRecord, *, follow: bool, tail: int, gone: int) -> Iterator[bytes]:
    path = log_path(store.layout, record.id)
    files, start = _tail_position(_rotated(path), tail)
    if files:
        first = _File(files[0])
        first.stream.seek(start)
    elif follow:
        # It has not printed (or not even started) yet: its log may not exist.
        try:
            connect(store, record).close()
            first = _File(path)
        except (Conflict, FileNotFoundError):
            return
    else:
        return
    if follow:
        yield from _follow(store, record, path, first, gone)
    else:
        yield from _whole(path, first)


def _whole(path: str, file: _File | None) -> Iterator[bytes]:
    """Yield the lines of a file and of those that follow it."""
    rest = b""
    while file is not None:
        with file.stream:
            following = file.following(path)
            for chunk in file.chunks():
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
        file = following


class _File:
    """One of a log's files, open; the keeper may give it other names meanwhile, and compress it."""

    def __init__(self, name: str) -> None:
        """Open it; what is compressed is unpacked into a file without a name, to be read anyhow."""
        self._packed: os.stat_result | None = None
        try:
            self.stream: BinaryIO = open(name, "rb")  # noqa: SIM115 - closed by whoever reads it
        except FileNotFoundError:
            if name.endswith(".gz"):
                raise
            name += ".gz"  # it has just been compressed
            self.stream = open(name, "rb")  # noqa: SIM115
        if name.endswith(".gz"):
            self._packed = os.fstat(self.stream.fileno())
            self.stream = _unpacked(self.stream, os.path.dirname(name))

    def chunks(self) -> Iterator[bytes]:
        """Yield what has not been read yet. A file that stays the only one begins again when it is full."""
        if os.fstat(self.stream.fileno()).st_size < self.stream.tell():
            self.stream.seek(0)
        while chunk := self.stream.read(_CHUNK):
            yield chunk

    def following(self, path: str) -> _File | None:
        """Open the file that was begun when this one was full; None while it is the newest.

        Ask before reading: what has a successor is complete. One that has gone is followed by the oldest.
        """
        missed = False
        while True:
            files = _rotated(path)
            place = next((index for index, name in enumerate(files) if self._is(name)), -1)
            if place == len(files) - 1:
                return None
            if place < 0 and not missed:
                missed = True  # it may just have got another name
                continue
            try:
                found = _File(files[place + 1])
            except FileNotFoundError:
                continue
            if place < 0 or self._is(files[place]):
                return found
            found.stream.close()  # all have got other names meanwhile

    def _is(self, name: str) -> bool:
        """Tell whether a name is this file's, which keeps its time when it is compressed."""
        own = self._packed or os.fstat(self.stream.fileno())
        try:
            found = os.stat(name)
        except FileNotFoundError:
            return False
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return True
        return name.endswith(".gz") and found.st_mtime_ns == own.st_mtime_ns


def _rotated(path: str) -> list[str]:
    """Return the log's files, oldest first (`X.2`, `X.1`, `X`)."""
    files = [path] if os.path.exists(path) else []
    number = 1
    while found := [f"{path}.{number}{s}" for s in ("", ".gz") if os.path.exists(f"{path}.{number}{s}")]:
        files.insert(0, found[0])  # both are there while one is being compressed
        number += 1
    return files


def _unpacked(packed: BinaryIO, folder: str) -> BinaryIO:
    """Return what is in a compressed file, as a file without a name."""
    import gzip
    import shutil
    import tempfile

    unpacked = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    with packed, gzip.open(packed) as source:
        shutil.copyfileobj(source, unpacked, _CHUNK)
    unpacked.seek(0)
    return unpacked


def _tail_position(files: list[str], tail: int) -> tuple[list[str], int]:
    """Return the files and the offset in the first of them from which `tail` lines remain (-1: all)."""
    missing = tail
    if tail < 0:
        return files, 0
    for index in range(len(files) - 1, -1, -1):
        offset, missing = _last_lines(files[index], missing)
        if missing == 0:
            return files[index:], offset
    return files, 0


def _last_lines(name: str, count: int) -> tuple[int, int]:
    """Return the offset of the last `count` lines of a file and how many of them it lacks."""
    with _File(name).stream as stream:
        end = position = stream.seek(0, os.SEEK_END)
        if count == 0:
            return end, 0
        while position > 0:
            size = min(_CHUNK, position)
            position -= size
            stream.seek(position)
            block = stream.read(size)
            # The newline at the very end closes the last line, it does not begin one more.
            cut = size - 1 if position + size == end and block.endswith(b"\n") else size
            while (cut := block.rfind(b"\n", 0, cut)) >= 0:
                count -= 1
                if count == 0:
                    return position + cut + 1, 0
    return 0, count - (1 if end else 0)


def _follow(store: Store, record: ContainerRecord, path: str, file: _File, gone: int) -> Iterator[bytes]:
    """Yield lines as they are written, until the keeper or the reader has gone; woken by inotify."""
    from tiffin.engine.patience import ready
    from tiffin.engine.watch import Watch

    rest = b""
    # The watch begins before the connection: what is written in between is seen by one of the two.
    with Watch(path) as watch:
        try:
            connection = connect(store, record)
        except Conflict:
            connection = None
        try:
            while True:
                following = file.following(path)
                for chunk in file.chunks():
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from lines
                if following:
                    file.stream.close()
                    file = following
                    continue
                if connection is None:
                    return
                woken = ready(watch.fileno(), connection.fileno(), gone=gone)
                if gone in woken:
                    return
                if watch.fileno() in woken:
                    watch.drain()
                if connection.fileno() in woken and connection.recv() is None:
                    connection.close()
                    connection = None  # one last look at the file, then the end
        finally:
            file.stream.close()
            if connection is not None:
                connection.close()
