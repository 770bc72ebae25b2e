"""Blobs to a registry: in one piece, in chunks where one piece is refused, again after a broken connection.

Sources: distribution-spec, "Pushing a blob monolithically", "Pushing a blob in chunks".
"""

from __future__ import annotations

import contextlib

from tiffin.errors import Corrupt, TiffinError, Unavailable
from tiffin.registry import address, answers, transport
from tiffin.registry.session import read_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.registry.auth import Scope
    from tiffin.registry.session import Session
    from tiffin.spec.blob import BlobReader, Progress
    from tiffin.spec.descriptor import Descriptor
    from tiffin.spec.reference import Reference

_PIECE = 256 << 10
_CHUNK = 16 << 20
_LONGEST_CHUNK = 256 << 20
# What a broken attempt must have brought to be gone on with; less counts as a failure like any other.
_PROGRESS = 64 << 10


class Outgoing:
    """A blob on its way out: counts what was sent, and can start anew where its source can."""

    def __init__(
        self, descriptor: Descriptor, reopen: Callable[[], BlobReader | None], progress: Progress
    ) -> None:
        """Open the source; `reopen` returns a fresh reader, or None when there is no other one."""
        self._descriptor = descriptor
        self._reopen = reopen
        self._progress = progress
        self._reader = reopen()
        self.sent = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; never more than the descriptor promises."""
        if self._reader is None:
            return b""
        piece = self._reader.read(_PIECE if size < 0 else size)
        self.sent += len(piece)
        if self.sent > self._descriptor.size or (not piece and self.sent < self._descriptor.size):
            message = f"{self._descriptor.digest}: the source is not of {self._descriptor.size} bytes"
            raise Corrupt(message)
        self._progress(len(piece))
        return piece

    def skip(self, size: int) -> None:
        """Pass over bytes that the registry has."""
        while size:
            size -= len(self.read(min(size, _PIECE)))

    def again(self) -> bool:
        """Start anew and take the counted bytes back; return False if the source cannot."""
        if self.sent == 0 and self._reader is not None:
            return True
        fresh = self._reopen()
        if fresh is None:
            return False
        if self._reader is not None and self._reader is not fresh:
            self._reader.close()
        self._reader = fresh
        self._progress(-self.sent)
        self.sent = 0
        return True

    def close(self) -> None:
        """Close the source."""
        if self._reader is not None:
            self._reader.close()


class Upload:
    """One blob's way into one repository: a session of the registry, then the bytes."""

    def __init__(self, session: Session, reference: Reference, scope: Scope, descriptor: Descriptor) -> None:
        """Prepare; nothing is asked yet."""
        self._session = session
        self._reference = reference
        self._scope = scope
        self._descriptor = descriptor
        self._chunk = _CHUNK

    def start(self, query: str = "") -> str:
        """Open an upload session; return its URL, or "" when `query` mounted the blob (201)."""
        path = f"/v2/{self._reference.path}/blobs/uploads/{query}"
        reply = self._session.ask("POST", path, scope=self._scope, body=b"")
        if reply.status == 201 and query:
            return ""
        if reply.status != 202:
            raise self._failure(reply.status, reply.body, reply.headers.get("www-authenticate", ""))
        least = reply.headers.get("oci-chunk-min-length", "")
        if least.isdecimal():
            self._chunk = min(max(_CHUNK, int(least)), _LONGEST_CHUNK)
        return self._location(reply.url, reply.headers.get("location", ""))

    def send(self, body: Outgoing, location: str = "") -> None:
        """Send the blob: in one piece; in chunks from where it broke off, or where one piece is refused.

        `location` is a session that is open already. Raises Unavailable, Corrupt, Forbidden...
        """
        attempts = self._session.transport.limits.attempts
        for attempt in range(1, attempts + 1):
            location = location or self.start()
            try:
                status, answer_body = self._put(body, location)
            except transport.Broken as error:
                if attempt == attempts or not error.again or not body.again():
                    raise
                if self._went_on(body, location):
                    return
            else:
                if status < 300:
                    return
                if status in {404, 405, 411, 413, 416, 501} and body.again():
                    self._cancel(location)
                    self._send_chunks(body, self.start())
                    return
                worth = status == 429 or (status >= 500 and status not in {501, 505})
                if attempt == attempts or not worth or not body.again():
                    self._cancel(location)
                    raise self._failure(status, answer_body)
            # What a registry kept of a broken attempt was of no use: another one needs a session of its own.
            self._cancel(location)
            location = ""
            self._session.transport.pause(attempt)

    def _went_on(self, body: Outgoing, location: str) -> bool:
        """Send the rest of a blob whose transfer broke off; False where the registry cannot go on with it.

        Debian's docker-registry never can: its sessions end with a broken request.
        """
        self._session.transport.pause(1)
        try:
            location, have = self._where(location)
        except TiffinError:
            return False
        if not _PROGRESS <= have <= self._descriptor.size:
            return False
        body.skip(have)
        try:
            self._send_chunks(body, location, have)
        except Unavailable:
            if not body.again():
                raise
            return False
        return True

    def _put(self, body: Outgoing, location: str) -> tuple[int, bytes]:
        answer = self._session.send(
            "PUT",
            address.with_query(location, f"digest={self._descriptor.digest}"),
            scope=self._scope,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(self._descriptor.size),
            },
            body=body,
            silence=self._session.transport.limits.commit,
            retry=False,
        )
        self._check_digest(answer.status, answer.headers.get("Docker-Content-Digest", ""))
        return answer.status, read_body(answer, answers.BODY_LIMIT, cut=True)

    def _send_chunks(self, body: Outgoing, location: str, offset: int = 0) -> None:
        """Send it by PATCH, each chunk kept until the registry has it, then close by an empty PUT."""
        while offset < self._descriptor.size:
            chunk = _read_full(body, min(self._chunk, self._descriptor.size - offset))
            location = self._send_chunk(chunk, offset, location)
            offset += len(chunk)
        url = address.with_query(location, f"digest={self._descriptor.digest}")
        reply = self._session.ask("PUT", url, scope=self._scope, headers={"Content-Length": "0"}, body=b"")
        if reply.status >= 300:
            raise self._failure(reply.status, reply.body)
        self._check_digest(reply.status, reply.headers.get("docker-content-digest", ""))

    def _send_chunk(self, chunk: bytes, offset: int, location: str) -> str:
        """Send one chunk, the missing part of it again after trouble; return where the next one goes."""
        attempts = self._session.transport.limits.attempts
        start = failures = 0
        while True:
            part = chunk[start:]
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{offset + start}-{offset + len(chunk) - 1}",
            }
            failures += 1
            try:
                answer = self._session.send(
                    "PATCH", location, scope=self._scope, headers=headers, body=part, retry=False
                )
                text = read_body(answer, answers.BODY_LIMIT, cut=True)
            except transport.Broken as error:
                if failures == attempts or not error.again:
                    raise
            else:
                if answer.status in {202, 204}:
                    return self._location(answer.url or location, answer.headers.get("Location", ""))
                if failures == attempts or (answer.status < 500 and answer.status not in {416, 429}):
                    raise self._failure(answer.status, text)
            self._session.transport.pause(failures)
            location, end = self._where(location)
            if end >= offset + len(chunk):
                return location
            if end < offset:
                message = f"upload {self._descriptor.digest}: the registry lost what it had"
                raise Unavailable(message, hint="try again")
            if end - offset - start >= _PROGRESS:
                failures = 0
            start = end - offset

    def _where(self, location: str) -> tuple[str, int]:
        """Ask how far a session is: its URL and the number of bytes the registry has."""
        reply = self._session.ask("GET", location, scope=self._scope)
        if reply.status not in {202, 204}:
            raise self._failure(reply.status, reply.body)
        last = reply.headers.get("range", "").rpartition("-")[2]
        have = int(last) + 1 if last.isdecimal() and int(last) else 0
        return self._location(reply.url or location, reply.headers.get("location", "") or location), have

    def _cancel(self, location: str) -> None:
        """Tell the registry to forget a session; it does so by itself after days, so failure is nothing."""
        with contextlib.suppress(TiffinError):
            self._session.ask("DELETE", location, scope=self._scope, retry=False)

    def _location(self, url: str, location: str) -> str:
        if not location:
            message = f"upload {self._descriptor.digest}: the registry did not say where to"
            raise Corrupt(message)
        return address.join(url, location)

    def _check_digest(self, status: int, digest: str) -> None:
        if status < 300 and digest.startswith("sha256:") and digest != self._descriptor.digest:
            message = f"upload {self._descriptor.digest}: the registry stored {answers.clean(digest)}"
            raise Corrupt(message)

    def _failure(self, status: int, body: bytes, challenge: str = "") -> TiffinError:
        return self._session.failure(
            status, body, what="upload", reference=self._reference, push=True, challenge=challenge
        )


def _read_full(body: Outgoing, size: int) -> bytes:
    pieces = []
    while size:
        piece = body.read(min(size, _PIECE))
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
