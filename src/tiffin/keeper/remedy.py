"""What becomes of an unhealthy container: `--on-unhealthy restart` or `kill` (tiffin's own)."""

from __future__ import annotations

_KILL = 9
_AGAIN = 0.1
"""Seconds between the end of an unhealthy run and the next; its checks keep it from being often."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.keeper.loop import Loop
    from tiffin.keeper.request import StartRequest


class Remedy:
    """Ends an unhealthy process, and says whether it is to be started again."""

    def __init__(self, loop: Loop, request: StartRequest, kill: Callable[[int], None]) -> None:
        """`kill` sends a signal to the container's process, which may have ended."""
        self._loop, self._request, self._kill = loop, request, kill
        self._timer = 0
        self._renewing = False

    def treat(self) -> None:
        """Do what was asked for: a kill leaves the rest to the restart policy, a restart does not."""
        if self._request.on_unhealthy == "kill":
            self._kill(_KILL)
        elif self._request.on_unhealthy == "restart" and not self._renewing:
            self._renewing = True
            self._kill(self._request.stop_signal)
            if self._request.stop_timeout >= 0:
                self._timer = self._loop.later(self._request.stop_timeout, lambda: self._kill(_KILL))

    def ended(self) -> float | None:
        """The process has ended: return how long to wait before the next start, None if that is not ours."""
        self._loop.cancel(self._timer)
        renewing, self._renewing = self._renewing, False
        return _AGAIN if renewing else None
