"""Uploads against a scripted registry: sessions, troubles in the middle, chunks, other people's answers."""

from __future__ import annotations

import io
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.registry.parts import QUICK, described, no_progress
from tests.servers import Asked, Reply, ScriptedServer
from tiffin.errors import Corrupt, Forbidden, Unavailable
from tiffin.registry.client import Repository
from tiffin.registry.credentials import Credential, Credentials
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from tests.registry.parts import Serve
    from tiffin.settings import Settings

DATA = os.urandom(300_000)
BLOB = described(DATA)
MANIFEST = Manifest.build(described(b"{}", mediatype.OCI_CONFIG), [BLOB])


class UploadScript:
    """A registry's side of an upload: relative or absolute Locations, and troubles to order."""

    def __init__(self, *, troubles: int = 0, refuse_put: int = 0, absolute: bool = False) -> None:
        """Answer 503 to the first bodies, and a status of its own to every upload in one piece."""
        self.stored = b""
        self.sessions: dict[str, bytes] = {}
        self.troubles = troubles
        self.refuse_put = refuse_put
        self.absolute = absolute

    def __call__(self, asked: Asked) -> Reply:
        """Answer one request."""
        path, _, query = asked.path.partition("?")
        if asked.method == "POST":
            path = f"/uploads/{asked.method}-{len(self.sessions)}"
            self.sessions[path] = b""
            return self._located(202, asked, path)
        assert "state=opaque" in query, "a Location's own query is kept"
        answer = {"GET": self._status, "DELETE": self._cancel, "PATCH": self._chunk, "PUT": self._commit}
        return answer[asked.method](asked, path)

    def _status(self, asked: Asked, path: str) -> Reply:
        return self._located(204, asked, path)

    def _cancel(self, _asked: Asked, path: str) -> Reply:
        self.sessions[path] = b"cancelled"
        return Reply(204)

    def _chunk(self, asked: Asked, path: str) -> Reply:
        if self.troubles:  # half of the chunk has arrived
            self.troubles -= 1
            self.sessions[path] += asked.body[: len(asked.body) // 2]
            return Reply(503)
        if int(asked.headers["content-range"].partition("-")[0]) != len(self.sessions[path]):
            return self._located(416, asked, path)
        self.sessions[path] += asked.body
        return self._located(202, asked, path)

    def _commit(self, asked: Asked, path: str) -> Reply:
        if self.refuse_put and asked.body:
            return Reply(self.refuse_put, b"<html>too large")
        if self.troubles:
            self.troubles -= 1
            self.sessions[path] += asked.body[: len(asked.body) // 2]
            return Reply(503)
        self.sessions[path] += asked.body
        digest = digests.of(self.sessions[path])
        if digest not in asked.path:
            return Reply.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.stored = self.sessions[path]
        return Reply(201, headers={"Docker-Content-Digest": digest})

    def _located(self, status: int, asked: Asked, path: str) -> Reply:
        base = f"http://{asked.headers['host']}" if self.absolute else ""
        last = max(len(self.sessions[path]) - 1, 0)
        return Reply(status, headers={"Location": f"{base}{path}?state=opaque", "Range": f"0-{last}"})


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("troubles", [0, 2])
def test_an_upload_survives_passing_troubles(serve: Serve, troubles: int, *, absolute: bool) -> None:
    """A 503 in the middle is tried again in a new session, and progress ends at the blob's size."""
    script = UploadScript(troubles=troubles, absolute=absolute)
    client, _ = serve(script)
    counted: list[int] = []
    client.put_blob(BLOB, io.BytesIO(DATA), counted.append)
    assert script.stored == DATA
    assert sum(counted) == len(DATA)


def test_a_stream_that_cannot_start_anew_is_not_sent_twice(serve: Serve) -> None:
    """Without `seek` there is one attempt, and the registry's trouble is told."""
    script = UploadScript(troubles=1)
    client, server = serve(script)

    class Once:
        def __init__(self) -> None:
            self._stream = io.BytesIO(DATA)

        def read(self, size: int = -1, /) -> bytes:
            return self._stream.read(size)

        def close(self) -> None:
            """Nothing to close."""

    with pytest.raises(Unavailable, match="503"):
        client.put_blob(BLOB, Once(), no_progress)
    assert server.count("PUT") == 1
    assert server.count("DELETE") == 1


@pytest.mark.parametrize("troubles", [0, 2])
def test_chunks_are_sent_where_one_piece_is_refused(serve: Serve, troubles: int) -> None:
    """A body limit on the way (413) leads to chunks; a chunk that half arrived is completed."""
    script = UploadScript(refuse_put=413, troubles=troubles)
    client, server = serve(script)
    client.put_blob(BLOB, io.BytesIO(DATA), no_progress)
    assert script.stored == DATA
    assert server.count("PATCH") == 1 + troubles


def test_a_registry_that_stores_something_else_is_found_out(serve: Serve) -> None:
    """The digest that the registry says it stored is compared with ours."""

    def script(asked: Asked) -> Reply:
        if asked.method == "POST":
            return Reply(202, headers={"Location": "/u/1"})
        return Reply(201, headers={"Docker-Content-Digest": digests.of(b"else")})

    client, _ = serve(script)
    with pytest.raises(Corrupt, match="the registry stored"):
        client.put_blob(BLOB, io.BytesIO(DATA), no_progress)
    with pytest.raises(Corrupt, match="the registry stored"):
        client.put_manifest(MANIFEST.raw, MANIFEST.media_type, "1")


def test_an_upload_to_elsewhere_gets_no_authorization(serve: Serve, settings: Settings) -> None:
    """A Location on another host takes the bytes without the login."""
    with ScriptedServer(lambda _: Reply(201)) as storage:

        def script(asked: Asked) -> Reply:
            if "authorization" not in asked.headers:
                return Reply(401, headers={"WWW-Authenticate": "Basic"})
            return Reply(202, headers={"Location": f"http://localhost:{storage.port}/u?x=1"})

        client, server = serve(script)
        Credentials(settings).store(server.host, Credential(username="ann", password="secret"))
        client.put_blob(BLOB, io.BytesIO(DATA), no_progress)
        assert storage.asked[0].body == DATA
        assert "authorization" not in storage.asked[0].headers
        assert storage.asked[0].path == f"/u?x=1&digest={BLOB.digest}"


def test_an_upload_that_gets_no_answer_ends(serve: Serve) -> None:
    """A registry that swallows the bytes and never commits is given up."""
    release = threading.Event()

    def script(asked: Asked) -> Reply:
        if asked.method == "POST":
            return Reply(202, headers={"Location": "/u/1"})
        return Reply(204) if asked.method == "DELETE" else Reply(201, hang=release)

    client, server = serve(script, QUICK.replace(silence=0.5, commit=0.5))
    with pytest.raises(Unavailable, match="timeout awaiting response"):
        client.put_blob(BLOB, io.BytesIO(DATA), no_progress)
    release.set()
    assert server.count("PUT") == QUICK.attempts


def test_a_registry_that_does_not_take_the_bytes_is_given_up(serve: Serve, settings: Settings) -> None:
    """An upload that the other end stops reading ends, though nothing was ever refused."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        location = f"http://127.0.0.1:{deaf.getsockname()[1]}/u"
        _, server = serve(lambda _: Reply(202, headers={"Location": location}))
        limits = QUICK.replace(connect=0.5, silence=0.5, attempts=2)
        data = bytes(32 << 20)
        client = Repository(Reference.parse(f"{server.host}/shop"), settings, limits=limits)
        with client, pytest.raises(Unavailable, match="i/o timeout"):
            client.put_blob(described(data), io.BytesIO(data), no_progress)


def test_a_denied_push_says_so(serve: Serve) -> None:
    """A push without the right is Forbidden, with docker's words."""
    client, _ = serve(lambda _: Reply.error(403, "DENIED", "requested access to the resource is denied"))
    with pytest.raises(Forbidden, match=r"^denied: requested access to the resource is denied$"):
        client.put_blob(BLOB, io.BytesIO(DATA), no_progress)


def test_mounting_that_is_refused_is_no_error(serve: Serve) -> None:
    """A registry that knows no mounts gets the bytes instead."""
    client, server = serve(lambda _: Reply(405))
    assert not client.mount_blob(BLOB, f"{server.host}/other")
    assert not client.mount_blob(BLOB, "docker.io/library/busybox")
    assert len(server.asked) == 2  # the look at /v2/ and one attempt
