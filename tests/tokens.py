"""A token server as distribution's specification has it, and a gate that asks for its tokens.

Debian's docker-registry checks the tokens itself (`DockerRegistry(tokens=...)`); the gate stands before a
registry that knows none. Source: distribution, "Token Authentication Specification".
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import Asked, Reply, Running, ScriptedServer, make_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE, ISSUER = "registry-of-tests", "tokens-of-tests"
_PIECE = 64 << 10


class TokenServer(Running):
    """A server that gives its users signed tokens for whatever scope they ask; nobody else gets one."""

    def __init__(self, folder: str, users: Mapping[str, str]) -> None:
        """Start it; `folder` gets its key."""
        self._users = users
        self._certificate = make_certificate(folder, "127.0.0.1")
        self._issued: dict[str, list[Any]] = {}
        self._server = ScriptedServer(self._answer)

    @property
    def realm(self) -> str:
        """Where clients get their tokens."""
        return f"http://{self._server.host}/token"

    @property
    def settings(self) -> dict[str, str]:
        """What docker-registry's `auth.token` wants to know."""
        bundle = self._certificate.ca
        return {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}

    def grants(self, token: str, path: str, action: str) -> bool:
        """Tell whether a token of this server's allows something in a repository."""
        access = self._issued.get(token, [])
        return any(one["name"] == path and action in one["actions"] for one in access)

    def close(self) -> None:
        """Stop it."""
        self._server.close()

    def _answer(self, asked: Asked) -> Reply:
        query = parse_qs(urlsplit(asked.path).query)
        login = asked.headers.get("authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(login).decode().partition(":")
        if not user or self._users.get(user) != password:
            return Reply.json({"details": "incorrect username or password"}, 401)
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        token = self._signed(user, access)
        self._issued[token] = access
        return Reply.json({"token": token, "expires_in": 300})

    def _signed(self, user: str, access: list[Any]) -> str:
        """Return a JSON web token, with the certificate of the key that signed it."""
        with open(self._certificate.chain) as stream:
            chain = stream.read().split("-----")[2].replace("\n", "")
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": user, "aud": SERVICE, "access": access, "jti": str(len(self._issued))}
        claims |= {"nbf": now - 60, "iat": now, "exp": now + 300}
        header = {"typ": "JWT", "alg": "ES256", "x5c": [chain]}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", self._certificate.key]
        der = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
        return f"{text}.{_base64(_raw_signature(der))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _raw_signature(der: bytes) -> bytes:
    """Return the two numbers of an ECDSA signature, 32 bytes each, out of their DER sequence."""
    first = 4 + der[3]
    numbers = der[4:first], der[first + 2 :]
    return b"".join(number[-32:].rjust(32, b"\0") for number in numbers)


class Gate(Running):
    """Plain HTTP in front of a registry: without a token for what is asked nothing passes."""

    def __init__(self, port: int, tokens: TokenServer) -> None:
        """Start it before a registry on the loopback."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                with contextlib.suppress(OSError):
                    if not _may(self, tokens):
                        _challenge(self, tokens)
                    else:
                        _forward(self, port)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients hang up in tests
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _wanted(handler: BaseHTTPRequestHandler) -> tuple[str, str]:
    """Return the repository that a request is about, and what it would do there."""
    words = urlsplit(handler.path).path.removeprefix("/v2/").split("/")
    kinds = [words.index(kind) for kind in ("blobs", "manifests", "tags") if kind in words]
    path = "/".join(words[: kinds[0]]) if kinds else ""
    return path, "pull" if handler.command in {"GET", "HEAD"} else "push"


def _may(handler: BaseHTTPRequestHandler, tokens: TokenServer) -> bool:
    token = (handler.headers["Authorization"] or "").removeprefix("Bearer ")
    path, action = _wanted(handler)
    return tokens.grants(token, path, action)


def _challenge(handler: BaseHTTPRequestHandler, tokens: TokenServer) -> None:
    path, action = _wanted(handler)
    scope = f"repository:{path}:{'pull' if action == 'pull' else 'pull,push'}"
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    handler.close_connection = True  # an upload's body is not read
    handler.send_response(401)
    handler.send_header(
        "WWW-Authenticate", f'Bearer realm="{tokens.realm}",service="{SERVICE}",scope="{scope}"'
    )
    handler.send_header("Connection", "close")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _forward(handler: BaseHTTPRequestHandler, port: int) -> None:
    """Pass a request on and its answer back, a piece at a time; the login is not the registry's business."""
    headers = {k: v for k, v in handler.headers.items() if k.lower() not in {"authorization", "connection"}}
    length = int(handler.headers["Content-Length"] or 0)
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=60)) as registry:
        registry.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            registry.putheader(name, value)
        registry.endheaders()
        while length and (data := handler.rfile.read1(min(length, _PIECE))):
            registry.send(data)
            length -= len(data)
        answer = registry.getresponse()
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "connection":
                handler.send_header(name, value)
        handler.end_headers()
        while data := answer.read(_PIECE):
            handler.wfile.write(data)
