"""What the sessions share: the command bound to a store of its own, with one small image in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

_BUSYBOX = shutil.which("busybox")
_PROGRAM = "from tiffin.cli.entry import main; main()"


class Tiffin:
    """The command, bound to a store of its own."""

    def __init__(self, root: str) -> None:
        """Keep the root."""
        self.root = root

    def argv(self, *words: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-c", _PROGRAM, "--root", self.root, "--run", f"{self.root}.run", *words]

    def __call__(self, *words: str, stdin: bytes = b"", code: int = 0) -> str:
        """Run a command that ends with `code`; return what it printed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode()

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command."""
        return subprocess.run(
            self.argv(*words),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            env=os.environ | {"DOCKER_CONFIG": f"{self.root}.docker"},
        )

    def wrong(self, *words: str, code: int = 1) -> str:
        """Run a command that fails; return what it says."""
        done = self.run(*words)
        assert done.returncode == code, done.stderr.decode()
        return done.stderr.decode()


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """A store with one image, `box:1`, built from a static busybox."""
    folder = tmp_path_factory.mktemp("session")
    yield from furnished(Tiffin(str(folder / "root")), folder)


def furnished(made: Tiffin, folder: pathlib.Path) -> Iterator[Tiffin]:
    """Give a store its image, and take its containers away at the end."""
    if not _BUSYBOX:
        pytest.skip("busybox (static) is not installed")
    if not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("no OCI runtime")
    context = folder / "context"
    (context / "bin").mkdir(parents=True)
    shutil.copy(_BUSYBOX, context / "bin" / "busybox")
    for name in ("sh", "cat", "echo", "sleep", "true", "env", "ls", "id", "stty", "kill"):
        (context / "bin" / name).symlink_to("busybox")
    (context / "etc").mkdir()
    (context / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nbob:x:7:7::/:/bin/sh\n")
    (context / "Dockerfile").write_text(
        'FROM scratch\nCOPY bin /bin\nCOPY etc /etc\nENV PATH=/bin GREETING=hello\nCMD ["sh"]\n'
    )
    made("build", "-q", "-t", "box:1", str(context))
    yield made
    names = made("ps", "-aq").split()
    if names:
        made("rm", "-f", "-v", *names)
