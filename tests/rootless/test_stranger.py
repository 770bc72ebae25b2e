"""A stranger's first minute without root: a checkout of their own, or tiffin installed by pip."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import struct
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.accounts import User

_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _checkout(user: User) -> str:
    """Return a copy of this tree that belongs to the user."""
    folder = f"{user.home}/tiffin"
    if not os.path.exists(folder):
        left_out = shutil.ignore_patterns(".git", ".venv", ".wheel", "__pycache__", "*.egg-info")
        shutil.copytree(_HERE, folder, ignore=left_out, symlinks=True)
        subprocess.run(["chown", "-R", f"{user.uid}:{user.uid}", folder], check=True)
    return folder


def test_quickstart(user: User) -> None:
    """It runs as it is, and nothing is left behind."""
    done = user.run(f"{_checkout(user)}/scripts/quickstart", timeout=300, **_pip())
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert done.stdout.endswith(b"# done: no process, no mount and no file is left\n")
    assert b"Night shop is open" in done.stdout
    assert user.processes() == []


def _pip() -> dict[str, str]:
    """Return how pip is set up here: from where it installs."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT"))}


def test_what_is_missing_is_named(user: User) -> None:
    """Without root nothing is installed: the packages are named, and the command that installs them."""
    done = user.run(f"{_checkout(user)}/scripts/prepare", "packages", "no-such-package")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "prepare: missing: no-such-package ",
        "prepare: install them as root: apt-get install --no-install-recommends no-such-package ",
    ]


_PROGRAM = """
import os, sys, tiffin

with tiffin.Engine() as engine:
    built = engine.images.build({context!r}, tags=["app:1"])
    done = tiffin.run("app:1", ["sh", "-c", "echo $0 is $(id -u); cat /data/seed"], engine=engine)
    print(done.exit_code, done.stdout.decode().split(), engine.settings.privilege.rung)
"""


def test_a_program_without_docker_builds_and_runs_and_leaves_nothing(user: User) -> None:
    """In a fresh environment, with only a runtime on PATH: no process, mount, namespace or socket is left."""
    wheel = f"{_checkout(user)}/.wheel"
    done = user.run(f"{_checkout(user)}/scripts/prepare", "wheel", wheel, timeout=300, **_pip())
    assert done.returncode == 0, done.stderr.decode()
    programs = f"{user.home}/programs"
    os.mkdir(programs)
    os.symlink(shutil.which("crun") or "/usr/bin/crun", f"{programs}/crun")
    program = _PROGRAM.format(context=f"{user.home}/context")
    variables = {"PATH": programs, "XDG_DATA_HOME": f"{user.home}/fresh"}
    done = user.run("/usr/bin/env", "-C", "/", f"{wheel}/bin/python", "-I", "-c", program, **variables)
    assert done.returncode == 0, done.stderr.decode()
    rung = "subids" if user.name.endswith("subids") else "single"
    assert done.stdout.decode() == f"0 ['sh', 'is', '0', 'seed'] {rung}\n"
    assert user.processes() == []
    assert _mounts(user) == []
    assert _namespaces(user) == []
    assert _sockets(user) == []


def _mounts(user: User) -> list[str]:
    """Return the mounts, in anybody's namespace, that have to do with the user's home."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo") as lines:
            found |= {line for line in lines if user.home in line}
    return sorted(found)


def _namespaces(user: User) -> list[str]:
    """Return the namespaces of this machine that the user, who is their owner, has made."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            with contextlib.suppress(OSError):
                link = f"/proc/{pid}/ns/{kind}"
                if _owner(link) == user.uid and not _ended(pid):
                    found.add(os.readlink(link))
    return sorted(found)


def _ended(pid: str) -> bool:
    """Tell whether a process only waits for its parent, which is not ours, to hear of its end."""
    with open(f"/proc/{pid}/stat", "rb") as stream:
        return stream.read().rpartition(b")")[2].split()[0] == b"Z"


def _owner(link: str) -> int:
    """Return whose a namespace is (ioctl_ns(2)): that of the user namespace it belongs to."""
    get_user_namespace, get_owner = 0xB701, 0xB704
    file = os.open(link, os.O_RDONLY)
    try:
        if not link.endswith("/user"):
            above = fcntl.ioctl(file, get_user_namespace)
            os.close(file)
            file = above
        (uid,) = struct.unpack("I", fcntl.ioctl(file, get_owner, bytes(4)))
        return int(uid)
    finally:
        os.close(file)


def _sockets(user: User) -> list[str]:
    """Return the sockets with a name below the user's home, and those anybody listens at there."""
    found = []
    for folder, _folders, files in os.walk(user.home):
        found += [f"{folder}/{n}" for n in files if stat.S_ISSOCK(os.lstat(f"{folder}/{n}").st_mode)]
    with open("/proc/net/unix") as lines:
        return found + [line for line in lines if user.home in line]
