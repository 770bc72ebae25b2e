"""ADD of a URL: what a web server on this machine gives, with its time, checked, unpacked if told to."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_build import Events
from tiffin.errors import Corrupt, DockerfileError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server with a file and an archive."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "file").write_text("from the web")
    os.utime(folder / "file", (1_000_000_000, 1_000_000_000))
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("inside")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"in"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_a_file(engine: Engine, web: str, tmp_path: Path) -> None:
    """Mode 0600, the server's time, the URL's name; cached while the bytes are the same; archives stay."""
    checksum = hashlib.sha256(b"from the web").hexdigest()
    text = (
        f"FROM base:1\nADD {web}/file?x=1 /got/\n"
        f"ADD --checksum=sha256:{checksum} --chmod=755 {web}/file /as\n"
        f"ADD {web}/a.tar.gz /packed/\nADD --unpack=true {web}/a.tar.gz /unpacked/\n"
    )
    built = engine.images.build(dockerfile=text)
    stack = engine.store.stack(engine.images.get(built.image_id).layers)
    info = stack.stat("/got/file")
    assert info is not None
    assert (info.st_mode & 0o7777, info.st_mtime) == (0o600, 1_000_000_000)
    assert stack.read("/as") == b"from the web"
    assert stack.listdir("/packed") == ["a.tar.gz"]
    assert stack.read("/unpacked/inside") == b"in"
    assert os.listdir(engine.store.layout.drafts) == []
    os.utime(tmp_path / "web" / "file")
    events = Events()
    engine.images.build(dockerfile=text, progress=events)
    assert all(events.cached())
    (tmp_path / "web" / "file").write_text("other")
    events = Events()
    engine.images.build(dockerfile=text.split("ADD --checksum", maxsplit=1)[0], progress=events)
    assert events.cached() == [True, False]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (f"--checksum=sha256:{'0' * 64} WEB/file /x", Corrupt, "digest mismatch sha256:"),
        ("--checksum=md5:1 WEB/file /x", DockerfileError, "invalid checksum md5:1"),
        (f"--checksum=sha256:{'0' * 64} a /x", DockerfileError, r"checksum can't .* non-HTTP"),
        ("WEB/none /x", (NotFound, DockerfileError), "invalid response status 404"),
        ("WEB /x/", DockerfileError, "can't determine remote source filename"),
    ],
)
def test_what_is_not_added(
    engine: Engine, web: str, words: str, error: type[Exception], message: str
) -> None:
    """Wrong bytes, wrong sums, what is not there: each is refused, and nothing stays."""
    with pytest.raises(error, match=message):
        engine.images.build(dockerfile="FROM base:1\nADD " + words.replace("WEB", web) + "\n")
    assert os.listdir(engine.store.layout.drafts) == []
