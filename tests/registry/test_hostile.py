"""Registries that fail, lie, stall and redirect: nothing wrong gets through, nothing hangs or leaks."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.registry.parts import QUICK, described, read_all
from tests.servers import Asked, Reply, ScriptedServer, closed_port
from tiffin.errors import (
    Corrupt,
    Forbidden,
    InvalidArgument,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from tiffin.registry.client import MANIFEST_LIMIT, Repository
from tiffin.registry.credentials import Credential, Credentials
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.registry.parts import Serve
    from tiffin.settings import Settings

DATA = os.urandom(300_000)


BLOB = described(DATA)
MANIFEST = Manifest.build(described(b"{}", mediatype.OCI_CONFIG), [BLOB])


def manifest_reply(**headers: str) -> Reply:
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return Reply(200, MANIFEST.raw, {"Content-Type": mediatype.OCI_MANIFEST, **named})


def once_then(*replies: Reply) -> Callable[[Asked], Reply]:
    """Answer with each reply in turn; with the last one ever after."""
    left = list(replies)
    return lambda _asked: left.pop(0) if len(left) > 1 else left[0]


# Statuses


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_trouble_is_tried_again(serve: Serve, status: int) -> None:
    """429 and 5xx are asked again, and the good answer counts."""
    client, server = serve(once_then(Reply(status), Reply(status), manifest_reply()))
    assert client.resolve()[1] == MANIFEST.raw
    assert server.count("GET", "/manifests/") == 3


@pytest.mark.parametrize("status", [400, 403, 404, 405, 416, 501])
def test_a_refusal_is_not_tried_again(serve: Serve, status: int) -> None:
    """Other refusals are told at once: asking again would not change them."""
    client, server = serve(lambda _: Reply(status, b"<html>"))
    with pytest.raises((NotFound, Forbidden, InvalidArgument, Unsupported)):
        client.resolve()
    assert server.count("GET", "/manifests/") == 1


def test_a_lasting_trouble_is_unavailable(serve: Serve) -> None:
    """When every attempt fails, the last status is told in docker's words."""
    client, server = serve(lambda _: Reply(503, b"<html>busy"))
    with pytest.raises(Unavailable, match="received unexpected HTTP status: 503 Service Unavailable"):
        client.resolve()
    assert server.count("GET", "/manifests/") == QUICK.attempts


def test_a_pull_limit_is_told_without_waiting_for_hours(serve: Serve) -> None:
    """A Retry-After beyond our patience ends the attempts at once, with docker's word for it."""
    text = "You have reached your pull rate limit."
    client, server = serve(lambda _: Reply.error(429, "TOOMANYREQUESTS", text, Retry_After="3600"))
    with pytest.raises(Unavailable) as caught:
        client.resolve()
    assert caught.value.message == f"toomanyrequests: {text}"
    assert "log in" in caught.value.hint
    assert server.count("GET", "/manifests/") == 1


def test_a_short_retry_after_is_obeyed(serve: Serve) -> None:
    """A Retry-After within our patience is waited for."""
    client, _ = serve(once_then(Reply(429, headers={"Retry-After": "0"}), manifest_reply()))
    assert client.resolve()[1] == MANIFEST.raw


def test_access_denied_is_dockers_sentence(serve: Serve) -> None:
    """A denied pull is indistinguishable from a missing repository, and says so as docker does."""
    client, _ = serve(lambda _: Reply.error(403, "DENIED", "requested access to the resource is denied"))
    with pytest.raises(NotFound) as caught:
        client.resolve()
    assert caught.value.message == (
        f"pull access denied for {client.reference.name}, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied"
    )
    assert "tiffin login" in caught.value.hint
    with pytest.raises(Forbidden, match=r"^denied: requested access to the resource is denied$"):
        client.put_manifest(MANIFEST.raw, MANIFEST.media_type, "1")


def test_a_registrys_words_cannot_drive_a_terminal(serve: Serve) -> None:
    """Control characters and floods of text in an error body are dropped."""
    text = "\x1b[2J\x07gone\n\r" + "x" * 100_000
    client, _ = serve(lambda _: Reply.error(404, "MANIFEST_UNKNOWN\x1b[31m", text))
    with pytest.raises(NotFound) as caught:
        client.resolve()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


# Manifests


@pytest.mark.parametrize(
    "reply",
    [
        manifest_reply(Docker_Content_Digest=digests.of(b"other")),
        Reply(200, b"not json"),
        Reply(200, b"[" * 100_000),
        Reply(200, MANIFEST.raw, {"Content-Type": mediatype.OCI_INDEX}),
        Reply(200, b" " * (MANIFEST_LIMIT + 1)),
        Reply(200, b'{"schemaVersion": 2, "config": {}}'),
    ],
    ids=["digest-header", "junk", "deep", "another-type", "too-long", "no-config"],
)
def test_a_manifest_that_is_none_is_corrupt(serve: Serve, reply: Reply) -> None:
    """What does not hold together is refused, whatever the registry calls it."""
    client, _ = serve(lambda _: reply)
    with pytest.raises(Corrupt):
        client.resolve()


