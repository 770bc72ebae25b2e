"""What is asked and what is answered: requests, responses, targets, ranges. No I/O here."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from tiffin.errors import InvalidArgument, TiffinError, Unavailable
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    Headers = tuple[tuple[str, str], ...]
    # Called with the connection's socket and the bytes that were read beyond the request.
    Upgrade = Callable[[socket.socket, bytes], None]
else:
    Protocol = object


class Malformed(InvalidArgument):
    """The client's bytes are not HTTP; the connection ends with 400."""


class TooLarge(InvalidArgument):
    """A body is longer than its reader takes (413)."""


class NotSatisfiable(InvalidArgument):
    """A range that begins behind the end (416)."""


class Disconnected(Unavailable):
    """The client went away, or went silent, in the middle of a message."""


class Body(Protocol):
    """A request's body, read from the connection as it is asked for."""

    length: int | None
    """What Content-Length announces; None where the client sends chunks."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end; raise Disconnected or Malformed where it breaks off."""

    def read_all(self, limit: int) -> bytes:
        """Return the whole body; raise TooLarge as soon as it has more than `limit` bytes."""


class Request(Value):
    """One request. `path` is decoded, `query` in order, header names are lower case."""

    method: str
    target: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Headers
    body: Body
    peer: str = ""
    gone: int = -1
    """The connection's descriptor, for those who wait long: it hangs up when the client leaves."""

    def header(self, name: str) -> str:
        """Return a header's value ("" where it is not there), several joined by commas (RFC 9110, 5.3)."""
        return ", ".join(value for key, value in self.headers if key == name)

    def parameters(self, name: str) -> list[str]:
        """Return every value of a query parameter."""
        return [value for key, value in self.query if key == name]

    def parameter(self, name: str) -> str:
        """Return a query parameter's last value, or ""."""
        return ("", *self.parameters(name))[-1]

    def bears(self, name: str) -> bool:
        """Tell whether a query parameter was given, empty or not."""
        return bool(self.parameters(name))


class Response(Value):
    """An answer. A body in pieces is sent with `length` if that is known, in chunks if not.

    An iterable body is closed (`close()`, where it has one) also when the client goes away. With
    `upgrade` and status 101 (or 200: bytes until the end) the connection leaves HTTP and is the callee's,
    also where the client has left by then; it is closed afterwards.
    """

    status: int
    headers: Headers = ()
    body: bytes | Iterable[bytes] = b""
    length: int | None = None
    upgrade: Upgrade | None = None
    trouble: BaseException | None = None  # for the log: why it is a 5xx


def text(status: int, sentence: str) -> Response:
    """Return a plain sentence as an answer."""
    return Response(
        status=status,
        headers=(("Content-Type", "text/plain; charset=utf-8"),),
        body=f"{sentence}\n".encode(),
    )


def split_target(target: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the decoded path and the query of a request's target (origin form only, RFC 9112, 3.2.1).

    Raises Malformed for other forms and for what is no UTF-8, holds a NUL, or hides a slash as %2F.
    """
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):
        raise Malformed("the request's target must be a path")
    if b"%2f" in path.lower():
        raise Malformed("an encoded slash in the path")
    pairs = [part.partition(b"=") for part in query.split(b"&") if part]
    return _decoded(path), tuple(
        (_decoded(key.replace(b"+", b" ")), _decoded(value.replace(b"+", b" "))) for key, _, value in pairs
    )


def _decoded(raw: bytes) -> str:
    try:
        decoded = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise Malformed("the request's target is not UTF-8") from None
    if "\0" in decoded:
        raise Malformed("a NUL in the request's target")
    return decoded


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return (first, behind the last) of a Range header for something of `size` bytes.

    None where the whole is to be sent: no range, another unit, several ranges, junk (RFC 9110, 14.2).
    Raises NotSatisfiable for a range that begins behind the end.
    """
    unit, _, wanted = header.partition("=")
    first, dash, last = wanted.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash or not _is_number(first, last) or not (first or last):
        return None
    if not first:
        start, behind = max(size - int(last), 0), size
    else:
        start = int(first)
        behind = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= behind:
        raise NotSatisfiable(f"no bytes {first}-{last} in {size}")
    return start, behind


def _is_number(*texts: str) -> bool:
    return all(not text or (text.isascii() and text.isdigit() and len(text) < 20) for text in texts)


def pieces(response: Response) -> Iterator[bytes]:
    """Yield a response's body in pieces, none of them empty."""
    if isinstance(response.body, bytes):
        if response.body:
            yield response.body
        return
    for piece in response.body:
        if piece:
            yield piece


def close_body(response: Response) -> None:
    """Give back what a body in pieces holds open."""
    close = getattr(response.body, "close", None)
    if close is not None:
        close()


def of_error(error: TiffinError) -> Response:
    """Return the answer to what went wrong before or beside a handler."""
    status = 500
    if isinstance(error, InvalidArgument):
        status = 413 if isinstance(error, TooLarge) else 416 if isinstance(error, NotSatisfiable) else 400
    return text(status, error.message)
