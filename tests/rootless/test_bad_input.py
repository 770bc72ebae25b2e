"""Hosts and accounts that are not as they should be: what is wrong is said, with what puts it right."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.accounts import User

_RUN = ("run", "--rm", "--network", "none", "base:1", "true")


def _file(tmp_path: Path, text: str) -> str:
    """Return the option that binds a file with this text."""
    path = tmp_path / f"file{len(list(tmp_path.iterdir()))}"
    path.write_text(text)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    return f"--bind {path}"


def _doctor(user: User, mounts: dict[str, str], **variables: str) -> dict[str, dict[str, Any]]:
    said = user.elsewhere(mounts, "doctor", "--json", **variables)
    return {check["name"]: check for check in json.loads(said)}


@pytest.mark.parametrize(
    "line", ["{}:abc:65536", "{}:100000", "{}:0:65536", "{}:100000:0", "{}:1:4294967295"]
)
def test_a_line_that_is_wrong(many: User, tmp_path: Path, line: str) -> None:
    """A wrong line gives no ids; it is shown. A missing one comes with the command that adds it."""
    wrong = line.format(many.name)
    found = _doctor(many, {"/etc/subgid": _file(tmp_path, f"other:1:1\n{wrong}\n")})["not subids"]
    assert found["text"] == f"/etc/subgid has no good line for {many.name}: {wrong!r}"
    assert found["remedy"] == f"correct it: {many.name}:FIRST:COUNT"


def test_every_id_is_given_away(many: User, tmp_path: Path) -> None:
    """Where the ids end, the advice is no command that would fail."""
    full = _file(tmp_path, "other:100000:4294860000\n")
    found = _doctor(many, {"/etc/subuid": full})["not subids"]
    assert found["text"] == f"/etc/subuid gives {many.name} no range of ids"
    assert found["remedy"].startswith("all ids are given away: ")


def test_too_few_ids(many: User, tmp_path: Path) -> None:
    """With ten ids a user of the image that has none is refused by number; the others run."""
    few = _file(tmp_path, f"{many.name}:300000:10\n")
    at = {"/etc/subuid": few, "/etc/subgid": few}
    root = ("--root", f"{many.home}/few")
    assert many.elsewhere(at, *root, "build", "-q", "-t", "base:1", f"{many.home}/context").startswith(
        "sha256:"
    )
    assert many.elsewhere(at, *root, "run", "--rm", "-u", "web", "base:1", "id", "-u") == "7\n"
    said = many.elsewhere(at, *root, "run", "--rm", "-u", "20:20", "base:1", "id", "-u")
    assert "cannot run as user 20:20: inside there are 11 user and 11 group ids" in said
    assert "a longer range in /etc/subuid" in said
    many.elsewhere(at, *root, "system", "reset", "-f")


@pytest.mark.parametrize(
    ("how", "text", "remedy"),
    [
        ("--bind /dev/null", "newuidmap is not installed", "sudo apt-get install uidmap"),
        ("--bind {plain}", "/usr/bin/newuidmap is not set-uid root", "sudo chown root /usr/bin/newuidmap"),
        (
            "-o bind,nosuid /usr/bin/newuidmap",
            "/usr/bin/newuidmap lies on a file system mounted nosuid",
            "mount it without nosuid",
        ),
    ],
)
def test_a_helper_that_cannot_help(many: User, tmp_path: Path, how: str, text: str, remedy: str) -> None:
    """Newuidmap absent, without its bit, or where bits do not count: one id is left, and the way back."""
    plain = f"{tmp_path}/newuidmap"
    shutil.copyfile("/usr/bin/newuidmap", plain)
    os.chmod(plain, 0o755)  # noqa: S103 - as programs are
    tmp_path.chmod(0o755)
    at = {"/usr/bin/newuidmap": how.format(plain=plain)}
    if "nosuid" in how:
        at = {"/usr/bin": "--bind /usr/bin", "/usr/bin/": "-o remount,bind,nosuid"}
    found = _doctor(many, at)
    assert "one id" in found["rung"]["text"]
    assert found["not subids"]["text"] == text
    assert found["not subids"]["remedy"].startswith(remedy)
    said = many.elsewhere(at, "images")
    assert "was made with other privileges" in said
    assert f"to be what it was made with again: {remedy}" in said


def test_a_helper_that_fails(many: User, tmp_path: Path) -> None:
    """What newuidmap says is passed on, with what to do; it is not found out before it is called."""
    failing = tmp_path / "newuidmap"
    failing.write_text("#!/bin/sh\necho newuidmap: no such range >&2\nexit 1\n")
    failing.chmod(0o4755)
    tmp_path.chmod(0o755)
    said = many.elsewhere({"/usr/bin/newuidmap": f"--bind {failing}"}, *_RUN)
    assert "subordinate ids cannot be used: newuidmap: no such range" in said
    assert "TIFFIN_RUNG=single does without" in said


def test_no_new_privileges(many: User) -> None:
    """A process that may gain nothing has one id, with a store of its own; and says why."""
    argv = many.argv("setpriv", "--no-new-privs", *many.command("doctor"))
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert b"this process may not gain privileges (no_new_privs)" in done.stdout
    argv = many.argv("setpriv", "--no-new-privs", *many.command("images"))
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert b"was made with other privileges" in done.stderr
    assert b"start it without no_new_privs" in done.stderr


def test_a_home_without_attributes(user: User) -> None:
    """A file system that keeps no attributes, as NFS: refused, with the way out."""
    home = f"{user.home}/network"
    os.mkdir(home)
    os.chown(home, user.uid, user.uid)
    script = f'mount -t ramfs none {home} && chown {user.uid} {home} && exec "$@"'
    argv = user.argv(*user.command("--root", f"{home}/store", "images"))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *argv], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"is on a file system without extended attributes" in done.stderr
    assert b"name a root on a local disk: --root or TIFFIN_ROOT" in done.stderr


def test_a_home_on_a_careful_mount(user: User) -> None:
    """On noexec, nosuid and nodev, containers run as anywhere; volumes can be read-only."""
    home = f"{user.home}/careful"
    os.mkdir(home)
    script = (
        f"mount -t tmpfs -o noexec,nosuid,nodev none {home} && chown {user.uid} {home} && "
        f'"$@" build -q -t base:1 {user.home}/context && '
        '"$@" run --rm -v data:/x -v data:/y:ro base:1 sh -c "echo yes > /x/a; cat /y/a; : > /dev/null" && '
        '"$@" system reset -f'
    )
    argv = user.argv(*user.command("--root", f"{home}/store"))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *argv], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"\nyes\n" in done.stdout


def test_no_runtime_folder(user: User) -> None:
    """Without XDG_RUNTIME_DIR the sockets are in a folder of the user's in /tmp; a wrong one is refused."""
    argv = user.argv("env", "-u", "XDG_RUNTIME_DIR", *user.command(*_RUN[:-1], "echo", "done"))
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert done.stdout == b"done\n", done.stderr
    subprocess.run(["rm", "-rf", f"/tmp/tiffin-run-{user.uid}"], check=True)  # noqa: S108 - its name is fixed
    said = user.elsewhere({}, "images", XDG_RUNTIME_DIR="/var/empty-of-others")
    assert re.search(r"cannot make the run folder /var/empty-of-others/tiffin: permission denied", said)
    assert "set XDG_RUNTIME_DIR or TIFFIN_RUN to a folder of yours" in said


