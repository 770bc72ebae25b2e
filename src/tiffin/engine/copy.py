"""Copying into and out of a container: archives of a path, and what lies there."""

from __future__ import annotations

import os

from tiffin.engine import visit
from tiffin.engine.views import event_attributes
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO, Self

    from tiffin.engine.engine import Engine
    from tiffin.engine.visit import Visit
    from tiffin.store.containers import ContainerRecord

    Write = Callable[[bytes], object]

_FOLDER, _SYMLINK = 1 << 31, 1 << 27
_CHUNK = 1 << 18


class PathStat(Value):
    """What lies at a path of a container, in the words of the API's `X-Docker-Container-Path-Stat`.

    `mode` is Go's os.FileMode, `mtime` RFC 3339; `link_target` is where a symbolic link leads in the end.
    """

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder (a link to one is none)."""
        return bool(self.mode & _FOLDER)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return bool(self.mode & _SYMLINK)

    def to_json(self) -> dict[str, Any]:
        """Return the API's members."""
        return {
            "name": self.name,
            "size": self.size,
            "mode": self.mode,
            "mtime": self.mtime,
            "linkTarget": self.link_target,
        }


class Outgoing:
    """An archive on its way out of a container; close it, best by `with`.

    `stat` is of the path asked for, `top` what its archive begins with; `matches` says how many paths a
    pattern meant (0: it was none).
    """

    def __init__(self, visitor: Visit, stream: BinaryIO) -> None:
        """Wait until the visitor has found the path."""
        self._visitor = visitor
        self._stream = stream
        said = visitor.report()
        self.stat = PathStat(**said["stat"])
        self.top: str = said["top"]
        self.matches: int = said["matches"]

    def fileno(self) -> int:
        """Return the descriptor that the archive comes from, for whoever reads it without us."""
        return self._stream.fileno()

    def read(self, size: int = _CHUNK) -> bytes:
        """Return more of the archive, b"" at its end."""
        return self._stream.read(size)

    def finish(self) -> None:
        """Raise what went wrong on the other side; call it when all has been read."""
        self._stream.close()
        self._visitor.report()

    def close(self) -> None:
        """Stop reading and let go of the container."""
        self._stream.close()
        self._visitor.close()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        self.close()


def stat_path(engine: Engine, record: ContainerRecord, path: str, *, name: str) -> PathStat:
    """Return what lies at a path; raise NotFound with docker's sentence, which says `name`."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        request = {"verb": "look", "path": absolute(path), "name": name}
        with visit.in_container(engine, record, request, null) as visitor:
            return PathStat(**visitor.report()["stat"])
    finally:
        os.close(null)


def copy_out(
    engine: Engine, record: ContainerRecord, path: str, *, name: str, follow: bool, pattern: bool
) -> Outgoing:
    """Begin to archive what lies at a path; raise NotFound if nothing does."""
    request = {"verb": "give", "path": absolute(path), "name": name, "follow": follow, "pattern": pattern}
    found = outgoing(lambda data: visit.in_container(engine, record, request, data))
    engine.store.events.append("container", "archive-path", record.id, event_attributes(record))
    return found


def outgoing(start: Callable[[int], Visit]) -> Outgoing:
    """Begin to read what a visitor, started with a descriptor to write to, has found."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    stream = os.fdopen(reading, "rb", buffering=0)
    try:
        try:
            visitor = start(writing)
        finally:
            os.close(writing)
        try:
            return Outgoing(visitor, stream)
        except BaseException:
            visitor.close()
            raise
    except BaseException:
        stream.close()
        raise


def copy_into(
    engine: Engine,
    record: ContainerRecord,
    path: str,
    archive: BinaryIO | Callable[[Write], object],
    *,
    name: str,
    owner: tuple[int, int] | None,
) -> int:
    """Unpack an archive, a stream or what a function writes, into a folder; return its files' bytes."""
    request = {"verb": "take", "path": absolute(path), "name": name, "owner": owner or (), "rename": ()}

    def start(data: int) -> Visit:
        return visit.in_container(engine, record, request, data)

    size = piped(archive, start) if callable(archive) else feed(archive, start)
    engine.store.events.append("container", "extract-to-dir", record.id, event_attributes(record))
    return size


def unpack_at_home(
    engine: Engine,
    folder: str,
    source: Outgoing,
    *,
    rename: tuple[str, str] | None,
    owners: bool,
) -> int:
    """Unpack what comes out of a container into a folder of the host; return its files' bytes.

    The first name of the archive becomes another by `rename`. What arrives is this user's, unless `owners`
    are to be kept (which root may). No link that is there, or arrives, leads out of the folder.
    """
    own = () if owners and engine.settings.privilege.rung == "root" else (0, 0)
    request = {"verb": "take", "path": "/", "name": "", "owner": own, "rename": rename or ()}
    with visit.at_home(engine.settings.privilege, folder, request, source.fileno()) as visitor:
        try:
            size: int = visitor.report()["size"]
        except TiffinError:
            source.close()
            raise
    source.finish()
    return size


def feed(stream: BinaryIO, start: Callable[[int], Visit]) -> int:
    """Let a visitor read a stream, by its descriptor where it has one; return the bytes that it says."""
    number = _descriptor(stream)
    if number < 0:
        return piped(lambda write: _copy(stream, write), start)
    with start(number) as visitor:
        size: int = visitor.report()["size"]
    return size


def _descriptor(stream: BinaryIO) -> int:
    """Return the descriptor behind a stream, -1 where there is none."""
    try:
        return stream.fileno()
    except (AttributeError, OSError):
        return -1


def _copy(stream: BinaryIO, write: Write) -> None:
    while data := stream.read(_CHUNK):
        write(data)


def piped(produce: Callable[[Write], object], start: Callable[[int], Visit]) -> int:
    """Let a visitor read what a function writes; return the bytes that it says."""
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(writing, view) :]

    try:
        visitor = start(reading)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    with visitor:
        try:
            produce(write)
        except BrokenPipeError:
            pass  # it has met an error and will say so
        finally:
            os.close(writing)
        size: int = visitor.report()["size"]
    return size


def absolute(path: str) -> str:
    """Return a container's path from its root; `/` and `/.` at its end say something, and stay."""
    if "\0" in path:
        raise InvalidArgument(f"invalid path {path!r}")
    clean = os.path.normpath("/" + path).replace("//", "/", 1)
    if path.endswith("/.") or path == ".":
        return "/." if clean == "/" else f"{clean}/."
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean
