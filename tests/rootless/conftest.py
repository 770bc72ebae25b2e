"""Ordinary users, made for the tests: one with subordinate ids, one without; each with a home of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.snapshotter import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM = "from tiffin.cli.entry import main; main()"
_DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc
RUN mkdir -p /data /tmp && chmod 1777 /tmp && echo seed > /data/seed
COPY --chown=web:mail owned /owned
ENV PATH=/bin
CMD ["sh"]
"""


class User:
    """An account and its home; runs programs as itself, in an environment of its own."""

    def __init__(self, name: str, home: str) -> None:
        """Take over an account that exists."""
        self.name = name
        self.home = home
        self.uid = pwd.getpwnam(name).pw_uid
        self.rung = ""

    def argv(self, *words: str) -> list[str]:
        """Return the command that runs another as this user."""
        variables = [f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.home}/run", f"PATH={os.defpath}:/usr/sbin"]
        variables += [f"{name}={value}" for name, value in chosen().items()]
        if self.rung:
            variables.append(f"TIFFIN_RUNG={self.rung}")
        who = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--init-groups"]
        return [*who, "env", "-i", "-C", self.home, "TIFFIN_DURABLE=0", *variables, *words]

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program."""
        return subprocess.run(self.argv(*words), input=stdin, capture_output=True, check=False, timeout=120)

    def python(self, program: str) -> str:
        """Run a Python program that uses the library; return what it printed."""
        done = self.run(sys.executable, "-c", program)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def command(self, *words: str) -> list[str]:
        """Return the words of a tiffin command, for `run`."""
        return [sys.executable, "-c", _PROGRAM, *words]

    def tiffin(self, *words: str, code: int = 0) -> str:
        """Run a command that ends with `code`; return what it printed."""
        done = self.run(*self.command(*words))
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode()

    def wrong(self, *words: str, code: int = 1) -> str:
        """Run a command that fails; return what it says."""
        done = self.run(*self.command(*words))
        assert done.returncode == code, done.stderr.decode()
        return done.stderr.decode()

    def processes(self) -> list[str]:
        """Return the command lines of what runs below this user's home, or in its name."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
                command = stream.read()
                if command and (self.home.encode() in command or os.stat(f"/proc/{pid}").st_uid == self.uid):
                    found.append(command.replace(b"\0", b" ").decode())
        return found


def _user(suffix: str, *, ids: bool) -> Iterator[User]:
    if os.geteuid() != 0:
        pytest.skip("making users needs root")
    for program in ("useradd", "setpriv", "newuidmap", "busybox"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    name = f"tiffin-{os.getpid()}-{suffix}"
    # useradd gives a range of ids by default, unless told that it has none.
    without = () if ids else ("-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
    home = tempfile.mkdtemp(prefix=f"{name}-")
    subprocess.run(["useradd", "-M", "-d", home, "-s", "/bin/sh", *without, name], check=True)
    try:
        user = User(name, home)
        os.mkdir(f"{home}/run", 0o700)
        for path in (home, f"{home}/run"):
            os.chown(path, user.uid, user.uid)
        yield user
        user.rung = ""
        names = user.tiffin("ps", "-aq").split()
        if names:
            user.tiffin("rm", "-f", "-v", *names)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
        shutil.rmtree(home)


def _with_image(user: User) -> User:
    context = f"{user.home}/context"
    os.makedirs(f"{context}/etc")
    shutil.copy(shutil.which("busybox") or "", f"{context}/busybox")
    files = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n",
        "etc/group": "root:x:0:\nweb:x:8:\nmail:x:9:web\n",
        "owned": "web's",
        "Dockerfile": _DOCKERFILE,
    }
    for name, text in files.items():
        with open(f"{context}/{name}", "w") as stream:
            stream.write(text)
    user.tiffin("build", "-q", "-t", "base:1", context)
    return user


@pytest.fixture(scope="session")
def many() -> Iterator[User]:
    """A user with subordinate ids, whose store has `base:1`."""
    for user in _user("many", ids=True):
        yield _with_image(user)


@pytest.fixture(scope="session")
def single() -> Iterator[User]:
    """A user with one id, whose store has `base:1`."""
    for user in _user("single", ids=False):
        yield _with_image(user)


@pytest.fixture(params=["many", "single"])
def user(request: pytest.FixtureRequest) -> User:
    """Each of the two in turn."""
    found: User = request.getfixturevalue(request.param)
    return found
