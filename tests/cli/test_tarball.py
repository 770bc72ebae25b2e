"""export, import and commit on the command line: docker's flags, output and exit codes."""

from __future__ import annotations

import io
import os
import re
import tarfile
from typing import TYPE_CHECKING

from tests.engine.parts import file, layer
from tests.servers import Asked, Reply, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tiffin


def test_commit_prints_the_id(tiffin: Tiffin) -> None:
    """The new image runs, has what the flags said, and its id is printed in full."""
    tiffin("run", "--name", "writer", "box:1", "sh", "-c", "echo x > /x")
    shown = tiffin(
        "commit", "-a", "me", "-m", "why", "-p=false", "-c", 'CMD ["cat", "/x"]', "-c", "LABEL a=b",
        "writer", "written:1",
    )  # fmt: skip
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", shown)
    assert tiffin("run", "--rm", "written:1") == "x\n"
    told = tiffin("image", "inspect", "-f", "{{.Author}} {{.Comment}} {{.Config.Labels.a}}", "written:1")
    assert told == "me why b\n"
    assert tiffin("history", "--format", "{{.Comment}}", "written:1").startswith("why\n")
    assert "is not a valid change command" in tiffin.wrong("commit", "-c", "RUN x", "writer")
    assert "No such container: nope" in tiffin.wrong("commit", "nope")
    tiffin("rm", "writer")
    tiffin("rmi", "written:1")


def test_export_and_import(tiffin: Tiffin, tmp_path: Path) -> None:
    """A container's files travel through a file or a pipe and become an image of one layer."""
    tiffin("run", "--name", "source", "box:1", "sh", "-c", "echo x > /x")
    path = str(tmp_path / "files.tar")
    assert tiffin("export", "-o", path, "source") == ""
    streamed = tiffin.run("export", "source").stdout
    with tarfile.open(path) as one, tarfile.open(fileobj=io.BytesIO(streamed)) as other:
        assert one.getnames() == other.getnames()
    first = tiffin(
        "import", "-c", "ENV PATH=/bin", "-m", "from a file", "--platform", "linux", path, "flat:1"
    ).strip()
    assert tiffin("run", "--rm", "flat:1", "cat", "/x") == "x\n"
    assert tiffin("history", "--format", "{{.Comment}}", "flat:1") == "from a file\n"
    second = tiffin("import", "-", stdin=streamed).strip()
    layers = {tiffin("image", "inspect", "-f", "{{.RootFS.Layers}}", image) for image in (first, second)}
    assert len(layers) == 1
    assert tiffin("history", "--format", "{{.Comment}}", second) == "Imported from -\n"
    tiffin("rm", "source")
    tiffin("rmi", "flat:1", second)


def test_import_from_a_url(tiffin: Tiffin) -> None:
    """A tar that a server gives, after a redirect too, is imported; its history says where from."""
    files = layer(file("a", b"from afar"))

    def answer(asked: Asked) -> Reply:
        if asked.path == "/moved.tar":
            return Reply(302, b"", {"Location": "/files.tar"})
        return Reply(200, files) if asked.path == "/files.tar" else Reply(404, b"no")

    with ScriptedServer(answer) as server:
        url = f"http://{server.host}/moved.tar"
        made = tiffin("import", url, "afar:1").strip()
        assert tiffin("history", "--format", "{{.Comment}}", "afar:1") == f"Imported from {url}\n"
        assert tiffin("image", "inspect", "-f", "{{.Size}}", made) == "9\n"
        assert "404" in tiffin.wrong("import", f"http://{server.host}/nothing.tar")
    tiffin("rmi", "afar:1")


def test_what_cannot_be_exported_or_imported(tiffin: Tiffin, tmp_path: Path) -> None:
    """A failing export leaves the file that was there; a URL is refused by name."""
    kept = tmp_path / "kept"
    kept.write_text("kept")
    assert "No such container: nope" in tiffin.wrong("export", "-o", str(kept), "nope")
    assert kept.read_text() == "kept"
    tiffin("create", "--name", "idle", "box:1")
    where = str(tmp_path / "no" / "file")
    said = tiffin.wrong("export", "-o", where, "idle")
    assert f'failed to export container: invalid output path: directory "{os.path.dirname(where)}"' in said
    tiffin("rm", "idle")
    assert "http://example.com/y.tar" in tiffin.wrong("import", "http://example.com/y.tar")
    assert "no such file" in tiffin.wrong("import", "/nowhere.tar").lower()
