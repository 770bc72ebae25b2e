"""Ordinary users, made for the tests and removed after them: with subordinate ids, or with one id.

python -m tests.accounts subids|single COMMAND...    run a command as such a user
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from tests.snapshotter import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = ("useradd", "userdel", "setpriv", "newuidmap")
"""Programs without which there are no such users."""

_PROGRAM = "from tiffin.cli.entry import main; main()"
_NUMBERS = itertools.count(1)
_PATIENCE_MS = 5000
"""How long a process may take to go away by itself."""


def await_end(pids: list[int]) -> None:
    """Wait until these processes have ended, each for some seconds at the most."""
    for pid in pids:
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            poller.poll(_PATIENCE_MS)
            os.close(handle)


class User:
    """An account and its home; runs programs as itself, in an environment of its own."""

    def __init__(self, name: str, home: str) -> None:
        """Take over an account that exists."""
        self.name = name
        self.home = home
        self.uid = pwd.getpwnam(name).pw_uid
        self.rung = ""
        self.path = f"{os.defpath}:/usr/sbin"

    def argv(self, *words: str, **variables: str) -> list[str]:
        """Return the command that runs another as this user."""
        own = {
            "HOME": self.home,
            "XDG_RUNTIME_DIR": f"{self.home}/run",
            "TMPDIR": f"{self.home}/scratch",
            "PATH": self.path,
            "TIFFIN_DURABLE": "0",
            **chosen(),
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"TIFFIN_RUNG": self.rung} if self.rung else {}),
            **variables,
        }
        who = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--init-groups"]
        return [*who, "env", "-i", "-C", self.home, *(f"{n}={v}" for n, v in own.items()), *words]

    def run(
        self, *words: str, stdin: bytes = b"", timeout: int = 120, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program."""
        argv = self.argv(*words, **variables)
        return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=timeout)

    def elsewhere(self, mounts: dict[str, str], *words: str, **variables: str) -> str:
        """Run a tiffin command where other files stand in the host's places; return all that it says.

        `mounts` has what `mount` is told for each place: a path to bind, or options and a type.
        """
        script = "".join(f"mount {how} {place} && " for place, how in mounts.items()) + 'exec "$@"'
        argv = ["unshare", "-m", "sh", "-c", script, "sh", *self.argv(*self.command(*words), **variables)]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=120)
        return (done.stdout + done.stderr).decode()

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

    def ids(self) -> list[range]:
        """Return whose processes and files are this user's: its own id, and its subordinate ones."""
        found = [range(self.uid, self.uid + 1)]
        with open("/etc/subuid") as stream:
            rows = [line.strip().split(":") for line in stream if line.startswith(f"{self.name}:")]
        return found + [range(int(start), int(start) + int(count)) for _, start, count in rows]

    def pids(self) -> list[int]:
        """Return the processes that run below this user's home, or in its name."""
        ids, found = self.ids(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
                command = stream.read()
                uid = os.stat(f"/proc/{pid}").st_uid
                if command and (self.home.encode() in command or any(uid in r for r in ids)):
                    found.append(int(pid))
        return [pid for pid in found if pid != os.getpid()]

    def processes(self) -> list[str]:
        """Return the command lines of those processes that do not end within seconds.

        The last keeper on a network stays for a moment: it would be needed again by the next container.
        """
        found = []
        await_end(self.pids())
        for pid in self.pids():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
                found.append(stream.read().replace(b"\0", b" ").decode(errors="replace"))
        return found


@contextlib.contextmanager
def account(rung: str) -> Iterator[User]:
    """Make a user who has subordinate ids or not, for as long as the context lasts; must be root."""
    name = f"tiffin-{os.getpid()}-{next(_NUMBERS)}-{rung}"
    # useradd gives a range of ids by default, unless told that it has none.
    without = () if rung == "subids" else ("-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
    home = tempfile.mkdtemp(prefix=f"{name}-")
    subprocess.run(["useradd", "-M", "-d", home, "-s", "/bin/sh", *without, name], check=True)
    user = User(name, home)
    try:
        for folder in ("run", "scratch"):
            os.mkdir(f"{home}/{folder}", 0o700)
        for path in (home, f"{home}/run", f"{home}/scratch"):
            os.chown(path, user.uid, user.uid)
        yield user
    finally:
        for pid in user.pids():
            with contextlib.suppress(ProcessLookupError), contextlib.closing(_Handle(pid)) as handle:
                handle.kill()
        subprocess.run(["userdel", name], check=True, capture_output=True)
        shutil.rmtree(home)


class _Handle:
    """A process that is somebody else's child."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        import select

        signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        select.select([self._fd], [], [], 5)

    def close(self) -> None:
        os.close(self._fd)


def main() -> int:
    """Run a command as a user of the rung, in this folder; return its exit code."""
    rung, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the user would stay
    with account(rung) as user:
        here = os.getcwd()
        # What happened is seen here: the user's own terminal is this one.
        argv = user.argv("env", "-C", here, *command, TERM=os.environ.get("TERM", "dumb"))
        return subprocess.call(argv, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in {"subids", "single"}:
        sys.exit(__doc__)
    sys.exit(main())