def test_a_manifest_by_digest_must_have_it(serve: Serve) -> None:
    """A digest is a promise: other bytes are refused even with a fitting header."""
    wanted = digests.of(b"what was asked for")
    client, _ = serve(lambda _: manifest_reply())
    with pytest.raises(Corrupt, match=f"manifest verification failed for digest {wanted}"):
        client.resolve(wanted)


def test_an_endless_manifest_ends(serve: Serve) -> None:
    """A body without a length is read no further than the limit."""
    client, _ = serve(lambda _: Reply(200, b"x" * (MANIFEST_LIMIT * 2), length=-1))
    with pytest.raises(Corrupt, match="longer than"):
        client.resolve()


def test_a_manifest_that_breaks_off_is_asked_again(serve: Serve) -> None:
    """Half a manifest is no manifest; the next attempt counts."""
    half = Reply(200, MANIFEST.raw[:50], length=len(MANIFEST.raw), cut=True)
    client, server = serve(once_then(half, manifest_reply()))
    assert client.resolve()[1] == MANIFEST.raw
    assert server.count("GET", "/manifests/") == 2


def test_a_silent_registry_is_noticed(serve: Serve) -> None:
    """A registry that accepts and says nothing is given up after the silence limit, in few attempts."""
    release = threading.Event()
    client, server = serve(lambda _: Reply(200, hang=release), QUICK.replace(silence=1))
    with pytest.raises(Unavailable, match="timeout awaiting response"):
        client.resolve()
    release.set()
    assert server.count("GET", "/manifests/") == QUICK.attempts


def test_nobody_listening_is_told_at_once(settings: Settings) -> None:
    """A refused connection is not tried again, and reads as docker's does."""
    with closed_port() as port:
        client = Repository(Reference.parse(f"127.0.0.1:{port}/shop"), settings)
        with pytest.raises(Unavailable) as caught:
            client.resolve()
    assert caught.value.message == (
        f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )
    assert caught.value.hint == f"is a registry running at 127.0.0.1:{port}?"


# Blobs


def test_a_wrong_blob_is_noticed_by_the_read_that_ends_it(serve: Serve) -> None:
    """Bytes of the right length and the wrong digest never reach the end of a read loop."""
    other = bytes(len(DATA))
    client, _ = serve(lambda _: Reply(200, other))
    with pytest.raises(Corrupt, match=f"failed to verify {BLOB.digest}"):
        read_all(client.open_blob(BLOB))


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 0])
@pytest.mark.parametrize("announced", [True, False])
def test_a_blob_of_another_size_is_refused(serve: Serve, size: int, *, announced: bool) -> None:
    """Too short and too long are both wrong, with and without a Content-Length."""
    body = (DATA + b"more")[:size]
    client, _ = serve(lambda _: Reply(200, body, length=None if announced else -1))
    with pytest.raises((Corrupt, Unavailable)):
        read_all(client.open_blob(BLOB))


def test_a_blob_that_breaks_off_is_resumed(serve: Serve) -> None:
    """After a broken connection only the missing bytes are asked for, and the digest holds."""
    asked_for: list[str] = []

    def script(asked: Asked) -> Reply:
        asked_for.append(asked.headers.get("range", ""))
        if "range" not in asked.headers:
            return Reply(200, DATA[:100_000], length=len(DATA), cut=True)
        start = int(asked.headers["range"].removeprefix("bytes=").rstrip("-"))
        end = min(start + 100_000, len(DATA))
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return Reply(206, DATA[start:end], headers, length=len(DATA) - start, cut=end < len(DATA))

    client, _ = serve(script)
    assert read_all(client.open_blob(BLOB)) == DATA
    assert asked_for == ["", "bytes=100000-", "bytes=200000-"]


def test_a_registry_without_ranges_is_resumed_too(serve: Serve) -> None:
    """A 200 in answer to a Range is skipped up to where the reader was."""
    client, server = serve(once_then(Reply(200, DATA[:70_000], length=len(DATA), cut=True), Reply(200, DATA)))
    assert read_all(client.open_blob(BLOB)) == DATA
    assert server.count("GET", "/blobs/") == 2
    assert read_all(client.open_blob(BLOB, 299_000)) == DATA[299_000:]


def test_another_range_than_asked_for_is_refused(serve: Serve) -> None:
    """A 206 that starts elsewhere is damage."""
    headers = {"Content-Range": f"bytes 7-{len(DATA) - 1}/{len(DATA)}"}
    client, _ = serve(lambda _: Reply(206, DATA[9:], headers))
    with pytest.raises(Corrupt, match="another range"):
        client.open_blob(BLOB, 9)


def test_a_blob_that_brings_a_byte_a_connection_is_given_up(serve: Serve) -> None:
    """Attempts are counted until real progress: a drip cannot keep us for ever."""

    def script(asked: Asked) -> Reply:
        start = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        return Reply(206 if start else 200, DATA[start : start + 1], length=len(DATA) - start, cut=True)

    client, server = serve(script)
    with pytest.raises(Unavailable, match="unexpected EOF"):
        read_all(client.open_blob(BLOB))
    assert server.count("GET", "/blobs/") == QUICK.attempts


