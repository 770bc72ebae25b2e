"""What the generated configuration must know of this host, as plain data."""

from __future__ import annotations

import os
import posix

from tiffin.runtime import capabilities
from tiffin.spec.platform import Platform
from tiffin.spec.value import Value

_CGROUPS = "/sys/fs/cgroup"
_RATES = ("read_bps", "read_iops", "write_bps", "write_iops")
_FILES: dict[int, dict[str, tuple[str, ...]]] = {
    1: {
        **{f"blkio_device_{rate}": (f"blkio/blkio.throttle.{rate}_device",) for rate in _RATES},
        "blkio_weight": ("blkio/blkio.weight",),
        "blkio_weight_device": ("blkio/blkio.weight_device",),
        "memory_swappiness": ("memory/memory.swappiness",),
        "oom_kill_disable": ("memory/memory.oom_control",),
        "cpu_realtime": ("cpu/cpu.rt_runtime_us",),
    },
    2: {
        **{f"blkio_device_{rate}": ("io.stat",) for rate in _RATES},
        "blkio_weight": ("io.cost.qos",),
    },
}
"""Files of the cgroup tree's root whose presence says that a limit is there."""


class Machine(Value):
    """Facts of a host. `capabilities` is our own bounding set, `kernel` (major, minor)."""

    architecture: str
    kernel: tuple[int, int]
    cpus: int
    capabilities: tuple[str, ...]
    cgroup_version: int
    swap_limit: bool  # whether memory and swap can be limited together
    limits: tuple[str, ...] | None = None  # the rarer ones, see `limited`; None: look when asked
    apparmor: str = ""  # the profile of containers that don't ask for one, see `apparmor.prepare`

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
        )

    def limited(self, name: str) -> bool:
        """Tell whether this kernel has one of the rarer limits, by its name in HostConfig."""
        if self.limits is not None:
            return name in self.limits
        return any(os.path.exists(f"{_CGROUPS}/{file}") for file in _FILES[self.cgroup_version].get(name, ()))


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
