"""What the kernel counts of a container: its processes, cpu, memory and devices; cgroup v1 and v2."""

from __future__ import annotations

import os

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


def folder(container_id: str, pid: int, controller: str) -> str:
    """Return the folder where a controller's files of a container lie, "" if its process has ended.

    The kernel is asked where its first process is: a cgroup parent may have been given, and an init
    inside may have moved itself further down.
    """
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") or not (names or _is_hybrid()):
            above, own, _ = path.partition(f"/{container_id}")
            tree = f"/{controller}" if names else ""
            return f"{_ROOT}{tree}{above}{own}" if own else ""
    return ""


def _is_hybrid() -> bool:
    return not os.path.exists(f"{_ROOT}/cgroup.controllers")


def processes(container_id: str, pid: int) -> set[int]:
    """Return the pids (of the host) of everything in a container, which has this first process."""
    found: set[int] = set()
    top = folder(container_id, pid, "pids")
    for path, _folders, _files in os.walk(top) if top else ():
        found |= {int(word) for word in _read(f"{path}/cgroup.procs").split()}
    return found


def usage(container_id: str, pid: int) -> Usage:
    """Look once; what cannot be read is 0."""
    return _separate(container_id, pid) if _is_hybrid() else _unified(folder(container_id, pid, ""))


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


def _separate(container_id: str, pid: int) -> Usage:
    memory = folder(container_id, pid, "memory")
    limit = _number(f"{memory}/memory.limit_in_bytes")
    inactive = _table(_read(f"{memory}/memory.stat")).get("total_inactive_file", 0)
    device = {"Read": 0, "Write": 0}
    for line in _read(f"{folder(container_id, pid, 'blkio')}/blkio.throttle.io_service_bytes").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in device:
            device[words[1]] += int(words[2])
    return Usage(
        cpu=_number(f"{folder(container_id, pid, 'cpuacct')}/cpuacct.usage"),
        memory=max(0, _number(f"{memory}/memory.usage_in_bytes") - inactive),
        memory_limit=limit if limit < _NO_LIMIT else 0,
        processes=_number(f"{folder(container_id, pid, 'pids')}/pids.current"),
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
