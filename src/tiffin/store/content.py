"""Content: blobs by digest, verified on the way in and on the way out.

A blob counts when it has its row and its file. The file comes first, by rename, in the transaction
that writes the row, so gc (which removes files without rows in a transaction too) never meets half of
it. Until an image's commit syncs the disk the row says `synced=0`: see `schema.begin_boot`.
"""

from __future__ import annotations

import fcntl
import os
import posix
import time

from tiffin.errors import Corrupt, NotFound
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from tiffin.spec.blob import BlobReader, Progress
    from tiffin.store.database import Database, Transaction
    from tiffin.store.layout import Layout
    from tiffin.store.leases import Leases

_CHUNK = 1 << 20
_SMALL = 64 << 20
"""The most that `read` returns: manifests and configs are far smaller."""


class Content:
    """The blobs of a store. Plays both roles of `spec.blob`: BlobSource and BlobSink."""

    def __init__(self, layout: Layout, database: Database, leases: Leases, *, xattr: str) -> None:
        """Keep blobs below `layout.content`; `xattr` is the prefix of overlayfs's marks."""
        self._layout = layout
        self._database = database
        self._leases = leases
        self._xattr = xattr

    # Reading

    def path(self, digest: str) -> str:
        """Return where a blob's file is, or would be."""
        return self._layout.blob(digests.check(digest))

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob can be opened here: a file of the right size, or a built layer."""
        return self.has(descriptor.digest, descriptor.size) or self._built(descriptor.digest) is not None

    def has(self, digest: str, size: int = -1) -> bool:
        """Tell whether the blob's file is here. Open leases of this process hold what is found."""
        if not self._leases.any_open:
            return self._has(digest, size)
        with self._database.transaction():
            found = self._has(digest, size)
            if found:
                self._leases.hold_found(digest)
            return found

    def _has(self, digest: str, size: int) -> bool:
        row = self._database.one("SELECT size FROM blobs WHERE digest=?", (digest,))
        if row is None or size not in {-1, row[0]}:
            return False
        try:
            return posix.stat(self.path(digest)).st_size == int(row[0])
        except FileNotFoundError:
            return False

    def open_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open a blob for reading, verified at its end; a built layer is streamed from its folder.

        Raises NotFound if it is not here.
        """
        try:
            stream = open(self.path(descriptor.digest), "rb", buffering=0)  # noqa: SIM115 - the reader closes it
        except FileNotFoundError:
            pass
        else:
            return VerifiedReader(stream, descriptor)
        folder = self._built(descriptor.digest)
        if folder is None:
            message = f"content {descriptor.digest} not found"
            raise NotFound(message)
        return VerifiedReader(LayerStream(folder, self._xattr), descriptor)

    def _built(self, digest: str) -> str | None:
        """Return the folder of a layer of our own making whose uncompressed bytes have this digest."""
        row = self._database.one(
            "SELECT chain_id FROM layers WHERE diff_id=? AND serializer>0 LIMIT 1", (digest,)
        )
        if row is None:
            return None
        if self._leases.any_open:
            self._leases_hold(row[0])
        return self._layout.layer(row[0])

    def _leases_hold(self, digest: str) -> None:
        with self._database.transaction():
            self._leases.hold_found(digest)

    def read(self, digest: str) -> bytes:
        """Return a small blob's bytes (a manifest, a config), verified."""
        try:
            with open(self.path(digest), "rb") as stream:
                data = stream.read(_SMALL + 1)
        except FileNotFoundError:
            message = f"content {digest} not found"
            raise NotFound(message) from None
        if len(data) > _SMALL or _digest_of(digest, data) != digest:
            message = f"content {digest}: the file on disk has other bytes than its name says"
            raise Corrupt(message, hint="`tiffin fsck --repair` drops it; then pull again")
        return data

    # Writing

    def put_bytes(self, raw: bytes, media_type: str) -> Descriptor:
        """Store a small blob and return its descriptor."""
        descriptor = Descriptor(media_type=media_type, digest=digests.of(raw), size=len(raw))
        if not self.has(descriptor.digest, descriptor.size):
            with self.ingest(descriptor, resume=False) as writer:
                writer.write(raw)
                writer.commit()
        return descriptor

    def put_blob(self, descriptor: Descriptor, source: BlobReader, progress: Progress | None = None) -> None:
        """Store a whole stream, verified; an unfinished one leaves nothing visible."""
        with self.ingest(descriptor, resume=False) as writer:
            while chunk := source.read(_CHUNK):
                writer.write(chunk)
                if progress:
                    progress(len(chunk))
            writer.commit()

    def ingest(self, descriptor: Descriptor, *, resume: bool = True) -> Writer:
        """Start to write a blob. With `resume`, go on at `Writer.offset` of an earlier try, if any."""
        return Writer(self, descriptor, resume=resume)

    def remember_compressed(self, diff_id: str, descriptor: Descriptor) -> None:
        """Note that a blob here is the compressed form of a layer, so that a push needs no second go."""
        self._database.execute(
            "INSERT OR REPLACE INTO compressed VALUES (?, ?, ?, ?)",
            (diff_id, descriptor.digest, descriptor.media_type, descriptor.size),
        )

    def compressed(self, diff_id: str, media_type: str = mediatype.OCI_LAYER_GZIP) -> Descriptor | None:
        """Return the compressed form of a layer, if it is here."""
        rows = self._database.query(
            "SELECT digest, size FROM compressed WHERE diff_id=? AND media_type=?", (diff_id, media_type)
        )
        for digest, size in rows:
            if self.has(digest, size):
                return Descriptor(media_type=media_type, digest=digest, size=size)
        return None

    def adopt(self, temporary: str, digest: str, size: int) -> None:
        """Give a verified file its final name and its row, together."""
        final = self.path(digest)
        try:
            with self._database.transaction():
                self._rename(temporary, final)
                self._database.execute(
                    "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, 0)", (digest, size, time.time_ns())
                )
                self._leases.hold_found(digest)
        except OSError as error:
            raise atomic.storage_error(error, f"store {digest}") from error

    @staticmethod
    def _rename(temporary: str, final: str) -> None:
        try:
            posix.rename(temporary, final)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(final), mode=0o700, exist_ok=True)
            posix.rename(temporary, final)

    def transaction(self) -> Transaction:
        """Return a transaction of the store, for what must come or go together with a blob."""
        return self._database.transaction()

    def remove(self, digest: str) -> None:
        """Remove a blob, file and row (whoever reads it reads on); call it in the deciding transaction."""
        self._database.execute("DELETE FROM blobs WHERE digest=?", (digest,))
        atomic.remove_file(self.path(digest))

    def discard(self, digests: Iterable[str]) -> None:
        """Remove blobs that can be done without, before anything has synced them."""
        for digest in digests:
            with self._database.transaction():
                self.remove(digest)

    def settle(self, also: Callable[[], None], *, durable: bool) -> None:
        """Run `also` in a transaction; with `durable`, it and every blob that is here survive a power cut."""
        unsynced = self._database.query("SELECT digest FROM blobs WHERE synced=0")
        if durable:
            atomic.syncfs(self._layout.root)
        with self._database.durable() if durable else self._database.transaction():
            self._database.execute_many("UPDATE blobs SET synced=1 WHERE digest=?", unsynced)
            also()

    def partial_path(self, digest: str) -> str:
        """Return where an unfinished download waits to be resumed: not beyond this boot (see adopt)."""
        return f"{self._layout.ingest}/{digest.replace(':', '-')}.{atomic.boot_id()[:8]}"

    def private_path(self) -> str:
        """Return an unused name for bytes that only this process goes on with."""
        return f"{self._layout.ingest}/{atomic.owner_tag()}-{posix.urandom(6).hex()}"


