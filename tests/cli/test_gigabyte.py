"""A container that prints a gigabyte."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pathlib

    from tests.cli.conftest import Tiffin

_SIZE = 1 << 30
_LINE = "0123456789" * 8


@pytest.mark.long
def test_a_gigabyte_of_output_costs_bounded_memory_and_disk(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """The keeper's peak is a few megabytes, three files of 100 MB are kept, and the last line is there."""
    fifo = tmp_path / "done"
    os.mkfifo(fifo)
    script = f"busybox yes {_LINE} | busybox head -c {_SIZE}; echo; echo the end; "
    script += "echo done >/told/done; sleep 1000"
    began = time.monotonic()
    tiffin("run", "-d", "--name", "loud", "-v", f"{tmp_path}:/told", "box:1", "sh", "-c", script)
    assert fifo.read_text() == "done\n"
    seconds = time.monotonic() - began
    pid = tiffin("inspect", "-f", "{{.State.Pid}}", "loud").strip()
    with open(f"/proc/{pid}/status") as stream:
        keeper = next(line.split()[1] for line in stream if line.startswith("PPid:"))
    with open(f"/proc/{keeper}/status") as stream:
        peak = next(int(line.split()[1]) << 10 for line in stream if line.startswith("VmHWM:"))
    tiffin("kill", "loud")
    tiffin("wait", "loud")
    folder = os.path.dirname(tiffin("inspect", "-f", "{{.LogPath}}", "loud").strip())
    sizes = [os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder) if "json.log" in name]
    print(
        f"{_SIZE / seconds / 1e6:.0f} MB/s, keeper's peak {peak / 1e6:.1f} MB, logs {sum(sizes) / 1e6:.0f} MB"
    )
    assert peak < 40 << 20
    assert len(sizes) == 3
    assert max(sizes) <= 101 << 20
    assert tiffin("logs", "-n", "1", "loud") == "the end\n"
    tiffin("rm", "loud")
