"""The care of a container with a health check: it is probed, and ended when unhealthy if that is asked for.

`--on-unhealthy restart` and `kill` are tiffin's own.
"""

from __future__ import annotations

from tiffin.keeper.health import UNHEALTHY, Health

_KILL = 9
_AGAIN = 0.1
"""Seconds between the end of an unhealthy run and the next; its checks keep it from being often."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.keeper.health import Output
    from tiffin.keeper.loop import Loop
    from tiffin.keeper.request import StartRequest


class Care:
    """Watches one container's health over all its runs, and knows when it is to be started again."""

    def __init__(
        self,
        loop: Loop,
        request: StartRequest,
        *,
        probe: Callable[[Output, Callable[[int, str], None]], Callable[[], None]],
        kill: Callable[[int], None],
        changed: Callable[[str], None],
    ) -> None:
        """See `Health` for `probe`; `kill` sends a signal to the process, which may have ended."""
        self._loop, self._request, self._kill, self._told = loop, request, kill, changed
        self.health = Health(loop, request.health, request.health_path, probe=probe, changed=self._changed)
        self._timer = 0
        self._renewing = False

    def ended(self) -> float | None:
        """The process has ended: return how long to wait before the next start, None if that is not ours."""
        self.health.end()
        self._loop.cancel(self._timer)
        renewing, self._renewing = self._renewing, False
        return _AGAIN if renewing else None

    def _changed(self, word: str) -> None:
        self._told(word)
        if word != UNHEALTHY:
            return
        # A kill leaves the rest to the restart policy, a restart does not.
        if self._request.on_unhealthy == "kill":
            self._kill(_KILL)
        elif self._request.on_unhealthy == "restart" and not self._renewing:
            self._renewing = True
            self._kill(self._request.stop_signal)
            if self._request.stop_timeout >= 0:
                self._timer = self._loop.later(self._request.stop_timeout, lambda: self._kill(_KILL))