class Writer:
    """One blob on its way in, as a context manager: without `commit` nothing becomes visible.

    A resumable one keeps what it has when it is left without a commit, for the next try; `abort`
    throws it away.
    """

    def __init__(self, content: Content, descriptor: Descriptor, *, resume: bool) -> None:
        """Open the partial file of an earlier try, or a new one."""
        self._content = content
        self.descriptor = descriptor
        self._resumable = resume
        self._file = -1
        self.path = ""
        self.offset = 0
        self._hash = _hasher(descriptor.digest)
        try:
            if resume:
                self._open_partial()
            if self._file < 0:
                self._resumable = False
                self.path = content.private_path()
                self._file = _create(self.path, os.O_EXCL)
        except OSError as error:
            raise atomic.storage_error(error, f"store {descriptor.digest}") from error

    def _open_partial(self) -> None:
        """Take over what an earlier try left, unless another process is writing it right now."""
        path = self._content.partial_path(self.descriptor.digest)
        descriptor = _create(path, 0)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            posix.close(descriptor)
            return
        if not atomic.is_at(descriptor, path):
            posix.close(descriptor)  # its writer has just made it a blob
            return
        self._file, self.path = descriptor, path
        while chunk := posix.read(descriptor, _CHUNK):
            self._hash.update(chunk)
            self.offset += len(chunk)
        if self.offset > self.descriptor.size:
            self.restart()

    def write(self, data: bytes) -> None:
        """Append bytes; raise Corrupt as soon as there are more than were announced."""
        self.offset += len(data)
        if self.offset > self.descriptor.size:
            self.abort()
            message = f"{self.descriptor.digest}: more bytes than the {self.descriptor.size} announced"
            raise Corrupt(message)
        self._hash.update(data)
        try:
            atomic.write_all(self._file, data)
        except OSError as error:
            self.abort()
            raise atomic.storage_error(error, f"store {self.descriptor.digest}") from error

    def restart(self) -> None:
        """Begin again at 0 (the source could not go on where we were)."""
        posix.ftruncate(self._file, 0)
        posix.lseek(self._file, 0, os.SEEK_SET)
        self.offset = 0
        self._hash = _hasher(self.descriptor.digest)

    def commit(self) -> None:
        """Check size and digest and make the blob visible; what is wrong is thrown away (Corrupt)."""
        expected = self.descriptor
        algorithm = expected.digest.partition(":")[0]
        found = f"{algorithm}:{self._hash.hexdigest()}"
        if self.offset != expected.size or found != expected.digest:
            self.abort()
            message = f"failed to verify {expected.digest}: got {self.offset} bytes with digest {found}"
            raise Corrupt(
                message, hint="the source has other bytes than it announced; try again, or get it anew"
            )
        self._content.adopt(self.path, expected.digest, expected.size)
        self._close()

    def abort(self) -> None:
        """Throw away what has been written; harmless after commit."""
        if self._file >= 0:
            atomic.remove_file(self.path)
            self._close()

    def _close(self) -> None:
        if self._file >= 0:
            posix.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Keep a resumable part, throw any other away."""
        if self._resumable:
            self._close()
        else:
            self.abort()


class VerifiedReader:
    """A stream that raises Corrupt at its end if size or digest are not the descriptor's."""

    def __init__(self, stream: Any, descriptor: Descriptor) -> None:
        """Read from `stream` (read, close)."""
        self._stream = stream
        self._descriptor = descriptor
        self._hash = _hasher(descriptor.digest)
        self._left = descriptor.size

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes (all of it by default), b"" at the verified end."""
        if size < 0:
            chunks = []
            while chunk := self.read(_CHUNK):
                chunks.append(chunk)
            return b"".join(chunks)
        if size == 0:
            return b""
        data: bytes = self._stream.read(size)
        self._hash.update(data)
        self._left -= len(data)
        if self._left < 0 or (not data and self._left > 0):
            raise self._wrong(f"not {self._descriptor.size} bytes long")
        # With the last byte, not after it: whoever knows the size may not read on to the end.
        if self._left == 0:
            expected = self._descriptor.digest
            found = f"{expected.partition(':')[0]}:{self._hash.hexdigest()}"
            if found != expected:
                raise self._wrong(f"its bytes have digest {found}")
        return data

    def _wrong(self, what: str) -> Corrupt:
        message = f"content {self._descriptor.digest}: {what}"
        return Corrupt(message, hint="`tiffin fsck --repair` drops it; then pull or build again")

    def close(self) -> None:
        """Give the stream back."""
        self._stream.close()

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        self.close()


class LayerStream:
    """The uncompressed tar of a layer's folder, made by a thread while it is read."""

    def __init__(self, folder: str, xattr: str) -> None:
        """Start the thread."""
        import threading

        self._read_end, self._write_end = os.pipe()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, args=(folder, xattr), daemon=True)
        self._thread.start()

    def _produce(self, folder: str, xattr: str) -> None:
        from tiffin.layer.diff import write_tar

        try:
            write_tar(folder, lambda data: atomic.write_all(self._write_end, data), xattr=xattr)
        except BrokenPipeError:
            pass  # the reader has seen enough
        except BaseException as error:  # noqa: BLE001 - it is raised again, by the reader
            self._error = error
        finally:
            posix.close(self._write_end)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; raise what went wrong in the thread."""
        data = posix.read(self._read_end, size)
        if not data:
            self._thread.join()
            if self._error:
                raise self._error
        return data

    def close(self) -> None:
        """Stop the thread if it still writes."""
        if self._read_end >= 0:
            posix.close(self._read_end)
            self._read_end = -1
            self._thread.join()


def _create(path: str, flags: int) -> int:
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return posix.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return posix.open(path, flags, 0o600)


def _hasher(digest: str) -> Any:
    import hashlib

    return hashlib.new(digests.check(digest).partition(":")[0])


def _digest_of(like: str, data: bytes) -> str:
    hasher = _hasher(like)
    hasher.update(data)
    return f"{like.partition(':')[0]}:{hasher.hexdigest()}"
