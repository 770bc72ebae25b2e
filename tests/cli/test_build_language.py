"""What a Dockerfile says, through the command: steps without a sandbox, contexts from elsewhere."""

from __future__ import annotations

import json
import os
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
    assert int(status.partition("CapEff:")[2].split()[0], 16) == _capabilities(tiffin, "--privileged")
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
