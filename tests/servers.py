"""Real and pretended servers for tests: Debian's docker-registry, TLS certificates, scripted HTTP."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DOCKER_REGISTRY = "/usr/bin/docker-registry"
_START_SECONDS = 30
_TIFFIN = "from tiffin.cli.entry import main; main()"


def htpasswd_line(user: str, password: str) -> str:
    """Return a line of an htpasswd file with a bcrypt hash, made by the C library's own crypt."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed = crypt(password.encode(), b"$2y$05$abcdefghijklmnopqrstuu")
    return f"{user}:{hashed.decode()}\n"


class Running:
    """Something that runs until it is closed; a context manager."""

    def __enter__(self) -> Self:
        """Return itself: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.close()

    def close(self) -> None:
        """Stop it."""
        raise NotImplementedError


class LoggedRegistry(Running):
    """A real registry in a process of its own, with its log."""

    port: int

    def __init__(self, certificate: Certificate | None) -> None:
        """Begin with an empty log."""
        self.log: list[str] = []
        self._grown = threading.Condition()
        self._certificate = certificate

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, the domain of references to it."""
        return f"127.0.0.1:{self.port}"

    def requests(self, pattern: str) -> int:
        """Count log lines that match: how often something was really asked."""
        self._catch_up()
        return sum(bool(re.search(pattern, line)) for line in self.log)

    def _catch_up(self) -> None:
        """Wait until the log has come as far as a request that is made now (plain HTTP only)."""
        if self._certificate:
            return
        mark = os.urandom(8).hex()
        client = HTTPConnection("127.0.0.1", self.port, timeout=_START_SECONDS)
        with contextlib.closing(client), self._grown:
            client.request("GET", f"/v2/?{mark}")
            client.getresponse().read()
            assert self._grown.wait_for(lambda: any(mark in line for line in self.log), _START_SECONDS)

    def _note(self, line: str) -> None:
        with self._grown:
            self.log.append(line)
            self._grown.notify_all()


