"""A Debian image builds with one id. The packages come from the mirror that this machine's apt has."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.accounts import User

_DOCKERFILE = """\
FROM minbase:1
RUN apt-get update -q && apt-get install -q -y --no-install-recommends openssh-client
RUN ssh -V && getent group _ssh && test -g /usr/bin/ssh-agent
"""


@pytest.fixture(scope="session")
def minbase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tar of Debian's smallest system, that everybody may read."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    path = tmp_path_factory.mktemp("minbase") / "minbase.tar"
    command = ["mmdebstrap", "--variant=minbase", "--aptopt=Acquire::Languages none", "bookworm", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=900)
    if done.returncode:
        pytest.skip(f"no Debian mirror: {done.stderr.strip().rpartition(chr(10))[2]}")
    return path


@pytest.mark.long
def test_packages_that_change_owners_install_with_one_id(single: User, minbase: Path) -> None:
    """apt-get install openssh-client: its group and set-gid bit are there, its file is root's."""
    with open(minbase, "rb") as stream:
        argv = single.argv(*single.command("import", "-", "minbase:1"))
        subprocess.run(argv, stdin=stream, check=True, capture_output=True)
    done = single.run(*single.command("build", "-t", "ssh:1", "-"), stdin=_DOCKERFILE.encode(), timeout=900)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    script = "ssh-agent -s | head -1; stat -c '%U:%G %a' /usr/bin/ssh-agent"
    said = single.tiffin("run", "--rm", "--network", "none", "ssh:1", "sh", "-c", script)
    assert said.startswith("SSH_AUTH_SOCK=/tmp/ssh-")
    assert said.endswith("root:root 2755\n")
    single.tiffin("rmi", "ssh:1", "minbase:1")
