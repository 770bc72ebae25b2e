"""One client's connection: h11 says what the bytes mean, this moves them. Runs in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import time

import h11

from tiffin.errors import TiffinError
from tiffin.http import message
from tiffin.http.message import Disconnected, Malformed, Request, Response, TooLarge
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.http.limits import Limits

    Handler = Callable[[Request], Response]
    Log = Callable[["Served"], None]

_CHUNK = 256 << 10
_NO_BODY = frozenset({204, 304})
_LINGER_SECONDS = 2.0


class Served(Value):
    """What an access log says of one request. `trouble` is an exception that no handler may raise."""

    peer: str
    method: str
    target: str
    status: int
    sent: int
    seconds: float
    trouble: BaseException | None = None


class Connection:
    """A socket on which requests are answered, one after the other, until either side ends it."""

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        limits: Limits,
        *,
        peer: str,
        log: Log,
        ending: Callable[[], bool],
    ) -> None:
        """Take over a connected socket; once `ending` says so, the present request is the last."""
        self._socket = sock
        self._handler = handler
        self._limits = limits
        self._peer = peer
        self._log = log
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._ending = ending
        self.idle = True
        """Between two requests: the server may cut the connection without harm."""

    def serve(self) -> None:
        """Answer requests until the connection ends, then close it."""
        try:
            while self._serve_one():
                self._http.start_next_cycle()
        except (OSError, Disconnected):
            pass  # the client is gone, there is nobody left to tell
        finally:
            self._socket.close()

    def end(self, *, at_once: bool = False) -> None:
        """Cut the connection if it is idle, or in any case (called by other threads)."""
        if self.idle or at_once:
            # Not SSLSocket's own: that one takes the TLS away from under the thread that reads.
            with contextlib.suppress(OSError):  # closed already
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _serve_one(self) -> bool:
        """Answer one request; return whether another may come."""
        self.idle = True
        try:
            head = self._head()
            if head is None:
                return False
            self.idle = False
            path, query = message.split_target(head.target)
        except Malformed as error:
            self.idle = False
            self._refuse(error)
            return False
        body = _Body(self, head)
        request = Request(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii", "replace"),
            path=path,
            query=query,
            headers=tuple((k.decode("ascii"), v.decode("latin-1")) for k, v in head.headers),
            body=body,
            peer=self._peer,
            gone=self._socket.fileno(),
        )
        return self._answer(request, body)

    # Reading

    def _head(self) -> h11.Request | None:
        """Wait for a request; None where the client goes away between two."""
        deadline = 0.0
        while True:
            event = self._event()
            if isinstance(event, h11.Request):
                if sum(len(name) + len(value) for name, value in event.headers) > self._limits.head_bytes:
                    # h11 counts only heads that come in several pieces.
                    raise Malformed("too many bytes of headers") from h11.RemoteProtocolError("", 431)
                return event
            if event is not h11.NEED_DATA:
                return None
            if not deadline and self._http.trailing_data[0]:
                self.idle = False
                deadline = time.monotonic() + self._limits.head
            left = deadline - time.monotonic() if deadline else self._limits.idle
            if left <= 0 or not self._receive(left):
                return None

    def _event(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Malformed(str(error)) from error

    def _receive(self, patience: float) -> bool:
        """Read what there is; False when nothing came in time or the client has ended."""
        self._socket.settimeout(patience)
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            return False
        self._http.receive_data(data)
        return bool(data)

    def body_event(self) -> object:
        """Return h11's next event of the request's body, reading as needed."""
        if self._http.they_are_waiting_for_100_continue:
            self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            event = self._event()
            if event is not h11.NEED_DATA:
                return event
            if not self._receive(self._limits.silence):
                raise Disconnected("the client broke off in the middle of a body")

    # Answering

    def _answer(self, request: Request, body: _Body) -> bool:
        begun, trouble = time.monotonic(), None
        try:
            response = self._handler(request)
        except TooLarge as error:
            response = message.of_error(error)
        except Malformed as error:
            response = message.of_error(error)
        except Disconnected:
            self._note(request, 499, 0, begun, None)
            raise
        except Exception as error:  # noqa: BLE001 - one request's mistake is not the server's end
            trouble = error
            response = message.text(500, "internal server error")
        sent = 0
        try:
            if response.upgrade is not None:
                self._upgrade(response)
                return False
            # Pieces may be made of a body that is still to come: it is not read away from under them.
            drain = self._limits.drain if isinstance(response.body, bytes) else 0
            reusable = body.settle(drain) and not self._ending()
            sent = self._send(response, reusable=reusable, head_only=request.method == "HEAD")
        except (TiffinError, h11.ProtocolError) as error:
            # A body in pieces that broke off: the client sees it cut short.
            trouble = trouble or error
            reusable = False
        finally:
            message.close_body(response)
            self._note(request, response.status, sent, begun, trouble or response.trouble)
        return self._keep(reusable=reusable)

    def _note(
        self, request: Request, status: int, sent: int, begun: float, trouble: BaseException | None
    ) -> None:
        self._log(
            Served(
                peer=self._peer,
                method=request.method,
                target=request.target,
                status=status,
                sent=sent,
                seconds=time.monotonic() - begun,
                trouble=trouble,
            )
        )

    def _keep(self, *, reusable: bool) -> bool:
        states = (self._http.our_state, self._http.their_state)
        if reusable and not self._ending() and states == (h11.DONE, h11.DONE):
            return True
        self._linger()
        return False

    def _refuse(self, error: Malformed) -> None:
        """Answer bytes that are not HTTP, if an answer can still be sent."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        cause = error.__cause__
        status = cause.error_status_hint if isinstance(cause, h11.RemoteProtocolError) else 400
        self._log(Served(peer=self._peer, method="-", target="-", status=status, sent=0, seconds=0.0))
        self._send(message.text(status, error.message), reusable=False, head_only=False)
        self._linger()

    def _send(self, response: Response, *, reusable: bool, head_only: bool) -> int:
        """Send a response and return how many bytes of body went out."""
        headers = list(response.headers)
        length = len(response.body) if isinstance(response.body, bytes) else response.length
        if response.length is not None:
            length = response.length
        if length is not None and response.status not in _NO_BODY:
            headers.append(("Content-Length", str(length)))
        if not reusable:
            headers.append(("Connection", "close"))
        self._send_event(h11.Response(status_code=response.status, headers=headers))
        sent = 0
        if not head_only and response.status not in _NO_BODY:
            for piece in message.pieces(response):
                self._send_event(h11.Data(data=piece))
                sent += len(piece)
        self._send_event(h11.EndOfMessage())
        return sent

    def _send_event(self, event: h11.Event) -> None:
        self._socket.settimeout(self._limits.silence)
        for part in self._http.send_with_data_passthrough(event) or ():
            if part:
                self._socket.sendall(part)

    def _upgrade(self, response: Response) -> None:
        """Leave HTTP: from here on the socket belongs to the response's `upgrade`."""
        assert response.upgrade is not None  # noqa: S101 - for the type checker
        self._socket.settimeout(self._limits.silence)
        # By hand: h11 would frame the body of a 200, and shares its 101 only with clients that asked.
        reason = "UPGRADED" if response.status == 101 else "OK"
        lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{k}: {v}" for k, v in response.headers)]
        # A client that has left by now is for `upgrade` to see: it may hold what has to be given back.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        self._socket.settimeout(None)
        response.upgrade(self._socket, self._http.trailing_data[0])

    def _linger(self) -> None:
        """Wait a moment for the client to read our last answer before the connection is reset."""
        deadline = time.monotonic() + _LINGER_SECONDS
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not socket.socket.recv(self._socket, _CHUNK):
                    return
        except OSError:
            return


