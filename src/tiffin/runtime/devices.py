"""Devices: what the cgroup lets a container use, and all of the host's for a privileged one."""

from __future__ import annotations

import os
import stat

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tiffin.spec.container import Device, HostConfig

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


def rules(host: HostConfig) -> list[dict[str, Any]]:
    """Return what the cgroup allows: docker's few, and the user's own rules (`c 1:3 rwm`)."""
    return [*RULES, *map(_rule, host.device_cgroup_rules)] if host.device_cgroup_rules else RULES


def check_rule(text: str) -> None:
    """Raise InvalidArgument for a rule that is not `TYPE MAJOR:MINOR ACCESS`."""
    kind, numbers, access = (*text.split(" "), "", "", "")[:3]
    parts = numbers.split(":")
    numeric = len(parts) == 2 and all(part == "*" or (part.isascii() and part.isdigit()) for part in parts)
    plain = kind in {"a", "b", "c"} and 1 <= len(access) <= 3 and set(access) <= set("rwm")
    if text.count(" ") != 2 or not numeric or not plain:
        raise InvalidArgument(f"invalid device cgroup format '{text}'", hint="for example 'c 10:200 rwm'")


def _rule(text: str) -> dict[str, Any]:
    kind, numbers, access = text.split(" ")
    numbered = zip(("major", "minor"), numbers.split(":"), strict=True)
    return {
        "allow": True,
        "type": kind,
        "access": access,
        **{name: int(value) for name, value in numbered if value != "*"},
    }


def block_number(path: str) -> tuple[int, int]:
    """Return (major, minor) of a block device of the host; raises InvalidArgument."""
    try:
        info = os.stat(path)
    except OSError as error:
        message = f"failed to stat device {path}: {(error.strerror or '').lower()}"
        raise InvalidArgument(message) from error
    if not stat.S_ISBLK(info.st_mode):
        raise InvalidArgument(f"{path}: not a block device", hint="name one, for example /dev/sda")
    return os.major(info.st_rdev), os.minor(info.st_rdev)


def given(wanted: Sequence[Device]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return nodes and cgroup rules of `--device`s; a folder stands for all devices in it.

    Raises InvalidArgument in docker's words for what is no device.
    """
    nodes: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    for device in wanted:
        source = os.path.realpath(device.source)
        if os.path.isdir(source):
            found = [n | {"path": device.target + n["path"][len(source) :]} for n in _walk(source, set())]
        else:
            folder, name = os.path.split(source)
            found = [n for n in _walk(folder, set(_names(folder)) - {name}) if n["path"] == source]
            found = [n | {"path": device.target} for n in found]
        if not found:
            reason = "not a device node" if os.path.lexists(source) else "no such file or directory"
            message = (
                f'error gathering device information while adding custom device "{device.source}": {reason}'
            )
            raise InvalidArgument(message)
        nodes += found
        rules += [
            {"allow": True, "access": device.permissions, **{k: n[k] for k in ("type", "major", "minor")}}
            for n in found
        ]
    return nodes, rules


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


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
