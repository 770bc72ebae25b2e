"""What the generated configuration must know of this host, as plain data."""

from __future__ import annotations

import os
import posix

from tiffin.runtime import capabilities
from tiffin.spec.platform import Platform
from tiffin.spec.value import Value

_CGROUPS = "/sys/fs/cgroup"
_PROFILES = "/sys/kernel/security/apparmor/profiles"
DEFAULT_APPARMOR = "docker-default"


class Machine(Value):
    """Facts of a host. `capabilities` is our own bounding set, `kernel` (major, minor)."""

    architecture: str
    kernel: tuple[int, int]
    cpus: int
    capabilities: tuple[str, ...]
    cgroup_version: int
    swap_limit: bool  # whether memory and swap can be limited together
    apparmor: str = ""  # docker's default profile, where it is loaded

    @staticmethod
    def here() -> Machine:
        """Look at this host; some ten small reads."""
        unified = os.path.exists(f"{_CGROUPS}/cgroup.controllers")
        return Machine(
            architecture=Platform.here().architecture,
            kernel=kernel_version(posix.uname().release),
            cpus=os.cpu_count() or 1,
            capabilities=bounding_set(),
            cgroup_version=2 if unified else 1,
            swap_limit=unified or os.path.exists(f"{_CGROUPS}/memory/memory.memsw.limit_in_bytes"),
            apparmor=_apparmor(),
        )


def kernel_version(release: str) -> tuple[int, int]:
    """Return (major, minor) of uname's release; (0, 0) for one that cannot be read."""
    major, _, rest = release.partition(".")
    minor = "".join(c if c.isdigit() else " " for c in rest).split(" ")[0]
    return (int(major), int(minor)) if major.isdigit() and minor else (0, 0)


def bounding_set() -> tuple[str, ...]:
    """Return the capabilities that this process can hand on."""
    with open("/proc/self/status", "rb") as stream:
        for line in stream:
            if line.startswith(b"CapBnd:"):
                return capabilities.from_mask(int(line.split()[1], 16))
    return ()


def _apparmor() -> str:
    try:
        with open(_PROFILES, "rb") as stream:
            loaded = stream.read()
    except OSError:
        return ""
    return DEFAULT_APPARMOR if f"{DEFAULT_APPARMOR} (".encode() in loaded else ""
