"""Restart policies: whether a container that has ended is started again, and after how long."""

from __future__ import annotations

_FIRST = 0.1
_LONGEST = 60.0
_STEADY = 10.0
"""Seconds that a process must have run for the waiting to begin anew (docker's three numbers)."""


class Policy:
    """One container's policy: `no`, `on-failure`, `always` or `unless-stopped`.

    The last two differ only after a reboot: while there is a keeper, what the user stopped stays down
    under both.
    """

    def __init__(self, name: str, limit: int) -> None:
        """`limit` is how often on-failure tries again; 0 is without end."""
        self.name = name
        self.limit = limit
        self.count = 0
        self._pause = 0.0

    def again(self, exit_code: int, seconds: float) -> float | None:
        """Return how long to wait before the next start of what ran so many seconds; None for no more."""
        if self.name == "on-failure":
            if not exit_code or (self.limit and self.count >= self.limit):
                return None
        elif self.name not in {"always", "unless-stopped"}:
            return None
        if seconds >= _STEADY or not self._pause:
            self._pause = _FIRST
        else:
            self._pause = min(_LONGEST, self._pause * 2)
        self.count += 1
        return self._pause
