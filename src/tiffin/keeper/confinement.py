"""What a process may do, read back from the kernel: a runtime that has not seen to it is not believed."""

from __future__ import annotations

from tiffin.keeper import kernel
from tiffin.runtime import capabilities
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_FORKED = 0x40  # PF_FORKNOEXEC of linux/sched.h
_SETS = ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")


class Confinement(Value):
    """What was asked of the runtime. `granted` is a mask of capabilities."""

    filtered: bool
    granted: int
    no_new_privileges: bool

    @staticmethod
    def of(process: Mapping[str, Any], *, filtered: bool) -> Confinement:
        """Return what an OCI `process` asks for; `filtered` says that there is a seccomp filter."""
        return Confinement(
            filtered=filtered,
            granted=capabilities.to_mask(process["capabilities"]["bounding"]),
            no_new_privileges=process.get("noNewPrivileges") is True,
        )

    def of_exec(self, process: Mapping[str, Any]) -> Confinement:
        """Return the same for one more process, which has the container's capabilities if it names none."""
        named = process.get("capabilities")
        bound = named.get("bounding") if isinstance(named, dict) else None
        known = [name for name in bound if name in capabilities.ALL] if isinstance(bound, list) else None
        return self.replace(
            granted=self.granted if known is None else capabilities.to_mask(known),
            no_new_privileges=process.get("noNewPrivileges") is True,
        )

    def lacks(self, pid: int, *, created: bool = False) -> str:
        """Return what of it a process does without, "" if nothing; of one that is gone nothing is known.

        Of a container that is only `created` the filter may come last, where no privilege is needed for it.
        """
        try:
            found = _status(pid)
        except OSError:  # it has ended, and was collected
            return ""
        if any(int(found[name], 16) & ~self.granted for name in _SETS):
            return "the dropped capabilities"
        if self.no_new_privileges and found["NoNewPrivs"] != "1":
            return "no-new-privileges"
        late = created and self.no_new_privileges
        return "the seccomp filter" if self.filtered and not late and not _filtered(found) else ""


def _status(pid: int | str) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as stream:
        text = stream.read()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _filtered(found: dict[str, str]) -> bool:
    """Tell whether a process has a filter that it did not inherit from here."""
    if found["Seccomp"] != "2":
        return False
    if "Seccomp_filters" not in found or not kernel.is_filtered():
        return True
    return int(found["Seccomp_filters"]) > int(_status("self")["Seccomp_filters"])


def has_begun(pid: int) -> bool:
    """Tell whether a runtime's child has become the container's program, or ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return True
    return not int(fields[6]) & _FORKED or fields[0] in {b"Z", b"X"}
