"""Memory, cpus, pids, rlimits: docker's checks and the runtime's numbers."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tiffin.runtime.machine import Machine
    from tiffin.spec.container import HostConfig

_LEAST_MEMORY = 6 << 20
_PERIOD = 100_000
"""Microseconds over which the share of the cpus is counted."""

_BILLION = 1_000_000_000


class Rlimit(Value):
    """One `--ulimit`: a name without RLIMIT_ and in lower case, as docker has it; -1 is unlimited."""

    name: str
    soft: int
    hard: int


def check(host: HostConfig, machine: Machine) -> list[str]:
    """Return docker's warnings about the limits; raise InvalidArgument for those that cannot be."""
    warnings = []
    if 0 < host.memory < _LEAST_MEMORY:
        message = "Minimum memory limit allowed is 6MB"
        raise InvalidArgument(message, hint="for example -m 64m")
    if host.memory_swap > 0 and not host.memory:
        message = "You should always set the Memory limit when using Memoryswap limit, see usage"
        raise InvalidArgument(message, hint="--memory-swap counts memory and swap together; add -m")
    if host.memory and 0 < host.memory_swap < host.memory:
        message = "Minimum memoryswap limit should be larger than memory limit, see usage"
        raise InvalidArgument(message, hint="--memory-swap counts memory and swap together")
    if host.memory and host.memory_swap >= 0 and not machine.swap_limit:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
    if host.nano_cpus < 0 or host.nano_cpus > machine.cpus * _BILLION:
        count = machine.cpus
        message = f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        raise InvalidArgument(message)
    return warnings


def resources(host: HostConfig, machine: Machine) -> dict[str, Any]:
    """Return `linux.resources` without its device rules."""
    found: dict[str, Any] = {}
    if host.memory > 0:
        memory = {"limit": host.memory}
        if machine.swap_limit:
            # Not said: as much swap as memory (docker's default).
            memory["swap"] = host.memory_swap or host.memory * 2
        found["memory"] = memory
    if host.nano_cpus > 0:
        found["cpu"] = {"period": _PERIOD, "quota": host.nano_cpus * _PERIOD // _BILLION}
    if host.pids_limit > 0:
        found["pids"] = {"limit": host.pids_limit}
    return found


def rlimits(wanted: Sequence[Rlimit]) -> list[dict[str, Any]]:
    """Return `process.rlimits`, none above what this process may set (the runtime would fail with EPERM).

    A process without CAP_SYS_RESOURCE cannot raise a hard limit; root lacks it in many sandboxes.
    """
    if not wanted:
        return []
    import resource

    found = []
    for limit in wanted:
        number = getattr(resource, f"RLIMIT_{limit.name.upper()}", None)
        if number is None:
            message = f"invalid ulimit type: {limit.name}"
            raise InvalidArgument(message, hint="for example --ulimit nofile=1024:2048")
        ceiling = resource.getrlimit(number)[1]
        soft, hard = (_clamp(value, ceiling) for value in (limit.soft, limit.hard))
        found.append({"type": f"RLIMIT_{limit.name.upper()}", "soft": min(soft, hard), "hard": hard})
    return found


_UNLIMITED = (1 << 64) - 1


def _clamp(value: int, ceiling: int) -> int:
    wanted = _UNLIMITED if value < 0 else value
    return min(wanted, _UNLIMITED if ceiling < 0 else ceiling)


def oom_score(wanted: int) -> int | None:
    """Return `process.oomScoreAdj`, not below our own (only CAP_SYS_RESOURCE may go there); None for 0."""
    if not wanted:
        return None
    with open("/proc/self/oom_score_adj", "rb") as stream:
        own = int(stream.read())
    return max(wanted, own)
