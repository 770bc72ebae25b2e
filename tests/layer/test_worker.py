"""The worker's life: it ends when it should, whoever dies first, and says why."""

from __future__ import annotations

import gzip
import hashlib
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.layer.trees import member, tar_of
from tiffin.errors import Corrupt, Interrupted, Unavailable
from tiffin.layer.apply import Extraction

if TYPE_CHECKING:
    from pathlib import Path

DATA = tar_of(member("first", b"x" * 1_000_000), member("second", b"y" * 1_000_000))


def started(folder: Path) -> tuple[Extraction, int]:
    """Start one that has read half of its archive and waits for the rest; return the pipe as well."""
    folder.mkdir()
    reading, writing = os.pipe()
    extraction = Extraction.start(reading, str(folder), xattr="trusted.")
    os.close(reading)
    os.write(writing, DATA[:60_000])
    return extraction, writing


def children() -> set[int]:
    """Return this process's children."""
    with open(f"/proc/self/task/{os.getpid()}/children") as stream:
        return set(map(int, stream.read().split()))


def test_abort_stops_it_at_once(tmp_path: Path) -> None:
    """After abort, wait raises Interrupted and no process or descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    extraction, writing = started(tmp_path / "out")
    extraction.abort()
    with pytest.raises(Interrupted):
        extraction.wait()
    extraction.abort()  # late, and so without effect
    os.close(writing)
    assert not children()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_killed_worker_is_not_the_archives_fault(tmp_path: Path) -> None:
    """Killed from outside (out of memory), it is Unavailable and names the signal."""
    extraction, writing = started(tmp_path / "out")
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="signal 9"):
        extraction.wait()
    os.close(writing)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    """What the interpreter prints when it fails is in the message."""
    (tmp_path / "out").mkdir()
    program = (
        "import json, sys\n"
        "from tiffin.layer import apply\n"
        "apply._PACKAGES = '/nowhere'\n"
        "sys.path[:] = ['/nowhere']\n"
        "apply.apply(0, sys.argv[1], xattr='trusted.')\n"
    )
    failed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "out"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Unavailable: extraction: its worker died (exit code 1): ModuleNotFoundError" in failed.stderr


def test_it_ends_when_nobody_listens(tmp_path: Path) -> None:
    """A worker whose caller was killed stops reading, though its source goes on."""
    (tmp_path / "out").mkdir()
    program = (
        "import os, sys\n"
        "from tiffin.layer.apply import Extraction\n"
        "extraction = Extraction.start(0, sys.argv[1], xattr='trusted.')\n"
        "print(extraction._pid, flush=True)\n"
        "extraction.wait()\n"
    )
    reading, writing = os.pipe()
    caller = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "out"], stdin=reading, stdout=subprocess.PIPE, text=True
    )
    os.close(reading)
    assert caller.stdout is not None
    worker = os.pidfd_open(int(caller.stdout.readline()))
    os.write(writing, DATA[:30_000])
    caller.kill()
    caller.wait()
    caller.stdout.close()
    poller = select.poll()
    poller.register(worker, select.POLLIN)
    try:
        while not poller.poll(10):
            os.write(writing, b"z" * 512)
    except BrokenPipeError:
        assert poller.poll(5000)
    os.close(writing)
    os.close(worker)


def test_a_growing_file_is_followed_to_its_end(tmp_path: Path) -> None:
    """What is written after the start is unpacked too; a file is at its end when its writer says so."""
    (tmp_path / "out").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with open(tmp_path / "layer", "wb", buffering=0) as growing, open(tmp_path / "layer", "rb") as source:
        growing.write(DATA[:3])
        extraction = Extraction.start(source.fileno(), str(tmp_path / "out"), xattr="trusted.", growing=True)
        for start in range(3, len(DATA), 70_001):
            growing.write(DATA[start : start + 70_001])
            extraction.grown()
        extraction.complete()
        applied = extraction.wait()
    assert applied.diff_id == "sha256:" + hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "out/second").read_bytes() == b"y" * 1_000_000
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("packed", [False, True])
def test_what_somebody_else_verifies_is_not_hashed_again(tmp_path: Path, *, packed: bool) -> None:
    """A digest that the bytes are verified to have counts for what is not packed, and only for that."""
    (tmp_path / "out").mkdir()
    (tmp_path / "layer").write_bytes(gzip.compress(DATA) if packed else DATA)
    proven = "sha256:" + "ab" * 32
    with open(tmp_path / "layer", "rb") as source:
        extraction = Extraction.start(
            source.fileno(), str(tmp_path / "out"), xattr="trusted.", growing=True, proven=proven
        )
        applied = extraction.wait()
    assert applied.diff_id == ("sha256:" + hashlib.sha256(DATA).hexdigest() if packed else proven)
    assert applied.digest == ""


def test_a_growing_file_may_be_given_up(tmp_path: Path) -> None:
    """A worker that waits for more is stopped at once, and one that failed early takes no notice of more."""
    (tmp_path / "out").mkdir()
    (tmp_path / "layer").write_bytes(DATA[:60_000])
    with open(tmp_path / "layer", "rb") as source:
        waiting = Extraction.start(source.fileno(), str(tmp_path / "out"), xattr="trusted.", growing=True)
        waiting.abort()
        with pytest.raises(Interrupted):
            waiting.wait()
        (tmp_path / "layer").write_bytes(b"garbage" * 1000)
        source.seek(0)
        failing = Extraction.start(source.fileno(), str(tmp_path / "out"), xattr="trusted.", growing=True)
        poller = select.poll()
        poller.register(failing._process, select.POLLIN)
        assert poller.poll(20_000)
        failing.grown()
        with pytest.raises(Corrupt, match="garbage"):
            failing.wait()


def test_nothing_is_imported_after_the_chroot(tmp_path: Path) -> None:
    """Each compression and each kind of failure works where no module can be found any more."""
    (tmp_path / "out").mkdir()
    trace = tmp_path / "trace"
    program = "import sys; from tiffin.layer.apply import apply; apply(0, sys.argv[1], xattr='trusted.')"
    with open(tmp_path / "layer", "wb") as stream:
        stream.write(DATA)
    for tool in ("cat", "gzip", "zstd", "xz", "bzip2"):
        command = [tool, tmp_path / "layer"] if tool == "cat" else [tool, "-c", tmp_path / "layer"]
        packed = subprocess.run(command, capture_output=True, check=True)
        (tmp_path / "packed").write_bytes(packed.stdout)
        with open(tmp_path / "packed", "rb") as source:
            subprocess.run(
                ["strace", "-f", "-o", trace, "-e", "trace=chroot,openat", sys.executable, "-c", program,
                 tmp_path / "out"],
                stdin=source, check=True,
            )  # fmt: skip
        after = trace.read_text().partition("chroot(")[2].splitlines()[1:]
        opened = {line.split('"')[1] for line in after if "openat(" in line}
        # The C library's allocator asks for this by itself when it gives a thread's memory back.
        assert opened - {"/proc/sys/vm/overcommit_memory"} == {"first", "second"}
        for name in ("first", "second"):
            (tmp_path / "out" / name).unlink()
