"""What a Dockerfile says, through the command: steps without a sandbox, contexts from elsewhere."""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.servers import folder_server

if TYPE_CHECKING:
    import pathlib

    from tests.cli.conftest import Tiffin


def _capabilities(tiffin: Tiffin, *words: str) -> int:
    said = tiffin("run", "--rm", *words, "box:1", "cat", "/proc/self/status")
    return int(said.partition("CapEff:")[2].split()[0], 16)


def test_a_step_without_a_sandbox_wants_its_users_word(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """RUN --security=insecure is refused unless allowed, and then has what `run --privileged` has."""
    text = "FROM box:1\nRUN --security=insecure cat /proc/self/status >/status\n"
    (tmp_path / "Dockerfile").write_text(text)
    said = tiffin.wrong("build", str(tmp_path))
    assert "security.insecure is not allowed" in said
    assert "--allow security.insecure" in said
    assert "invalid entitlement: everything" in tiffin.wrong("build", "--allow", "everything", str(tmp_path))
    tiffin("build", "-q", "--allow", "security.insecure", "-t", "insecure", str(tmp_path))
    status = tiffin("run", "--rm", "insecure", "cat", "/status")
    wanted = _capabilities(tiffin, "--privileged")  # a build may have entered a namespace that has more
    assert int(status.partition("CapEff:")[2].split()[0], 16) & wanted == wanted
    assert _capabilities(tiffin, "--privileged") != _capabilities(tiffin)


def test_contexts_from_the_web(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A URL is built as what it gives; a text that is no Dockerfile is refused as one."""
    (tmp_path / "plain").write_text("FROM box:1\nLABEL from=web\n")
    (tmp_path / "page").write_text("<html></html>\n")
    with folder_server(tmp_path) as address:
        tiffin("build", "-q", "-t", "web", f"http://{address}/plain")
        (image,) = json.loads(tiffin("image", "inspect", "web"))
        assert image["Config"]["Labels"] == {"from": "web"}
        assert "unknown instruction: <html></html>" in tiffin.wrong("build", f"http://{address}/page")
        assert "404" in tiffin.wrong("build", f"http://{address}/none")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x.git", "git://127.0.0.1:1/x#main:dir"])
def test_a_repository_that_does_not_answer(tiffin: Tiffin, address: str) -> None:
    """What Git says is shown, and nothing is left behind."""
    before = os.listdir("/tmp")  # noqa: S108 - Git's home was there
    assert "git ls-remote: " in tiffin.wrong("build", address)
    left = set(os.listdir("/tmp")) - set(before)  # noqa: S108
    assert not [name for name in left if name.startswith("tiffin-git-")]


def test_named_contexts(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A name stands for a folder, an image, an image of a layout or an archive, in FROM, --from and mounts.

    It wins over stages and images of that name; a folder's own .dockerignore counts.
    """
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").write_text("from a folder\n")
    (other / "hidden").write_text("x\n")
    (other / ".dockerignore").write_text("hidden\n")
    with tarfile.open(tmp_path / "archive.tar", "w") as archive:
        archive.add(other / "data", "data")
    (tmp_path / "own").write_text("FROM box:1\nLABEL from=layout\n")
    tiffin("build", "-q", "-t", "laid:out", "-f", str(tmp_path / "own"), str(other))
    (tmp_path / "layout").mkdir()
    with tarfile.open(fileobj=io.BytesIO(tiffin.run("save", "laid:out").stdout)) as saved:
        saved.extractall(tmp_path / "layout")  # noqa: S202 - our own
    tiffin("rmi", "laid:out")
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch AS stage\nFROM alpine:latest AS a\nCOPY --from=stage / /stage/\n"
        "RUN --mount=from=stage,target=/m cat /m/data >/mounted\n"
        "FROM files\nCOPY --from=a /stage /mounted /all/\nCOPY --from=web data /web\n"
        "FROM laid\nCOPY --from=2 / /\n"
    )
    with folder_server(tmp_path) as address:
        words = {
            "stage": str(other),
            "alpine": "docker-image://box:1",
            "files": str(other),
            "web": f"http://{address}/archive.tar",
            "laid": f"oci-layout://{tmp_path}/layout",
        }
        given = [word for pair in words.items() for word in ("--build-context", "=".join(pair))]
        tiffin("build", "-q", "-t", "named", *given, str(tmp_path))
    for path in ("/data", "/all/data", "/all/mounted", "/web"):
        assert tiffin("run", "--rm", "named", "cat", path) == "from a folder\n"
    assert "hidden" not in tiffin("run", "--rm", "named", "ls", "-a", "/", "/all")
    assert json.loads(tiffin("image", "inspect", "named"))[0]["Config"]["Labels"] == {"from": "layout"}


def test_named_contexts_that_are_not_there(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A source that does not exist, or is of no known kind, is refused before anything is built."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    said = tiffin.wrong("build", "--build-context", f"a={tmp_path}/none", str(tmp_path))
    assert "failed to get build context a: " in said
    assert "unsupported context source ftp://x" in tiffin.wrong(
        "build", "--build-context", "a=ftp://x", str(tmp_path)
    )
    assert "expected k=v" in tiffin.wrong("build", "--build-context", "a", str(tmp_path))
