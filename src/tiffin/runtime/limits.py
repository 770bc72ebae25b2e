"""Memory, cpus, pids, rlimits: docker's checks and the runtime's numbers."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.runtime import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tiffin.runtime.machine import Machine
    from tiffin.spec.container import HostConfig, Ulimit

_LEAST_MEMORY = 6 << 20
_CONTROLLERS = {
    "memory": (
        ("--memory", "memory"),
        ("--memory-reservation", "memory_reservation"),
        ("--oom-kill-disable", "oom_kill_disable"),
    ),
    "cpu": (
        ("--cpus", "nano_cpus"),
        ("--cpu-shares", "cpu_shares"),
        ("--cpu-period", "cpu_period"),
        ("--cpu-quota", "cpu_quota"),
    ),
    "cpuset": (("--cpuset-cpus", "cpuset_cpus"), ("--cpuset-mems", "cpuset_mems")),
    "io": (
        ("--blkio-weight", "blkio_weight"),
        ("--blkio-weight-device", "blkio_weight_device"),
        ("--device-read-bps", "blkio_device_read_bps"),
        ("--device-write-bps", "blkio_device_write_bps"),
        ("--device-read-iops", "blkio_device_read_iops"),
        ("--device-write-iops", "blkio_device_write_iops"),
    ),
    "a parent": (("--cgroup-parent", "cgroup_parent"),),
}
"""What can be limited: the controller of v2, docker's flags and the members of HostConfig."""

_PERIOD = 100_000
"""Microseconds over which the share of the cpus is counted."""

_BILLION = 1_000_000_000
_LEAST_WEIGHT, _LARGEST_WEIGHT = 10, 1000
_THROTTLES = {
    "blkio_weight_device": "weightDevice",
    "blkio_device_read_bps": "throttleReadBpsDevice",
    "blkio_device_write_bps": "throttleWriteBpsDevice",
    "blkio_device_read_iops": "throttleReadIOPSDevice",
    "blkio_device_write_iops": "throttleWriteIOPSDevice",
}
_KERNEL = "Your kernel does not support"
_DROPPED = {
    "blkio_weight": f"{_KERNEL} Block I/O weight or the cgroup is not mounted. Weight discarded.",
    "blkio_weight_device": (
        f"{_KERNEL} Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."
    ),
    **{
        f"blkio_device_{way}_{unit}": (
            f"{_KERNEL} {words} {way} limit or the cgroup is not mounted. "
            f"Block I/O {unit.upper().replace('OPS', 'Ops')} {way} limit discarded."
        )
        for way in ("read", "write")
        for unit, words in (("bps", "BPS Block I/O"), ("iops", "IOPS Block"))
    },
    "oom_kill_disable": f"{_KERNEL} OomKillDisable. OomKillDisable discarded.",
}
"""What docker says of limits that this kernel has not; see `Machine.limited`."""


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
    _check_cpu(host, machine)
    return warnings + _check_rare(host, machine)


def _check_rare(host: HostConfig, machine: Machine) -> list[str]:
    """Check what not every kernel has; docker drops that with a warning, and so do we."""
    warnings = [text for name, text in _DROPPED.items() if getattr(host, name) and not machine.limited(name)]
    if host.memory_swappiness is not None and not machine.limited("memory_swappiness"):
        warnings.append(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
            "Memory swappiness discarded."
        )
    if host.memory_swappiness is not None and not 0 <= host.memory_swappiness <= 100:
        value = host.memory_swappiness
        raise InvalidArgument(f"Invalid value: {value}, valid memory swappiness range is 0-100")
    if host.oom_kill_disable and not host.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
            "system running out of resources."
        )
    if host.blkio_weight and not _LEAST_WEIGHT <= host.blkio_weight <= _LARGEST_WEIGHT:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for name in _THROTTLES:
        for rate in getattr(host, name):
            devices.block_number(rate.path)
    if (host.cpu_realtime_period or host.cpu_realtime_runtime) and not machine.limited("cpu_realtime"):
        raise InvalidArgument(
            "Your kernel does not support CPU real-time scheduler",
            hint="it needs cgroup v1 and CONFIG_RT_GROUP_SCHED",
        )
    if host.cpu_realtime_runtime > (host.cpu_realtime_period or 1_000_000):
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")
    return warnings


