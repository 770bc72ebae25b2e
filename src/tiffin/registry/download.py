"""Blobs from a registry: a stream that verifies what it reads and resumes what breaks off.

Source: distribution-spec, "Pulling blobs".
"""

from __future__ import annotations

import hashlib
import time

from urllib3.exceptions import HTTPError

from tiffin.errors import Corrupt, Unavailable
from tiffin.registry import transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse

    from tiffin.spec.descriptor import Descriptor

_PIECE = 256 << 10
# A resumed download has got somewhere when it brought this much; else a server could have us
# connect once for each byte.
_PROGRESS = 64 << 10
# Less than this in a window (Limits) is a stall: the connection is given up and resumed.
_WINDOW_BYTES = 16 << 10


class BlobStream:
    """One blob's bytes from `offset` on. The read that reaches the end has verified them.

    Size and, with `verify` from offset 0, digest are verified; whoever resumes at an offset has the
    first bytes and verifies the whole. A connection that breaks or stalls is resumed where it stopped.
    """

    def __init__(
        self,
        open_at: Callable[[int], BaseHTTPResponse],
        descriptor: Descriptor,
        offset: int,
        transporter: transport.Transport,
        *,
        verify: bool = True,
    ) -> None:
        """Open it; `open_at` returns the answer to a request for everything from an offset on."""
        if not 0 <= offset <= descriptor.size:
            message = f"{descriptor.digest}: offset {offset} is outside of the blob"
            raise Corrupt(message)
        self._open_at = open_at
        self._descriptor = descriptor
        self._transport = transporter
        self._offset = offset
        self._hash = hashlib.new(descriptor.digest.partition(":")[0]) if verify and offset == 0 else None
        self._failures = 0
        self._opened_at = offset
        self._window_start = offset
        self._window_seconds = 0.0
        self._answer: BaseHTTPResponse | None = None
        self._done = False
        if offset < descriptor.size:
            self._answer = self._open()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes (all that is left, with -1), b"" at the end.

        Raises Corrupt for bytes that are not the blob's, Unavailable when the transfer cannot go on.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        piece = b""
        while not self._done and size and not piece:
            piece = self._read_piece(min(size, self._descriptor.size - self._offset))
            if self._offset == self._descriptor.size:
                self._finish()
        return piece

    def close(self) -> None:
        """Drop the connection of a half-read blob; a fully read one has gone back to the pool."""
        self._done = True
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _open(self) -> BaseHTTPResponse:
        """Ask for the rest; a server that ignores the Range has its first bytes thrown away."""
        answer = self._open_at(self._offset)
        skip, rest = 0, self._descriptor.size - self._offset
        if self._offset:
            start = answer.headers.get("Content-Range", "").partition("bytes ")[2].partition("-")[0]
            if answer.status == 206 and start and start != str(self._offset):
                answer.close()
                message = f"{self._descriptor.digest}: the registry sent another range than asked for"
                raise Corrupt(message)
            skip = 0 if answer.status == 206 else self._offset
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) != rest + skip:
            answer.close()
            raise self._wrong_size(int(length) - skip + self._offset)
        self._opened_at = self._offset
        self._window_start, self._window_seconds = self._offset, 0.0
        while skip:
            try:
                piece = answer.read1(min(skip, _PIECE), decode_content=False)
            except (HTTPError, OSError) as error:
                answer.close()
                raise self._translate(error) from error
            if not piece:
                raise self._wrong_size(0)
            skip -= len(piece)
        return answer

    def _read_piece(self, wanted: int) -> bytes:
        """Return some bytes, or b"" after a failure that was resumed from."""
        if wanted == 0:
            return b""
        started = time.monotonic()
        try:
            if self._answer is None:
                self._answer = self._open()
            piece = self._answer.read1(wanted, decode_content=False)
            self._check_pace(time.monotonic() - started)
        except (HTTPError, OSError) as error:
            self._give_up_or_pause(self._translate(error))
            return b""
        except transport.Broken as error:
            self._give_up_or_pause(error)
            return b""
        if not piece:
            self._give_up_or_pause(transport.Broken(f"{self._verb()}: unexpected EOF", again=True))
            return b""
        self._offset += len(piece)
        if self._hash is not None:
            self._hash.update(piece)
        return piece

    def _check_pace(self, seconds: float) -> None:
        """Raise Broken when a whole window brought next to nothing: a drip keeps every time limit away."""
        self._window_seconds += seconds
        if self._window_seconds < self._transport.limits.window:
            return
        if self._offset - self._window_start < _WINDOW_BYTES:
            message = f"{self._verb()}: the transfer has stalled"
            raise transport.Broken(message, again=True)
        self._window_start, self._window_seconds = self._offset, 0.0

    def _give_up_or_pause(self, error: transport.Broken | Unavailable) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self._offset - self._opened_at >= _PROGRESS:
            self._failures = 0
        self._failures += 1
        again = error.again if isinstance(error, transport.Broken) else False
        if not again or self._failures >= self._transport.limits.attempts:
            self._done = True
            error.hint = error.hint or "the connection broke off; the same command goes on where it stopped"
            raise error
        self._transport.pause(self._failures)

    def _finish(self) -> None:
        """Check that nothing follows and that the digest is right; give the connection back."""
        self._done = True
        answer, self._answer = self._answer, None
        if answer is not None:
            try:
                extra = answer.read1(1, decode_content=False)
            except (HTTPError, OSError):
                extra = b""
                answer.close()
            if extra:
                answer.close()
                raise self._wrong_size(self._descriptor.size + 1)
            answer.release_conn()
        if self._hash is not None and self._hash.hexdigest() != self._descriptor.digest.partition(":")[2]:
            message = (
                f"failed to verify {self._descriptor.digest}: the registry sent sha of "
                f"{self._hash.hexdigest()[:12]}..."
            )
            raise Corrupt(message, hint="the registry or a proxy on the way holds damaged data")

    def _verb(self) -> str:
        return f"fetch {self._descriptor.digest}"

    def _wrong_size(self, got: int) -> Corrupt:
        digest, size = self._descriptor.digest, self._descriptor.size
        more = "at least " if got == size + 1 else ""
        return Corrupt(f"failed to verify {digest}: the registry sent {more}{got} bytes, not {size}")

    def _translate(self, error: Exception) -> transport.Broken | Unavailable:
        url = (self._answer.url if self._answer else "") or self._transport.base()
        found = transport.translate(error, self._verb(), url)
        return found if isinstance(found, Unavailable) else Unavailable(found.message)
