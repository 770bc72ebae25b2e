"""Whether the kernel has an interpreter for another architecture's programs (binfmt_misc)."""

from __future__ import annotations

import os

ADVICE = "install qemu-user-static, or let binfmt_misc know another interpreter (a path and the flag F)"
_FOLDER = "/proc/sys/fs/binfmt_misc"
# Go's names to the kernel's, which qemu's entries are called by.
_MACHINES = {
    "amd64": "x86_64",
    "386": "i386",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
    "mipsle": "mipsel",
}


def has_interpreter(architecture: str) -> bool:
    """Tell whether an entry for an architecture is there and enabled; its name must say which it is for."""
    machine = _MACHINES.get(architecture, architecture)
    try:
        names = os.listdir(_FOLDER)
    except OSError:
        return False
    for name in names:
        if name in {f"qemu-{machine}", machine}:
            with open(f"{_FOLDER}/{name}", "rb") as stream:
                return stream.readline() == b"enabled\n"
    return False
