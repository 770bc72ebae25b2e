"""The keeper's one loop: file descriptors and who is called when they are ready."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR


class Loop:
    """Calls back when descriptors are ready; `stop` ends `run`.

    A descriptor that nobody wants to hear of is forgotten, not watched for nothing: epoll reports a
    hang-up even then, and the loop would spin.
    """

    def __init__(self) -> None:
        """Start with nothing to watch."""
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[int], object]]] = {}
        self._running = True
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = 0

    def watch(self, descriptor: int, events: int, callback: Callable[[int], object]) -> None:
        """Call `callback(events)` when it is ready; 0 events forgets it."""
        known = self._watched.get(descriptor)
        if not events:
            if known:
                del self._watched[descriptor]
                self._epoll.unregister(descriptor)
            return
        if known is None:
            self._epoll.register(descriptor, events)
        elif known[0] != events:
            self._epoll.modify(descriptor, events)
        self._watched[descriptor] = (events, callback)

    def forget(self, descriptor: int) -> None:
        """Stop watching; call it before the descriptor is closed."""
        self.watch(descriptor, 0, _nobody)

    def stop(self) -> None:
        """End `run` after the callbacks that are due."""
        self._running = False

    def run(self) -> None:
        """Wait and call back until stopped."""
        while self._running:
            ready = [(d, e, self._watched.get(d)) for d, e in self._epoll.poll(self._patience())]
            for descriptor, events, entry in ready:
                # What an earlier callback of this round has closed may be somebody else's number by now.
                if entry and self._watched.get(descriptor) is entry:
                    entry[1](events)
            if self._timers:
                self._ring()

    def later(self, seconds: float, callback: Callable[[], None]) -> int:
        """Call back once after a time; return a number for `cancel`."""
        self._numbers += 1
        self._timers[self._numbers] = (time.monotonic() + seconds, callback)
        return self._numbers

    def cancel(self, number: int) -> bool:
        """Forget what was to be called later; tell whether it was still to come."""
        return self._timers.pop(number, None) is not None

    def _patience(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, min(moment for moment, _callback in self._timers.values()) - time.monotonic())

    def _ring(self) -> None:
        now = time.monotonic()
        for number, (moment, callback) in tuple(self._timers.items()):
            # An earlier callback of this round may have cancelled a later one.
            if moment <= now and self.cancel(number):
                callback()


def _nobody(_events: int) -> None:
    """Stand where nobody is called."""
