"""Facts on disk: what is true of a living container, and how it ended.

Both files hold the members of `spec.state.ContainerState` and, to tell a living process from an old
number: `pid_start` (of the container's process), `keeper` and `keeper_start` (of this one) and
`boot`. `<live>/state` exists while the process lives and its keeper knows; the exit record
(`state_path`) is written before it goes.
"""

from __future__ import annotations

import os

from tiffin.spec import jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.spec.state import ContainerState

STATE = "state"


def start_time(pid: int) -> int:
    """Return when a process started, in ticks since boot; 0 if there is none (proc(5), stat, field 22)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            line = stream.read()
    except OSError:
        return 0
    # The name before it may hold spaces and brackets; what follows the last bracket is field 3 on.
    return int(line[line.rindex(b")") + 2 :].split()[19])


def boot_id() -> str:
    """Return the kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as stream:
        return stream.read().strip().decode()


class Facts:
    """Writes both files of one container."""

    def __init__(self, live: str, state_path: str) -> None:
        """Know who and when we are."""
        self._live = f"{live}/{STATE}"
        self._final = state_path
        self._keeper: dict[str, Any] = {
            "keeper": os.getpid(),
            "keeper_start": start_time(os.getpid()),
            "boot": boot_id(),
        }
        self._pid_start = 0

    def running(self, state: ContainerState) -> None:
        """Say that the process runs."""
        self._pid_start = start_time(state.pid)
        atomic.write_file(self._live, self._document(state))

    def ended(self, state: ContainerState) -> None:
        """Record the end; from then on nothing says that it runs."""
        atomic.write_file(self._final, self._document(state))
        atomic.remove_file(self._live)

    def _document(self, state: ContainerState) -> bytes:
        own = {"pid_start": self._pid_start, **self._keeper}
        return jsontext.dumps_bytes({**state.to_json(), **own})
