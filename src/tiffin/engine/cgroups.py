"""What the kernel counts of a container: its processes, cpu, memory and devices; cgroup v1 and v2."""

from __future__ import annotations

import os

from tiffin.runtime.specgen import cgroup_path
from tiffin.spec.value import Value

_ROOT = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 60
"""What v1 says where there is no limit is a little below 1 << 63."""


class Usage(Value):
    """One look at a container. Bytes for memory and devices, nanoseconds for cpu; limit 0 is none."""

    cpu: int = 0
    memory: int = 0
    memory_limit: int = 0
    processes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


def folder(container_id: str, controller: str) -> str:
    """Return the folder of a container's cgroup where a controller's files lie."""
    unified = os.path.exists(f"{_ROOT}/cgroup.controllers")
    return f"{_ROOT}{'' if unified else '/' + controller}{cgroup_path(container_id)}"


def processes(container_id: str) -> set[int]:
    """Return the pids (of the host) of everything in a container."""
    found: set[int] = set()
    for path, _folders, _files in os.walk(folder(container_id, "pids")):
        found |= {int(word) for word in _read(f"{path}/cgroup.procs").split()}
    return found


def usage(container_id: str) -> Usage:
    """Look once; what cannot be read is 0."""
    if os.path.exists(f"{_ROOT}/cgroup.controllers"):
        return _unified(folder(container_id, ""))
    return _separate(container_id)


def _unified(path: str) -> Usage:
    memory = _table(_read(f"{path}/memory.stat"))
    limit = _read(f"{path}/memory.max").strip()
    read = written = 0
    for line in _read(f"{path}/io.stat").splitlines():
        counts = dict(word.partition("=")[::2] for word in line.split()[1:])
        read += int(counts.get("rbytes", 0))
        written += int(counts.get("wbytes", 0))
    return Usage(
        cpu=_table(_read(f"{path}/cpu.stat")).get("usage_usec", 0) * 1000,
        memory=max(0, _number(f"{path}/memory.current") - memory.get("inactive_file", 0)),
        memory_limit=int(limit) if limit.isdigit() else 0,
        processes=_number(f"{path}/pids.current"),
        bytes_read=read,
        bytes_written=written,
    )


def _separate(container_id: str) -> Usage:
    memory = folder(container_id, "memory")
    limit = _number(f"{memory}/memory.limit_in_bytes")
    inactive = _table(_read(f"{memory}/memory.stat")).get("total_inactive_file", 0)
    device = {"Read": 0, "Write": 0}
    for line in _read(f"{folder(container_id, 'blkio')}/blkio.throttle.io_service_bytes").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in device:
            device[words[1]] += int(words[2])
    return Usage(
        cpu=_number(f"{folder(container_id, 'cpuacct')}/cpuacct.usage"),
        memory=max(0, _number(f"{memory}/memory.usage_in_bytes") - inactive),
        memory_limit=limit if limit < _NO_LIMIT else 0,
        processes=_number(f"{folder(container_id, 'pids')}/pids.current"),
        bytes_read=device["Read"],
        bytes_written=device["Write"],
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read()
    except OSError:
        return ""  # it has just ended, or this host does not count that


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _table(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2}
