"""What a container without cgroups is and uses: all processes below its keeper, as /proc has them."""

from __future__ import annotations

import os

from tiffin.engine.cgroups import Usage

_SECOND = 1_000_000_000
_PARENT, _FIRST_TIME, _LAST_TIME = 1, 11, 15
"""Places in /proc/PID/stat behind the name: utime, stime, and both of the children that were waited for."""


def processes(pid: int) -> set[int]:
    """Return the pids (of the host) of a container; its first process, `pid`, is a child of its keeper."""
    parents = {int(name): _parent(name) for name in os.listdir("/proc") if name.isdigit()}
    keeper = parents.get(pid, 0)
    found = {child for child, parent in parents.items() if keeper and parent == keeper}
    more = found
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        found |= more
    return found


def usage(pid: int) -> Usage:
    """Look once; what cannot be read is 0.

    Memory is the processes' own and their share of what several have (PSS), without the page cache. Cpu
    and devices of a process that has ended are counted by the one that waited for it.
    """
    pids = processes(pid)
    tick = _SECOND // os.sysconf("SC_CLK_TCK")
    cpu = memory = read = written = 0
    for one in pids:
        cpu += tick * sum(map(int, _stat(str(one))[_FIRST_TIME:_LAST_TIME]))
        memory += 1024 * _field(one, "smaps_rollup", b"Pss:")
        read += _field(one, "io", b"read_bytes:")
        written += _field(one, "io", b"write_bytes:")
    return Usage(cpu=cpu, memory=memory, processes=len(pids), bytes_read=read, bytes_written=written)


def _parent(pid: str) -> int:
    return int((_stat(pid) or [b"", b"0"])[_PARENT])


def _stat(pid: str) -> list[bytes]:
    """Return what stands behind the name, which may have spaces; () for a process that has just ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _field(pid: int, file: str, name: bytes) -> int:
    try:
        with open(f"/proc/{pid}/{file}", "rb") as stream:
            return next((int(line.split()[1]) for line in stream if line.startswith(name)), 0)
    except OSError:
        return 0