def _check_cpu(host: HostConfig, machine: Machine) -> None:
    if host.nano_cpus and (host.cpu_quota or host.cpu_period):
        other = "CPU Period" if host.cpu_period else "CPU Quota"
        raise InvalidArgument(f"Conflicting options: Nano CPUs and {other} cannot both be set.")
    if host.cpu_shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer")
    if host.cpu_period and not 1_000 <= host.cpu_period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1_000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.memory_reservation and host.memory and host.memory_reservation > host.memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if 0 < host.memory_reservation < _LEAST_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    for text, flag in ((host.cpuset_cpus, "cpus"), (host.cpuset_mems, "memory nodes")):
        numbers = _cpuset(text, flag)
        if flag == "cpus" and any(number >= machine.cpus for number in numbers):
            there = f"0-{machine.cpus - 1}" if machine.cpus > 1 else "0"
            raise InvalidArgument(f"Requested CPUs are not available - requested {text}, available: {there}")


def _cpuset(text: str, what: str) -> set[int]:
    """Return the numbers of `0-3,5`; raise InvalidArgument for what is no list."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()) or len(last) > 5:
            raise InvalidArgument(f"Invalid value {text} for cpuset {what}")
        if int(first) > int(last):
            raise InvalidArgument(f"Invalid value {text} for cpuset {what}")
        numbers |= set(range(int(first), int(last) + 1))
    return numbers


def wanted(host: HostConfig) -> list[tuple[str, str]]:
    """Return docker's flag of every limit that is set, and the controller that keeps it."""
    found = [
        (flag, controller)
        for controller, flags in _CONTROLLERS.items()
        for flag, field in flags
        if getattr(host, field)
    ]
    return [*found, *([("--pids-limit", "pids")] if host.pids_limit > 0 else [])]


def resources(host: HostConfig, machine: Machine) -> dict[str, Any]:
    """Return `linux.resources` without its device rules."""
    found: dict[str, Any] = {}
    memory = _memory(host, machine)
    if memory:
        found["memory"] = memory
    block = _block_io(host, machine)
    if block:
        found["blockIO"] = block
    cpu: dict[str, Any] = {
        "shares": host.cpu_shares,
        "period": host.cpu_period,
        "quota": host.cpu_quota,
        "cpus": host.cpuset_cpus,
        "mems": host.cpuset_mems,
        "realtimePeriod": host.cpu_realtime_period,
        "realtimeRuntime": host.cpu_realtime_runtime,
    }
    if host.nano_cpus > 0:
        cpu |= {"period": _PERIOD, "quota": host.nano_cpus * _PERIOD // _BILLION}
    cpu = {key: value for key, value in cpu.items() if value}
    if cpu:
        found["cpu"] = cpu
    if host.pids_limit > 0:
        found["pids"] = {"limit": host.pids_limit}
    return found


def _memory(host: HostConfig, machine: Machine) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if host.memory > 0:
        memory["limit"] = host.memory
        if machine.swap_limit:
            # Not said: as much swap as memory (docker's default).
            memory["swap"] = host.memory_swap or host.memory * 2
    if host.memory_reservation > 0:
        memory["reservation"] = host.memory_reservation
    if host.memory_swappiness is not None and machine.limited("memory_swappiness"):
        memory["swappiness"] = host.memory_swappiness
    if host.oom_kill_disable and machine.limited("oom_kill_disable"):
        memory["disableOOMKiller"] = True
    return memory


def _block_io(host: HostConfig, machine: Machine) -> dict[str, Any]:
    """Return `linux.resources.blockIO`, as far as this kernel has it."""
    found: dict[str, Any] = {}
    if host.blkio_weight and machine.limited("blkio_weight"):
        found["weight"] = host.blkio_weight
    for name, member in _THROTTLES.items():
        rates = getattr(host, name)
        if rates and machine.limited(name):
            unit = "weight" if name == "blkio_weight_device" else "rate"
            numbers = ((devices.block_number(rate.path), rate.rate) for rate in rates)
            found[member] = [{"major": major, "minor": minor, unit: n} for (major, minor), n in numbers]
    return found


def rlimits(wanted: Sequence[Ulimit]) -> list[dict[str, Any]]:
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


def lowered(host: HostConfig) -> list[str]:
    """Return a warning for each of these that is not set as asked, because this process may not."""
    said = []
    for asked, found in zip(host.ulimits, rlimits(host.ulimits), strict=True):
        if found["hard"] < (asked.hard if asked.hard >= 0 else _UNLIMITED):
            said.append(f"--ulimit {asked.name} is {found['hard']}, the most that may be set here")
    if (score := oom_score(host.oom_score_adj)) not in {None, host.oom_score_adj}:
        said.append(f"--oom-score-adj is {score}, the least that may be set here")
    return said


def oom_score(wanted: int) -> int | None:
    """Return `process.oomScoreAdj`, not below our own (only CAP_SYS_RESOURCE may go there); None for 0."""
    if not wanted:
        return None
    with open("/proc/self/oom_score_adj", "rb") as stream:
        own = int(stream.read())
    return max(wanted, own)
