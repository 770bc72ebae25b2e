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


class Facts:
    """Writes both files of one container."""

    def __init__(self, live: str, state_path: str) -> None:
        """Know where; `prepare` finds out who."""
        self._live = f"{live}/{STATE}"
        self._final = state_path
        self._keeper: dict[str, Any] = {}
        self._pid = self._pid_start = 0

    def prepare(self) -> None:
        """Find out who and when we are: to be done while the runtime works."""
        self._keeper = {
            "keeper": os.getpid(),
            "keeper_start": atomic.start_time(os.getpid()),
            "boot": atomic.boot_id(),
        }

    def running(self, state: ContainerState) -> None:
        """Say that the process runs."""
        if state.pid != self._pid:
            self._pid, self._pid_start = state.pid, atomic.start_time(state.pid) if state.pid else 0
        atomic.write_file(self._live, self._document(state))

    def ended(self, state: ContainerState) -> bool:
        """Record the end; from then on nothing says that it runs. Return whether it is where it belongs.

        On a full disk it goes among the facts of the living instead (a file system in memory, usually):
        whoever looks next finds it there, with a keeper that has gone.
        """
        try:
            atomic.write_file(self._final, self._document(state))
        except OSError:
            try:
                atomic.write_file(self._live, self._document(state))
            except OSError:
                atomic.remove_file(self._final)  # of an earlier run: better nothing than wrong
            return False
        atomic.remove_file(self._live)
        return True

    def _document(self, state: ContainerState) -> bytes:
        own = {"pid_start": self._pid_start, **self._keeper}
        return jsontext.dumps_bytes({**state.to_json(), **own})
