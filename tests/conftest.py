"""What every test shares: a session that leaves nothing behind, and a count of what was skipped."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.accounts import await_end
from tiffin.settings import SNAPSHOTTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

# The same examples in every run; `--hypothesis-profile=search` looks for new ones. No deadline: machines are
# shared.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("same")

# A shell that starts the tests in its background ignores interrupts for them, and so for the commands that
# are interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PATIENCE_MS = 5000
"""How long a process may take to go away by itself once the last test has ended."""


def _mounts_below(folder: str) -> list[str]:
    with open("/proc/self/mountinfo") as lines:
        points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(folder)]


def _processes_naming(folder: str) -> dict[int, str]:
    """Return pid -> command line of every process that was started with a path below the folder."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as stream:
            command = stream.read().replace(b"\0", b" ").decode(errors="replace").strip()
            if folder in command and int(name) != os.getpid():
                found[int(name)] = command
    return found


def _bridges_of(folder: str) -> list[str]:
    """Return the bridges on this host that say that they belong to a store below the folder."""
    found = []
    with contextlib.suppress(OSError), os.scandir("/sys/class/net") as interfaces:
        for interface in interfaces:
            with contextlib.suppress(OSError), open(f"{interface.path}/ifalias") as stream:
                if f" {folder}/" in stream.read():
                    found.append(interface.name)
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session if a mount, a process or a bridge of its temporary folder outlives the last test."""
    folder = str(tmp_path_factory.getbasetemp())
    yield
    await_end(list(_processes_naming(folder)))
    assert not _mounts_below(folder), "mounts left behind"
    assert not _processes_naming(folder), "processes left behind"
    end = time.monotonic() + _PATIENCE_MS / 1000
    while _bridges_of(folder) and time.monotonic() < end:
        select.select([], [], [], 0.05)  # a keeper that was the last on one takes it down, seconds later
    assert not _bridges_of(folder), "bridges left behind"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the whole suite run on another snapshotter than the one that works here."""
    parser.addoption("--snapshotter", choices=SNAPSHOTTERS, help="how containers get their files")


def pytest_configure(config: pytest.Config) -> None:
    """Choose it before the first store is made; programs that tests start find it, too."""
    if wanted := config.getoption("--snapshotter"):
        os.environ["TIFFIN_SNAPSHOTTER"] = wanted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped, also when it is none."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped tests: {skipped}")
