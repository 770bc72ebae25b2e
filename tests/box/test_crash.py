"""kill -9 of the registry: uploads go on or are gone, and what was answered 201 is there."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.box.parts import Api
from tests.servers import BoxRegistry
from tiffin.box import fsck
from tiffin.settings import ROOT, Settings
from tiffin.spec import digest as digests
from tiffin.spec import mediatype

if TYPE_CHECKING:
    from pathlib import Path

DATA = os.urandom(4 << 20)


def kill(running: BoxRegistry) -> None:
    running.process.kill()
    running.process.wait()
    running.close()


def send_part(port: int, path: str, count: int) -> None:
    """Send the head of a PATCH of all data and its first bytes, and wait until they are on disk."""
    head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(head.encode() + DATA[:count])
        watcher = Api(port)
        while watcher("GET", path).headers["Range"] != f"0-{count - 1}":
            pass
        watcher.close()


def test_an_upload_goes_on_after_a_kill(tmp_path: Path) -> None:
    """A session that a killed registry was writing says how far it came, and is finished from there."""
    with BoxRegistry(str(tmp_path)) as running:
        api = Api(running.port)
        place = api.begin("shop")
        api.close()
        send_part(running.port, place, 1 << 20)
        kill(running)
    with BoxRegistry(str(tmp_path)) as running:
        api = Api(running.port)
        status = api("GET", place)
        assert (status.status, status.headers["Range"]) == (204, f"0-{(1 << 20) - 1}")
        digest = digests.of(DATA)
        rest = api("PUT", f"{place}?digest={digest}", DATA[1 << 20 :])
        assert rest.status == 201, rest.body
        assert api("GET", f"/v2/shop/blobs/{digest}").body == DATA
        api.close()


@pytest.mark.parametrize("answers", range(1, 9))
def test_what_was_answered_is_there_after_a_kill(tmp_path: Path, answers: int) -> None:
    """Killed after any of its answers, the registry has what it said it has, and its store is whole."""
    done: list[tuple[str, str]] = []
    with BoxRegistry(str(tmp_path)) as running:
        api = Api(running.port)
        left = answers

        def count(method: str, path: str, body: bytes | None = None, **headers: str) -> int:
            nonlocal left
            answer = api(method, path, body, **headers)
            if answer.status == 201:
                done.append((answer.headers["Location"], answer.headers["Docker-Content-Digest"]))
            left -= 1
            if left == 0:
                kill(running)
            return answer.status

        with contextlib.suppress(OSError, http.client.HTTPException):  # killed
            for number in range(4):
                data = DATA[: 1000 + number]
                count("POST", f"/v2/shop/blobs/uploads/?digest={digests.of(data)}", data)
                index = b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"annotations":{"n":"%d"}}'
                body = index % (mediatype.OCI_INDEX.encode(), number)
                count("PUT", f"/v2/shop/manifests/{number}", body, Content_Type=mediatype.OCI_INDEX)
        api.close()
    assert len(done) == answers
    with BoxRegistry(str(tmp_path)) as running:
        api = Api(running.port)
        for location, digest in done:
            assert digests.of(api("GET", location).body) == digest
        api.close()
    settings = Settings(root=f"{tmp_path}/data", run=f"{tmp_path}/run", privilege=ROOT)
    assert fsck.check(settings) == []
