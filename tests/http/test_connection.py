"""One connection, fed with raw bytes: framing both ways, limits, hostile heads, leaving HTTP."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import Corrupt
from tiffin.http.connection import Connection, Served
from tiffin.http.limits import Limits
from tiffin.http.message import Request, Response, text

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = Limits(head_bytes=4096, idle=20, drain=100)


class Client:
    """The other end of a connection that one thread serves."""

    def __init__(self, limits: Limits = SMALL) -> None:
        """Start to serve `handle`."""
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(60)
        self.served: list[Served] = []
        self.seen: list[Request] = []
        self.bodies: list[bytes] = []
        self.closed = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        connection = Connection(
            theirs, self.handle, limits, peer="test", log=self.served.append, ending=lambda: False
        )
        self.thread = threading.Thread(target=connection.serve)
        self.thread.start()

    def handle(self, request: Request) -> Response:  # noqa: C901, PLR0911 - a table of behaviours
        """Answer as the path says."""
        self.seen.append(request)
        self.may_answer.wait(10)
        if request.path == "/ignore":
            return text(200, "not read")
        if request.path == "/small":
            self.bodies.append(request.body.read_all(10))
        if request.path == "/stream":
            return Response(status=200, body=self.stream(break_off=False))
        if request.path == "/breaks":
            return Response(status=200, body=self.stream(break_off=True), length=100)
        if request.path == "/wrong":
            raise ValueError("a mistake")
        if request.path == "/split":
            return Response(status=200, headers=(("X", "a\r\nSet-Cookie: b"),))
        if request.path == "/late":
            return Response(status=200, body=iter(request.body.read, b""))
        if request.path == "/upgrade":
            return Response(status=101, headers=(("Upgrade", "tcp"),), upgrade=self.raw)
        if request.path == "/nothing":
            return Response(status=204)
        data = b""
        while part := request.body.read(3):
            data += part
        self.bodies.append(data)
        return Response(status=200, body=data)

    def stream(self, *, break_off: bool) -> Iterator[bytes]:
        """Yield a body in pieces."""
        try:
            yield b"one"
            yield b""
            yield b"two"
            if break_off:
                raise Corrupt("bad disk")
        finally:
            self.closed.set()

    def raw(self, sock: socket.socket, early: bytes) -> None:
        """Echo what comes on the bare connection, in capitals."""
        self.closed.set()
        while early or (early := sock.recv(100)):
            sock.sendall(early.upper())
            early = b""

    def talk(self, *parts: bytes) -> bytes:
        """Send bytes, say that there are no more, return all that comes back."""
        for part in parts:
            self.sock.sendall(part)
        self.sock.shutdown(socket.SHUT_WR)
        return self.rest()

    def rest(self) -> bytes:
        """Return what comes until the other end closes."""
        found = b""
        while data := self.sock.recv(65536):
            found += data
        return found

    def until(self, end: bytes) -> bytes:
        """Return what comes, up to some bytes."""
        found = b""
        while not found.endswith(end):
            data = self.sock.recv(1)
            assert data, found
            found += data
        return found


@pytest.fixture
def client() -> Iterator[Client]:
    """A connection with small limits, and the patience of a real one."""
    made = Client()
    yield made
    made.sock.close()
    made.thread.join()


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def test_several_requests_on_one_connection(client: Client) -> None:
    """Requests are answered in order, also when they come in one packet, with bodies of both framings."""
    chunked = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\nTrailer: t\r\n\r\n"
    answer = client.talk(
        head("PUT", "/echo", "Content-Length: 5") + b"12345",
        head("PUT", "/echo", "Transfer-Encoding: chunked") + chunked + head("GET", "/nothing"),
    )
    assert client.bodies == [b"12345", b"abcdefgh"]
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HTTP/1.1 204 ") == 1
    assert [s.status for s in client.served] == [200, 200, 204]
    assert client.served[1].sent == 8


def test_a_body_of_unknown_length_is_chunked(client: Client) -> None:
    """Pieces become chunks, an empty piece ends nothing, and the iterator is closed."""
    answer = client.talk(head("GET", "/stream"))
    assert answer.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert client.closed.is_set()


def test_http_1_0_gets_no_chunks(client: Client) -> None:
    """An old client gets the bare bytes, and the end of the connection as their end."""
    answer = client.talk(b"GET /stream HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nonetwo")


def test_head_announces_and_sends_nothing(client: Client) -> None:
    """HEAD has the headers of GET and no body."""
    answer = client.talk(head("HEAD", "/ignore"))
    assert b"Content-Length: 9" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_body_that_breaks_off_is_not_ended(client: Client) -> None:
    """What goes wrong in the middle of a body cuts the connection: the client cannot take it as whole."""
    answer = client.talk(head("GET", "/breaks"), head("GET", "/nothing"))
    assert answer.endswith(b"onetwo")
    assert isinstance(client.served[0].trouble, Corrupt)


def test_expect_is_answered_when_the_body_is_wanted(client: Client) -> None:
    """100 comes when the handler reads, and not at all where it doesn't."""
    client.sock.sendall(head("PUT", "/echo", "Content-Length: 2", "Expect: 100-continue"))
    assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    client.sock.sendall(b"ok")
    assert client.until(b"\r\n\r\nok").startswith(b"HTTP/1.1 200 ")
    client.sock.sendall(head("PUT", "/ignore", "Content-Length: 2", "Expect: 100-continue"))
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer


def test_a_short_unread_body_is_read_away(client: Client) -> None:
    """What a handler left of a short body does not become the next request."""
    answer = client.talk(head("PUT", "/ignore", "Content-Length: 26") + head("GET", "/evil")[:26])
    assert answer.count(b"HTTP/1.1") == 1
    assert [r.path for r in client.seen] == ["/ignore"]


def test_a_long_unread_body_ends_the_connection(client: Client) -> None:
    """A body that nobody reads is not taken in: the answer comes at once, and the connection ends."""
    client.sock.sendall(head("PUT", "/ignore", "Content-Length: 1000000"))
    answer = client.until(b"not read\n")
    assert b"Connection: close" in answer
    assert client.rest() == b""


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_readers_limit_is_413(client: Client, *, announced: bool) -> None:
    """A reader's limit holds for announced and for chunked bodies."""
    framing = "Content-Length: 11" if announced else "Transfer-Encoding: chunked"
    body = b"x" * 11 if announced else b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"
    answer = client.talk(head("PUT", "/small", framing) + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert client.bodies == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%2e%2e%2Fetc HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS at a plain port
    ],
)
def test_a_hostile_head_is_refused(client: Client, sent: bytes, status: int) -> None:
    """What is not HTTP never reaches a handler, and ends the connection."""
    client.sock.sendall(sent)
    assert client.rest().startswith(b"HTTP/1.1 %d " % status)
    assert client.seen == []


def test_junk_in_chunks_is_400(client: Client) -> None:
    """A chunked body that is none is refused while it is read."""
    client.sock.sendall(head("PUT", "/echo", "Transfer-Encoding: chunked") + b"zz\r\n")
    assert client.rest().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"GET / HT", head("PUT", "/echo", "Content-Length: 5") + b"12"])
def test_silence_ends_a_connection(sent: bytes) -> None:
    """A head or a body that does not go on is given up in time."""
    client = Client(SMALL.replace(head=0.2, silence=0.2))
    client.sock.sendall(sent)
    assert client.rest() == b""
    assert client.bodies == []
    client.sock.close()
    client.thread.join()


def test_a_mistake_in_a_handler_is_500_and_told(client: Client) -> None:
    """An exception is not shown to the client, is in the log, and the connection goes on."""
    answer = client.talk(head("GET", "/wrong"), head("GET", "/nothing"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"a mistake" not in answer
    assert b"HTTP/1.1 204 " in answer
    assert isinstance(client.served[0].trouble, ValueError)


def test_a_header_cannot_be_split(client: Client) -> None:
    """A response header with a line break in it is never sent."""
    assert b"Set-Cookie" not in client.talk(head("GET", "/split"))


def test_a_connection_can_leave_http(client: Client) -> None:
    """After 101 the bytes are raw in both directions, those included that came with the request."""
    client.sock.sendall(head("POST", "/upgrade", "Connection: Upgrade", "Upgrade: tcp") + b"early ")
    assert client.until(b"EARLY ").startswith(b"HTTP/1.1 101 ")
    client.sock.sendall(b"late")
    assert client.until(b"LATE") == b"LATE"
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest() == b""


def test_an_upgrade_is_told_of_a_client_that_has_left(client: Client) -> None:
    """What waits for the bare connection is called, and can give back what it holds."""
    client.may_answer.clear()
    client.sock.sendall(head("POST", "/upgrade", "Connection: Upgrade", "Upgrade: tcp"))
    client.sock.close()
    client.may_answer.set()
    client.thread.join(10)
    assert client.closed.is_set()


def test_pieces_of_an_answer_may_read_the_body(client: Client) -> None:
    """A short body is not read away from under an answer that is still to be made of it."""
    client.sock.sendall(head("POST", "/late", "Content-Length: 5") + b"whole")
    assert b"whole" in client.rest()
