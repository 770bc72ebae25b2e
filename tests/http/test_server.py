"""The server as a whole: threads, TLS, its bounds and its end."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from tests.servers import make_certificate
from tiffin.errors import InvalidArgument, Unavailable
from tiffin.http.limits import Limits
from tiffin.http.message import Request, Response, text
from tiffin.http.server import Server, listen, listen_unix, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Running:
    """A server in a thread; `/wait` is answered once `release` is set."""

    def __init__(self, limits: Limits | None = None, tls: ssl.SSLContext | None = None) -> None:
        """Start it."""
        self.release = threading.Event()
        self.inside = threading.Semaphore(0)
        listener = listen("127.0.0.1", 0)
        self.port = int(listener.getsockname()[1])
        self.server = Server([listener], self.handle, tls=tls, limits=limits)
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def handle(self, request: Request) -> Response:
        """Answer."""
        if request.path == "/wait":
            self.inside.release()
            self.release.wait(20)
        return text(200, request.path)

    def connect(self) -> http.client.HTTPConnection:
        """Return a client."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def stop(self) -> None:
        """Stop it."""
        self.release.set()
        self.server.stop()
        self.thread.join()


@pytest.fixture
def running() -> Iterator[Running]:
    """A plain server."""
    made = Running()
    yield made
    made.stop()


def test_a_slow_request_holds_up_nobody(running: Running) -> None:
    """Each connection has its thread."""
    slow, quick = running.connect(), running.connect()
    slow.request("GET", "/wait")
    running.inside.acquire()
    quick.request("GET", "/quick")
    assert quick.getresponse().read() == b"/quick\n"
    running.release.set()
    assert slow.getresponse().read() == b"/wait\n"
    slow.close()
    quick.close()


def test_stopping_finishes_what_was_begun(running: Running) -> None:
    """Idle connections end at once, a request that is being answered gets its answer, new ones nothing."""
    idle, busy = running.connect(), running.connect()
    idle.request("GET", "/first")
    idle.getresponse().read()
    busy.request("GET", "/wait")
    running.inside.acquire()
    running.server.stop()
    assert idle.sock.recv(1) == b""
    running.release.set()
    answer = busy.getresponse()
    assert answer.read() == b"/wait\n"
    assert answer.getheader("Connection") == "close"
    running.thread.join()
    with pytest.raises(ConnectionRefusedError):
        running.connect().connect()
    idle.close()
    busy.close()


def test_the_grace_ends() -> None:
    """A request that is never answered does not keep the server from ending."""
    running = Running(Limits(grace=0.1))
    client = running.connect()
    client.request("GET", "/wait")
    running.inside.acquire()
    running.server.stop()
    running.thread.join()
    running.release.set()
    client.close()


def test_there_are_never_more_connections_than_allowed() -> None:
    """Further clients wait until one leaves."""
    running = Running(Limits(connections=1))
    first, second = running.connect(), running.connect()
    first.request("GET", "/first")
    first.getresponse().read()
    second.request("GET", "/wait")
    assert not running.inside.acquire(timeout=0.1)
    first.close()
    running.inside.acquire()
    running.release.set()
    assert second.getresponse().status == 200
    second.close()
    running.stop()


def test_tls(tmp_path: Path) -> None:
    """A certificate of our own is served; a client that speaks plain HTTP gets nothing and harms nobody."""
    made = make_certificate(str(tmp_path), "localhost")
    running = Running(tls=tls_context(made.chain, made.key))
    with socket.create_connection(("127.0.0.1", running.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(100)
    context = ssl.create_default_context(cafile=made.ca)
    client = http.client.HTTPSConnection("localhost", running.port, context=context, timeout=20)
    for path in ("/one", "/two"):
        client.request("GET", path)
        assert client.getresponse().read() == path.encode() + b"\n"
    running.server.stop()
    assert client.sock.recv(1) == b""
    client.close()
    running.stop()


def test_wrong_files_for_tls(tmp_path: Path) -> None:
    """A missing file and a file that is no certificate are said before anything listens."""
    with pytest.raises(InvalidArgument, match="no such file"):
        tls_context(f"{tmp_path}/none", f"{tmp_path}/none")
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(InvalidArgument, match="PEM"):
        tls_context(f"{tmp_path}/junk", f"{tmp_path}/junk")


def test_a_port_in_use_is_said() -> None:
    """Listening where somebody listens already is Unavailable."""
    with listen("127.0.0.1", 0) as first, pytest.raises(Unavailable, match="address already in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_only_a_socket_gives_way_to_a_socket(tmp_path: Path) -> None:
    """A file at the path is left as it is; a socket that nobody answers is replaced."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Unavailable, match="file"):
        listen_unix(f"{tmp_path}/file", mode=0o600, group=-1)
    assert (tmp_path / "file").read_text() == "mine"
    listen_unix(f"{tmp_path}/sock", mode=0o600, group=-1).close()
    listen_unix(f"{tmp_path}/sock", mode=0o600, group=-1).close()
