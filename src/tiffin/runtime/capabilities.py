"""Capabilities: docker's default set, `--cap-add`, `--cap-drop`, and what this engine itself may grant."""

from __future__ import annotations

from tiffin.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order of their numbers (linux/capability.h).
ALL = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE"),
    *("CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER"),
    *("CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT"),
    *("CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME"),
    *("CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL"),
    *("CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM"),
    *("CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)  # fmt: skip

DEFAULT = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"),
    *("CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
)  # fmt: skip


def from_mask(mask: int) -> tuple[str, ...]:
    """Return the names of a mask as /proc/PID/status shows it; numbers without a name are left out."""
    return tuple(name for number, name in enumerate(ALL) if mask >> number & 1)


def to_mask(names: Sequence[str]) -> int:
    """Return the mask of some names."""
    return sum(1 << ALL.index(name) for name in set(names))


def granted(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool, available: Sequence[str]
) -> tuple[str, ...]:
    """Return what a container's root gets, in the order of the defaults, then of `add`.

    `available` is this process's bounding set: ALL and `--privileged` mean all of those (root itself
    lacks some in many sandboxes). Raises InvalidArgument for an unknown name and Unsupported for one
    that was asked for by name and isn't available.
    """
    adds, drops = _names(add, "CapAdd"), _names(drop, "CapDrop")
    if privileged:
        return tuple(available)
    if "ALL" in adds:
        return tuple(name for name in available if name not in drops)
    for name in adds:
        if name not in available:
            reason = "capability not supported by your kernel or not available in the current environment"
            message = f'invalid CapAdd: {reason}: "{name}"'
            raise Unsupported(message, hint="this engine's own process lacks it")
    if "ALL" in drops:
        return tuple(adds)
    kept = [name for name in DEFAULT if name not in drops and name in available]
    return tuple(kept + [name for name in adds if name not in kept and name not in drops])


def _names(words: Sequence[str], field: str) -> list[str]:
    """Return names as the kernel has them: upper case, with CAP_, each once."""
    found: list[str] = []
    for word in words:
        name = word.upper()
        if name != "ALL" and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != "ALL" and name not in ALL:
            message = f'invalid {field}: unknown capability: "{name}"'
            raise InvalidArgument(message, hint="`man 7 capabilities` lists them")
        if name not in found:
            found.append(name)
    return found
