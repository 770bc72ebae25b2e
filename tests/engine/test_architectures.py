"""Images of another architecture: said clearly where nothing runs them, run where binfmt_misc is set up."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tiffin.spec.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or Platform.here().architecture != "amd64",
    reason="needs root, and takes arm64 for foreign",
)

_QEMU = "/usr/bin/qemu-aarch64-static"
_PROGRAM = (sys.executable, "-c", "from tiffin.cli.entry import main; main()")
_NO_BINFMT = 77
# A user namespace with a binfmt_misc of its own (Linux 6.7), in which nothing of the machine is changed.
_EMULATING = f"""\
import ctypes, os, subprocess, sys
go, gone = os.pipe(), os.pipe()
child = os.fork()
if not child:
    ctypes.CDLL(None).unshare(0x10020000)
    os.write(gone[1], b"x")
    os.read(go[0], 1)
    magic = rb"\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
    mask = rb"\\xff" * 7 + rb"\\x00" + rb"\\xff" * 8 + rb"\\xfe\\xff\\xff\\xff"
    folder = "/proc/sys/fs/binfmt_misc"
    try:
        subprocess.run(["mount", "-t", "binfmt_misc", "none", folder], check=True, capture_output=True)
        with open(folder + "/register", "wb", buffering=0) as file:
            file.write(b":qemu-aarch64:M::" + magic + b":" + mask + b":{_QEMU}:F")
    except (OSError, subprocess.CalledProcessError):
        os._exit({_NO_BINFMT})
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(gone[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{{child}}/{{name}}", "w") as file:
        file.write("0 0 65536")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
_DOCKERFILE = """\
FROM --platform=linux/arm64 scratch
COPY hello /hello
RUN ["/hello"]
CMD ["/hello"]
"""


def arm64_program() -> bytes:
    """Return a program for arm64 that makes the file /made, says "arm64", and ends with 0."""
    said, path = b"arm64\n", b"/made\0"

    def move(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    def address(register: int, offset: int) -> int:
        return 0x10000000 | (offset & 3) << 29 | (offset >> 2 & 0x7FFFF) << 5 | register

    call = 0xD4000001
    count = 15  # instructions, with the data behind them
    code = [
        *(0x92800000 | 99 << 5, address(1, (count - 1) * 4 + 8), move(2, 0o101), move(3, 0o644)),
        *(move(8, 56), call),  # openat(AT_FDCWD, path, O_CREAT | O_WRONLY, 0644)
        *(move(0, 1), address(1, (count - 7) * 4), move(2, len(said)), move(8, 64), call),  # write
        *(move(0, 0), move(8, 93), call),  # exit
        0,
    ]
    assert len(code) == count
    body = struct.pack(f"<{count}I", *code) + said.ljust(8, b"\0") + path
    start, size = 0x400078, 0x78 + len(body)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, start, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000)
    return header + segment + body


class Machine:
    """The command on a store of its own, on this machine or where arm64 programs run."""

    def __init__(self, folder: Path) -> None:
        """Keep a folder with a build context."""
        self.folder = folder
        context = folder / "context"
        context.mkdir()
        (context / "hello").write_bytes(arm64_program())
        (context / "hello").chmod(0o755)
        (context / "Dockerfile").write_text(_DOCKERFILE)
        (context / "Still").write_text(_DOCKERFILE.replace('RUN ["/hello"]\n', ""))
        self.context = str(context)
        self.around: tuple[str, ...] = ()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        where = ("--root", f"{self.folder}/root", "--run", f"{self.folder}/run")
        command = [*self.around, *_PROGRAM, *where, *words]
        return subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)


def test_without_an_interpreter_it_is_said(tmp_path: Path) -> None:
    """It is built as far as nothing runs; create warns in docker's words and says what to install."""
    machine = Machine(tmp_path)
    context = machine.context
    assert machine.run("build", "-q", "-t", "arm:1", "-f", f"{context}/Still", context).returncode == 0
    assert machine.run("inspect", "-f", "{{.Os}}/{{.Architecture}}", "arm:1").stdout == "linux/arm64\n"
    done = machine.run("run", "--rm", "--network", "none", "arm:1")
    sentence = (
        "WARNING: The requested image's platform (linux/arm64) does not match the detected host platform "
        "(linux/amd64) and no specific platform was requested\n"
    )
    assert done.stderr.startswith(sentence)
    assert "linux/arm64 programs do not run here yet: install qemu-user-static" in done.stderr
    assert done.stderr.lower().endswith(": exec format error\n")
    assert done.returncode == 1
    done = machine.run("create", "--platform", "linux/arm64", "arm:1")
    assert sentence not in done.stderr
    machine.run("rm", done.stdout.strip())
    done = machine.run("run", "--platform", "linux/amd64", "--pull", "never", "arm:1")
    assert "does not match the specified platform (linux/amd64)" in done.stderr
    done = machine.run("build", "-t", "arm:2", context)
    assert done.returncode == 1
    assert "its program is of another architecture than this machine" in done.stderr


def test_where_binfmt_is_set_up_it_runs(tmp_path: Path) -> None:
    """With qemu registered, RUN and run of arm64 programs work, without a warning where it was asked for."""
    if not shutil.which("qemu-aarch64-static"):
        pytest.skip("qemu-user-static is not installed")
    machine = Machine(tmp_path)
    machine.around = (sys.executable, "-c", _EMULATING)
    done = machine.run("build", "-q", "-t", "arm:1", machine.context)
    if done.returncode == _NO_BINFMT:
        pytest.skip("this kernel has no binfmt_misc in user namespaces (Linux 6.7 has)")
    assert done.returncode == 0, done.stderr
    done = machine.run("run", "--platform", "linux/arm64", "--name", "one", "--network", "none", "arm:1")
    assert (done.stdout, done.stderr, done.returncode) == ("arm64\n", "", 0)
    assert machine.run("diff", "one").stdout == "C /made\n"
    done = machine.run("run", "--rm", "--network", "none", "arm:1")
    assert done.stdout == "arm64\n"
    assert "no specific platform was requested" in done.stderr
    assert "do not run here yet" not in done.stderr
    assert machine.run("rm", "one").returncode == 0
    assert machine.run("system", "reset", "-f").returncode == 0