class _Body:
    """See `message.Body`."""

    def __init__(self, connection: Connection, head: h11.Request) -> None:
        """Belong to the request whose head has just been read."""
        self._connection = connection
        self._pending = b""
        self._ended = False
        fields = dict(head.headers)
        self.length: int | None = int(fields.get(b"content-length", b"0"))
        if b"transfer-encoding" in fields:
            self.length = None

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes (what has come already, by default), b"" at the end."""
        while not self._pending and not self._ended:
            event = self._connection.body_event()
            if isinstance(event, h11.Data):
                self._pending = bytes(event.data)
            else:
                self._ended = True
        if size < 0:
            size = len(self._pending)
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def read_all(self, limit: int) -> bytes:
        """Return the whole body; raise TooLarge as soon as it has more than `limit` bytes."""
        if self.length is not None and self.length > limit:
            raise TooLarge(f"a body of {self.length} bytes: at most {limit} are taken here")
        parts, total = [], 0
        while part := self.read():
            total += len(part)
            if total > limit:
                raise TooLarge(f"a body of more than {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    def settle(self, limit: int) -> bool:
        """Read away what is left of a short body; return whether the request has now ended."""
        http = self._connection._http  # noqa: SLF001 - two halves of one thing
        if self._ended:
            return True
        waiting = http.they_are_waiting_for_100_continue and self.length != 0
        if waiting or http.their_state is h11.ERROR or self.length is None or self.length > limit:
            return False
        try:
            while self.read():
                continue
        except Malformed:
            return False
        return True
