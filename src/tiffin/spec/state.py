"""ContainerState: docker's words for where a container is in its life, and the moments in it."""

from __future__ import annotations

from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NEVER = "0001-01-01T00:00:00Z"
"""What docker shows for a moment that has not come."""


class ContainerState(Value):
    """`status` is created, running, paused, restarting, exited, removing or dead.

    `network` is what its keeper says while it runs: {"endpoints": {network id: {name, addresses, gateways,
    mac, interface}}, "ports": [[host address, host port, protocol, port]]}.
    """

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = NEVER
    finished_at: str = NEVER
    restart_count: int = 0
    stopped: bool = False  # by a user: no policy starts it when the host is back
    health: str = ""  # starting, healthy, unhealthy; "" is not asked for
    network: Mapping[str, Any] = EMPTY

    @property
    def running(self) -> bool:
        """Whether a keeper lives with it (a paused one counts, and one about to be started again)."""
        return self.status in {"running", "paused", "restarting"}

    @staticmethod
    def from_json(value: dict[str, Any]) -> ContainerState:
        """Read what `to_json` wrote."""
        fields = {f: value[f] for f in ContainerState._fields if f in value}
        return ContainerState(**fields)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, for the records on disk."""
        return {**self.as_dict(), "network": dict(self.network)}
