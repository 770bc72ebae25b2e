"""Devices: what the cgroup lets a container use, and all of the host's for a privileged one."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# zero, null, urandom, random, tty, console; the runtime adds pts and ptmx, and lets nodes be made.
_ALLOWED = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))

RULES: list[dict[str, Any]] = [
    {"allow": False, "access": "rwm"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in _ALLOWED
    ),
]

ALL_RULES: list[dict[str, Any]] = [{"allow": True, "access": "rwm"}]

# Mounts of their own in a container, and links into them.
_SKIPPED = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"}


def of_host() -> list[dict[str, Any]]:
    """Return every device node below /dev, for `linux.devices` of a privileged container."""
    return list(_walk("/dev", _SKIPPED))


def _walk(folder: str, skipped: set[str]) -> Iterator[dict[str, Any]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        path = f"{folder}/{name}"
        try:
            info = os.lstat(path)
        except OSError:
            continue
        if name in skipped:
            continue
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(path, set())
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            yield {
                "path": path,
                "type": "c" if stat.S_ISCHR(info.st_mode) else "b",
                "major": os.major(info.st_rdev),
                "minor": os.minor(info.st_rdev),
                "fileMode": stat.S_IMODE(info.st_mode),
                "uid": info.st_uid,
                "gid": info.st_gid,
            }