def test_a_stalled_blob_is_noticed(serve: Serve) -> None:
    """A transfer that stops without closing is resumed, and given up when it stalls again and again."""
    release = threading.Event()
    client, server = serve(lambda _: Reply(200, hang=release), QUICK.replace(silence=0.3))
    with pytest.raises(Unavailable, match="timeout"):
        read_all(client.open_blob(BLOB))
    release.set()
    assert server.count("GET", "/blobs/") <= QUICK.attempts**2


def test_a_dripping_blob_is_noticed(serve: Serve) -> None:
    """A server that sends a byte now and then is never silent, and is given up all the same."""
    client, server = serve(lambda _: Reply(200, DATA, drip=0.02), QUICK.replace(window=0.2))
    with pytest.raises(Unavailable, match="the transfer has stalled"):
        read_all(client.open_blob(BLOB))
    assert server.count("GET", "/blobs/") == QUICK.attempts


# Redirects


def test_a_redirect_to_another_host_gets_no_authorization(serve: Serve, settings: Settings) -> None:
    """A storage behind the registry is asked without the login; the registry itself is asked with it."""
    with ScriptedServer(lambda _: Reply(200, DATA)) as storage:
        Credentials(settings).store("127.0.0.1", Credential(username="ann", password="secret"))

        def script(asked: Asked) -> Reply:
            if "authorization" not in asked.headers:
                return Reply(401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
            return Reply(307, headers={"Location": f"http://localhost:{storage.port}/data?signature=s"})

        client, server = serve(script)
        Credentials(settings).store(server.host, Credential(username="ann", password="secret"))
        assert read_all(client.open_blob(BLOB)) == DATA
        assert server.asked[-1].headers["authorization"].startswith("Basic ")
        assert [a.headers.get("authorization") for a in storage.asked] == [None]


def test_a_storage_that_asks_for_a_login_gets_none(serve: Serve, settings: Settings) -> None:
    """A challenge from where the registry redirected to is not answered with the registry's login."""
    challenge = {"WWW-Authenticate": 'Basic realm="give"'}
    with ScriptedServer(lambda _: Reply(401, headers=challenge)) as storage:
        client, server = serve(
            lambda _: Reply(307, headers={"Location": f"http://localhost:{storage.port}/"})
        )
        Credentials(settings).store(server.host, Credential(username="ann", password="secret"))
        with pytest.raises(Unauthorized):
            client.open_blob(BLOB)
        assert [a.headers.get("authorization") for a in storage.asked] == [None]


@pytest.mark.parametrize(
    "location",
    [
        "http://elsewhere.example/",
        "file:///etc/passwd",
        "http://10.0.0.1/",
        "//[junk",
        "//u:p@x.example/",
    ],
)
def test_a_redirect_to_a_forbidden_place_is_refused(serve: Serve, location: str) -> None:
    """Plain HTTP to other machines, other schemes and junk are not followed."""
    client, _ = serve(lambda _: Reply(302, headers={"Location": location}))
    with pytest.raises(Forbidden):
        client.open_blob(BLOB)


def test_redirects_in_a_circle_end(serve: Serve) -> None:
    """A registry that redirects to itself is given up."""
    client, server = serve(lambda asked: Reply(302, headers={"Location": asked.path}))
    with pytest.raises(Unavailable, match="redirects"):
        client.resolve()
    assert len(server.asked) < 10


# Tags


def test_tags_come_page_by_page(serve: Serve) -> None:
    """Link headers are followed, relative or absolute."""

    def script(asked: Asked) -> Reply:
        if "last=b" in asked.path:
            return Reply.json({"tags": ["c"]})
        if "last=a" in asked.path:
            link = f'<http://{asked.headers["host"]}/v2/shop/tags/list?last=b&n=1>; rel="next"'
            return Reply.json({"tags": ["b"]}, Link=link)
        return Reply.json({"tags": ["a"]}, Link='</v2/shop/tags/list?last=a&n=1>; rel="next"')

    client, _ = serve(script)
    assert client.tags() == ["a", "b", "c"]


def test_tag_pages_in_a_circle_end(serve: Serve) -> None:
    """A next page that was seen already is the end; a page elsewhere is refused; junk is no tag."""
    circle = '</v2/shop/tags/list?n=1>; rel="next"'
    client, _ = serve(lambda _: Reply.json({"tags": ["a", "../x", 7, None, "b" * 999]}, Link=circle))
    assert client.tags() == ["a"]
    client, _ = serve(lambda _: Reply.json({"tags": []}, Link='<http://localhost:9/>; rel="next"'))
    with pytest.raises(Corrupt, match="elsewhere"):
        client.tags()
    client, _ = serve(lambda _: Reply.json({"tags": None}))
    assert client.tags() == []
