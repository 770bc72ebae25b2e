"""Uploads: blobs that arrive in several requests, before anybody says which digest they have.

A session is one file; its length is how far it has come, its name says whose it is and in which boot it
was begun. So it survives a `kill -9` (and is gone on with), and does not survive a power cut. One request
at a time writes it, under its flock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import posix
import time

from tiffin.errors import Conflict, Corrupt, NotFound
from tiffin.spec import digest as digests
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from tiffin.store.content import Content

_CHUNK = 1 << 20
_DIGITS = frozenset("0123456789abcdef-")
_REMEMBERED = 256
"""How many sessions' hashes are kept between two requests; others are read again at the end."""


class Uploads:
    """The sessions of one store, below a folder of their own."""

    def __init__(self, folder: str, content: Content) -> None:
        """Keep sessions in `folder` (made where it is missing); finished blobs go to `content`."""
        self.folder = folder
        self.content = content
        self.hashes: dict[str, tuple[int, Any]] = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def begin(self, owner: str) -> str:
        """Begin a session of `owner` (a repository) and return its id, a UUID."""
        import uuid

        session = str(uuid.uuid4())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            posix.close(posix.open(self.path(owner, session), flags, 0o600))
        except OSError as error:
            raise atomic.storage_error(error, "begin an upload") from error
        return session

    def path(self, owner: str, session: str) -> str:
        """Return a session's file; raise NotFound for what cannot be one's id."""
        if len(session) != 36 or not _DIGITS.issuperset(session):
            raise NotFound(f"no upload {session!r}")
        whose = digests.hex_of(digests.of(owner.encode()))[:16]
        return f"{self.folder}/{session}.{whose}.{atomic.boot_id()[:8]}"

    def offset(self, owner: str, session: str) -> int:
        """Return how many bytes of a session are here; raise NotFound if there is none."""
        try:
            return posix.stat(self.path(owner, session)).st_size
        except FileNotFoundError:
            raise NotFound(f"no upload {session}") from None

    def open(self, owner: str, session: str) -> Upload:
        """Go on with a session (a context manager).

        Raises NotFound if there is none of that owner, Conflict while another request writes it.
        """
        return Upload(self, self.path(owner, session), session)

    def remember(self, session: str, offset: int, hasher: Any) -> None:
        """Keep the hash of what a session has so far, for its next request."""
        while len(self.hashes) >= _REMEMBERED:
            self.hashes.pop(next(iter(self.hashes)), None)
        self.hashes[session] = (offset, hasher)

    def cancel(self, owner: str, session: str) -> None:
        """Throw a session away; raise NotFound if there is none."""
        with self.open(owner, session) as upload:
            upload.discard()

    def sweep(self, older_seconds: float) -> int:
        """Remove sessions of another boot and those that nothing was added to for so long; count them."""
        gone, eldest = 0, time.time() - older_seconds
        for name in posix.listdir(self.folder):
            path = f"{self.folder}/{name}"
            with contextlib.suppress(FileNotFoundError):
                past = not name.endswith(f".{atomic.boot_id()[:8]}")
                if (past or posix.stat(path).st_mtime < eldest) and self._remove_unused(path):
                    gone += 1
        return gone

    @staticmethod
    def _remove_unused(path: str) -> bool:
        descriptor = posix.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return atomic.remove_file(path)
        except BlockingIOError:
            return False
        finally:
            posix.close(descriptor)


class Upload:
    """One session while one request works on it. Bytes that were written stay, whatever happens."""

    def __init__(self, uploads: Uploads, path: str, session: str) -> None:
        """Lock the session's file."""
        self._uploads = uploads
        self._path = path
        self._session = session
        try:
            self._file = posix.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound(f"no upload {session}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not atomic.is_at(self._file, path):
                raise NotFound(f"no upload {session}")  # finished or cancelled a moment ago
        except BlockingIOError:
            posix.close(self._file)
            raise Conflict(f"upload {session} is being written by another request") from None
        except BaseException:
            posix.close(self._file)
            raise
        self.offset = posix.lseek(self._file, 0, os.SEEK_END)
        self._hash = self._remembered()

    def _remembered(self) -> Any:
        """Return the hash of what is here, if it is known without reading it again."""
        offset, hasher = self._uploads.hashes.pop(self._session, (0, None))
        if hasher is not None and offset == self.offset:
            return hasher
        return _hasher("sha256") if self.offset == 0 else None

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            atomic.write_all(self._file, data)
        except OSError as error:
            self._hash = None
            raise atomic.storage_error(error, "store an upload") from error
        self.offset += len(data)
        if self._hash is not None:
            self._hash.update(data)

    def commit(self, digest: str, also: Callable[[], object]) -> None:
        """Make the whole a blob; `also` runs in the same transaction.

        Raises Corrupt, and the session is gone, where the bytes have another digest.
        """
        found = self._digest(digests.check(digest).partition(":")[0])
        if found != digest:
            self.discard()
            raise Corrupt(f"provided digest {digest} did not match uploaded content {found}")
        content = self._uploads.content
        with content.transaction():
            if content.has(digest, self.offset):
                self.discard()
            else:
                content.adopt(self._path, digest, self.offset)
            also()

    def _digest(self, algorithm: str) -> str:
        if algorithm != "sha256" or self._hash is None:
            self._hash = _hasher(algorithm)
            posix.lseek(self._file, 0, os.SEEK_SET)
            while chunk := posix.read(self._file, _CHUNK):
                self._hash.update(chunk)
        found = f"{algorithm}:{self._hash.hexdigest()}"
        self._hash = None
        return found

    def discard(self) -> None:
        """Throw the session away."""
        self._hash = None
        atomic.remove_file(self._path)

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let go; what was written stays, for the next request."""
        if self._hash is not None:
            self._uploads.remember(self._session, self.offset, self._hash)
        posix.close(self._file)


def _hasher(algorithm: str) -> Any:
    import hashlib

    return hashlib.new(algorithm)
