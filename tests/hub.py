"""Docker Hub as it is to its clients: an API, a token server, a storage, each a host of its own, and a limit.

All three are one server behind TLS; a proxy stands in for the names. The server keeps its own rules: what a
client must not do (a token for the wrong repository, a login on the way to the storage) is refused as there.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

from tests.servers import Asked, Certificate, ConnectProxy, Reply, ScriptedServer

if TYPE_CHECKING:
    from tests.engine.parts import Shelf
    from tiffin.settings import Settings

API = "registry-1.docker.io"
TOKENS = "auth.docker.io"
STORAGE = "production.cloudflare.docker.com"
HOSTS = (API, TOKENS, STORAGE)
_LIMIT_SAID = (
    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
)


class Hub:
    """A running stand-in. `repositories` are the paths that everybody may pull; `users` their passwords."""

    def __init__(self, shelf: Shelf, certificate: Certificate) -> None:
        """Start it over a shelf of images."""
        self.repositories = {"library/busybox"}
        self.users = {"ann": "se:cret"}
        self.remaining = 100
        self.signatures: dict[str, int] = {}
        self._shelf = shelf
        self._certificate = certificate
        self._stack = contextlib.ExitStack()
        self.server = self._stack.enter_context(ScriptedServer(self._answer, certificate=certificate))
        routes = {f"{host}:443": self.server.port for host in HOSTS}
        self.proxy = self._stack.enter_context(ConnectProxy(routes))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stack.close()

    def trusted(self, settings: Settings) -> Settings:
        """Return settings that lead to it."""
        for host in HOSTS:
            folder = f"{settings.docker_config}/certs.d/{host}"
            os.makedirs(folder, exist_ok=True)
            shutil.copy(self._certificate.ca, f"{folder}/ca.crt")
        return settings.replace(proxies={"https": self.proxy.url})

    def asked(self, host: str) -> list[Asked]:
        """Return the requests to one of the hosts."""
        return [asked for asked in self.server.asked if asked.headers["host"] == host]

    def _answer(self, asked: Asked) -> Reply:
        part = {API: self._api, TOKENS: self._token, STORAGE: self._storage}[asked.headers["host"]]
        return part(asked)

    def _token(self, asked: Asked) -> Reply:
        """Give a token that says which scopes it is for; nobody is told what there is not."""
        query = parse_qs(urlsplit(asked.path).query)
        login = asked.headers.get("authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(login).decode().partition(":")
        if login and self.users.get(user) != password:
            return Reply.json({"details": "incorrect username or password"}, 401)
        granted = [s for s in query.get("scope", []) if self._may(user, *s.split(":")[1:])]
        token = base64.urlsafe_b64encode(" ".join(["token", *granted]).encode()).decode()
        return Reply.json({"token": token, "access_token": token, "expires_in": 300})

    def _may(self, user: str, path: str, actions: str) -> bool:
        return path in self.repositories and (actions == "pull" or path.startswith(f"{user}/"))

    def _api(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path).path.removeprefix("/v2/").rsplit("/", 2)[0]
        action = "pull" if asked.method in {"GET", "HEAD"} else "pull,push"
        scope = f"repository:{path}:{action}"
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        granted = base64.urlsafe_b64decode(token).decode().split()
        if asked.path == "/v2/" and granted:
            return Reply(200)
        if scope not in granted:
            challenge = f'Bearer realm="https://{TOKENS}/token",service="registry.docker.io",scope="{scope}"'
            challenge += ',error="insufficient_scope"' if token else ""
            return Reply.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        if "/manifests/" in asked.path:
            return self._manifest(asked)
        digest = asked.path.rpartition("/")[2]
        if digest not in self._shelf.blobs:
            return Reply.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        signature = f"{len(self.signatures)}-signed"
        self.signatures[signature] = 1
        place = (
            f"https://{STORAGE}/registry-v2/docker/registry/v2/blobs/sha256/{digest}/data?verify={signature}"
        )
        return Reply(307, b"", {"Location": place})

    def _manifest(self, asked: Asked) -> Reply:
        """Count pulls, but not questions for a digest alone."""
        if asked.method == "GET" and self.remaining == 0:
            reply = Reply.error(429, "TOOMANYREQUESTS", _LIMIT_SAID)
        else:
            self.remaining -= asked.method == "GET"
            reply = self._shelf.answer(asked)
        reply.headers |= {
            "ratelimit-limit": "100;w=21600",
            "ratelimit-remaining": f"{self.remaining};w=21600",
            "docker-ratelimit-source": "192.0.2.7",
        }
        return reply

    def _storage(self, asked: Asked) -> Reply:
        """Give bytes for a signature, once; whoever brings a login as well is turned away."""
        signature = parse_qs(urlsplit(asked.path).query).get("verify", [""])[0]
        if "authorization" in asked.headers:
            return Reply(400, b"<Error><Code>InvalidArgument</Code></Error>")
        if not self.signatures.get(signature):
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        self.signatures[signature] -= 1
        digest = asked.path.split("/sha256/")[1].partition("/")[0]
        return self._shelf.answer(Asked("GET", f"/v2/x/blobs/{digest}", asked.headers))