def test_a_store_of_root(many: User, tmp_path: Path) -> None:
    """A user's store is none of root's, even where both can read it."""
    root = f"{many.home}/.local/share/tiffin"
    program = "from tiffin.cli.entry import main; main()"
    command = [sys.executable, "-c", program, "--root", root, "--run", f"{tmp_path}/run", "images"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert f"{root} was made with other privileges (its rung is 'subids " in done.stderr
    assert "here it would be 'root'" in done.stderr


def test_root_is_warned_of_code_that_others_can_change(many: User) -> None:
    """`sudo tiffin` out of a user's folder runs what the user wants: doctor says so."""
    package = f"{many.home}/own/tiffin"
    source = os.path.dirname(os.path.abspath(sys.modules["tiffin"].__file__ or ""))
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chown", "-R", f"{many.uid}", f"{many.home}/own"], check=True)
    program = "from tiffin.cli.entry import main; main()"
    command = [sys.executable, "-c", program, "--root", f"{many.home}/roots", "doctor", "--json"]
    done = subprocess.run(
        command, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": f"{many.home}/own"}
    )
    found = {check["name"]: check for check in json.loads(done.stdout)}["installation"]
    assert found["text"] == f"root runs code that others can change: {package}"
    assert not found["good"]
    shutil.rmtree(f"{many.home}/own")