class DockerRegistry(LoggedRegistry):
    """A running docker-registry on a free loopback port; `users` maps names to passwords."""

    def __init__(
        self,
        folder: str,
        *,
        users: Mapping[str, str] | None = None,
        certificate: Certificate | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; its data and its configuration are below `folder`. `tokens` is its `auth.token`."""
        os.makedirs(folder, exist_ok=True)
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True}},
            "http": {"addr": "127.0.0.1:0", "secret": "of-one-test"},
        }
        if certificate:
            config["http"]["tls"] = {"certificate": certificate.chain, "key": certificate.key}
        if users:
            with open(f"{folder}/htpasswd", "w") as stream:
                stream.writelines(htpasswd_line(u, p) for u, p in users.items())
            config["auth"] = {"htpasswd": {"realm": "tests", "path": f"{folder}/htpasswd"}}
        if tokens:
            config["auth"] = {"token": dict(tokens)}
        self.data = f"{folder}/data"
        super().__init__(certificate)
        with open(f"{folder}/config.yml", "w") as stream:
            json.dump(config, stream)  # JSON is YAML
        self._process = subprocess.Popen(
            [DOCKER_REGISTRY, "serve", f"{folder}/config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
        )
        self._listening = threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._listening.wait(_START_SECONDS) or not self.port:
            self.close()
            raise RuntimeError("docker-registry did not start:\n" + "".join(self.log))

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode(errors="replace")
            self._note(line)
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class BoxRegistry(LoggedRegistry):
    """A running `tiffin registry serve` on a free loopback port; the same words as DockerRegistry."""

    def __init__(
        self,
        folder: str,
        *,
        users: Mapping[str, str] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """Start it; everything of it is below `folder`."""
        os.makedirs(folder, exist_ok=True)
        self.data = f"{folder}/data"
        super().__init__(certificate)
        words = ["registry", "serve", "--addr", "127.0.0.1:0", "--root", self.data]
        if certificate:
            words += ["--tls-cert", certificate.chain, "--tls-key", certificate.key]
        if users:
            with open(f"{folder}/htpasswd", "w") as stream:
                stream.writelines(htpasswd_line(u, p) for u, p in users.items())
            words += ["--htpasswd", f"{folder}/htpasswd"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TIFFIN, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HOME": folder},
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        said = self.process.stdout.readline().decode()
        found = re.fullmatch(r"listening on https?://127\.0\.0\.1:(\d+)\n", said)
        if not found:
            self.close()
            raise RuntimeError("tiffin registry serve did not start:\n" + said + "".join(self.log))
        self.port = int(found[1])

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            self._note(raw.decode(errors="replace"))

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


REGISTRIES: dict[str, type[DockerRegistry | BoxRegistry]] = {"docker": DockerRegistry, "box": BoxRegistry}
"""The registries that one suite is run against."""


@dataclass
class Certificate:
    """Files of a certificate: its own authority's (`ca`), its chain and its key."""

    ca: str
    chain: str
    key: str


def make_certificate(folder: str, *names: str) -> Certificate:
    """Make an authority and a certificate for some host names and addresses, with openssl."""
    os.makedirs(folder, exist_ok=True)
    alternatives = ",".join(f"IP:{n}" if n[0].isdigit() else f"DNS:{n}" for n in names)
    made = Certificate(ca=f"{folder}/ca.crt", chain=f"{folder}/server.pem", key=f"{folder}/server.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    authority = ["-keyout", f"{folder}/ca.key", "-out", made.ca, "-subj", "/CN=tests", "-days", "2"]
    openssl("req", "-x509", *curve, *authority)
    openssl("req", *curve, "-keyout", made.key, "-out", f"{folder}/server.csr", "-subj", f"/CN={names[0]}")
    with open(f"{folder}/extensions", "w") as stream:
        stream.write(f"subjectAltName={alternatives}\n")
    signing = ["-CA", made.ca, "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "2"]
    files = ["-in", f"{folder}/server.csr", "-out", made.chain, "-extfile", f"{folder}/extensions"]
    openssl("x509", "-req", *signing, *files)
    return made


@dataclass
class Asked:
    """A request as a scripted server saw it; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """What a scripted server answers.

    `length` overrides Content-Length (None: as long as the body is); `chunked` sends no length;
    `cut` closes the connection after the body; `hang` is waited for before anything is sent;
    `raw` is sent instead of everything else; with `drip`, so many seconds pass before each byte of the body.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    cut: bool = False
    hang: threading.Event | None = None
    raw: bytes = b""
    drip: float = 0

    @staticmethod
    def json(value: object, status: int = 200, **headers: str) -> Reply:
        """Answer with JSON."""
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})

    @staticmethod
    def error(status: int, code: str, message: str, **headers: str) -> Reply:
        """Answer with an error of the distribution specification."""
        return Reply.json({"errors": [{"code": code, "message": message}]}, status, **headers)


class ScriptedServer(Running):
    """An HTTP server whose answers a test writes: `script(asked)` returns a Reply. Remembers all requests."""

    def __init__(
        self,
        script: Callable[[Asked], Reply],
        *,
        certificate: Certificate | None = None,
        known_clients: bool = False,
    ) -> None:
        """Start it on a free loopback port; `known_clients` wants a certificate of the same authority."""
        self.asked: list[Asked] = []
        self.troubles: list[BaseException] = []
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                outer._answer(self, script)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients hang up in tests
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            if known_clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(certificate.ca)
            # The handshake belongs into the connection's thread, not into accept.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    def count(self, method: str, fragment: str = "") -> int:
        """Count requests by method and part of the path."""
        return sum(a.method == method and fragment in a.path for a in self.asked)

    def _answer(self, handler: BaseHTTPRequestHandler, script: Callable[[Asked], Reply]) -> None:
        headers = {k.lower(): v for k, v in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers)
        asked.body = handler.rfile.read(int(headers.get("content-length") or 0))
        self.asked.append(asked)
        try:
            reply = script(asked)
        except BaseException as error:
            self.troubles.append(error)
            raise
        if reply.hang:
            reply.hang.wait(60)
        if reply.raw:
            handler.wfile.write(reply.raw)
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        length = len(reply.body) if reply.length is None else reply.length
        if length >= 0 and "Content-Length" not in reply.headers:
            handler.send_header("Content-Length", str(length))
        if length < 0 or reply.cut:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        if reply.drip:
            for byte in reply.body:
                self._closing.wait(reply.drip)
                handler.wfile.write(bytes([byte]))
        elif handler.command != "HEAD":
            handler.wfile.write(reply.body)

    def close(self) -> None:
        """Stop it; raise what a script raised."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self.troubles:
            raise self.troubles[0]


class ConnectProxy(Running):
    """An HTTP proxy that knows CONNECT and sends every name to the port that `routes` gives it."""

    def __init__(self, routes: Mapping[str, int]) -> None:
        """Start it; `routes` maps `host:port` to a loopback port."""
        self.asked: list[str] = []
        self.headers: list[bytes] = []
        self._routes = routes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its URL, for `Settings.proxies`."""
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            self.headers.append(head)
            target = head.split()[1].decode()
            self.asked.append(target)
            if target not in self._routes:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._routes[target])) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()

    def close(self) -> None:
        """Stop it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class BadLine(Running):
    """A bad line to a server: it cuts, corrupts, delays, throttles or stops what passes. Bytes are counted.

    `cut` closes each connection after so many bytes one way, `corrupt` flips the byte at that offset of all
    answers once and `spoil` that of all requests, `pace` is seconds before each piece of 64 KiB, and after
    `stop` bytes of answers nothing passes any more: `stopped` is set then.
    """

    def __init__(
        self, port: int, *, cut: int = 0, corrupt: int = 0, spoil: int = 0, pace: float = 0, stop: int = 0
    ) -> None:
        """Start it in front of a loopback port."""
        self.cut, self.corrupt, self.spoil, self.pace, self.stop = cut, corrupt, spoil, pace, stop
        self.stopped = threading.Event()
        self.connections = 0
        self.passed = 0
        self.sent = 0
        self._target = port
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
            back.start()
            self._pass(client, server, answers=False)
            back.join()

    def _pass(self, source: socket.socket, sink: socket.socket, *, answers: bool = True) -> None:
        total = 0
        with contextlib.suppress(OSError):
            while data := source.recv(64 << 10):
                if self.pace:
                    self._closing.wait(self.pace)
                sink.sendall(self._count(data) if answers else self._count_request(data))
                total += len(data)
                if self.cut and total >= self.cut:
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR if self.cut and total >= self.cut else socket.SHUT_WR)

    def _count(self, data: bytes) -> bytes:
        with self._lock:
            start, self.passed = self.passed, self.passed + len(data)
        data = _flipped(data, self.corrupt - 1 - start)
        if self.stop and self.passed >= self.stop:
            self.stopped.set()
            self._closing.wait()
        return data

    def _count_request(self, data: bytes) -> bytes:
        with self._lock:
            start, self.sent = self.sent, self.sent + len(data)
        return _flipped(data, self.spoil - 1 - start)

    def close(self) -> None:
        """Stop it."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def _flipped(data: bytes, at: int) -> bytes:
    """Return some bytes with one bit another at an offset, if they reach as far."""
    if not 0 <= at < len(data):
        return data
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Yield a loopback port on which nothing listens, bound so that nobody else takes it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


@contextlib.contextmanager
def folder_server(folder: os.PathLike[str] | str) -> Iterator[str]:
    """Serve a folder's files over HTTP; yield `127.0.0.1:PORT`."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Handler, directory=os.fspath(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
