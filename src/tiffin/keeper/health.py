"""Health checks: a probe is run again and again in a container, and what it says becomes a word.

The word (starting, healthy, unhealthy) stands among the facts; it and the last five results are in a
file of their own, in docker's shape of `State.Health`.
"""

from __future__ import annotations

import time

from tiffin.spec import clock, jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.loop import Loop

    Settings = tuple[tuple[str, ...], int, int, int, int, int]
    """argv, then interval, timeout, retries, start period, start interval (ns; 0 is docker's default)."""

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_SECOND = 1_000_000_000
_DEFAULTS = (30 * _SECOND, 30 * _SECOND, 3, 0, 5 * _SECOND)
_KEPT = 5
_OUTPUT = 4096
_TIMED_OUT = -1
_UNITS = ((3600, "h"), (60, "m"), (1, "s"))


class Output:
    """What a probe prints: the beginning is kept. It stands where a process's log does."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._data = b""
        self._cut = False

    def write(self, _stream: str, data: bytes) -> None:
        """Take what fits."""
        self._cut = self._cut or len(self._data) + len(data) > _OUTPUT
        self._data = (self._data + data)[:_OUTPUT]

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    @property
    def text(self) -> str:
        """All of it, with an ellipsis where there was more."""
        return self._data.decode(errors="replace") + ("..." if self._cut else "")


class Health:
    """Probes one container while it runs.

    `probe(output, done)` starts one; `done(exit_code, text)` is called at its end, and what `probe`
    returns ends it early. `changed(word)` is called with each new word.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        path: str,
        *,
        probe: Callable[[Output, Callable[[int, str], None]], Callable[[], None]],
        changed: Callable[[str], None],
    ) -> None:
        """Run nothing yet; the results are kept in the file `path`."""
        self._loop = loop
        given = settings[1:]
        self._interval, self._timeout, self._retries, self._period, self._early = (
            value or default for value, default in zip(given, _DEFAULTS, strict=True)
        )
        self._path = path
        self._probe, self._changed = probe, changed
        self._log: list[dict[str, Any]] = []
        self._streak = 0
        self._word = STARTING
        self._began = time.monotonic_ns()
        self._timer = 0
        self._round = 0
        """Number of the probe that counts: a late word of an earlier one is nobody's."""

    def begin(self) -> None:
        """Forget earlier results and plan the first probe."""
        self._log.clear()
        self._streak = 0
        self._word = STARTING
        self._began = time.monotonic_ns()
        self._keep()
        self.go_on()

    def go_on(self) -> None:
        """Plan the next probe."""
        early = self._word == STARTING and self._in_start_period(time.monotonic_ns())
        self._timer = self._loop.later((self._early if early else self._interval) / _SECOND, self._ask)

    def pause(self) -> None:
        """Ask no more; what is being asked counts no more."""
        self._loop.cancel(self._timer)
        self._round += 1

    def end(self) -> None:
        """The container has ended: nothing that does not run is healthy."""
        self.pause()
        self._word = UNHEALTHY
        self._keep()

    def _in_start_period(self, moment: int) -> bool:
        return moment - self._began < self._period

    def _ask(self) -> None:
        self._round += 1
        number, started, began = self._round, clock.now(), time.monotonic_ns()
        output = Output()

        def done(exit_code: int, text: str) -> None:
            if number == self._round:
                self._loop.cancel(self._timer)
                self._round += 1
                self._note(exit_code, text, started=started, began=began)

        def late() -> None:
            text = f"Health check exceeded timeout ({_go_duration(self._timeout)})"
            done(_TIMED_OUT, f"{text}: {output.text}" if output.text else text)
            stop()

        self._timer = self._loop.later(self._timeout / _SECOND, late)
        stop = self._probe(output, done)

    def _note(self, exit_code: int, text: str, *, started: str, began: int) -> None:
        result = {"Start": started, "End": clock.now(), "ExitCode": exit_code, "Output": text}
        self._log = [*self._log, result][-_KEPT:]
        word = self._word
        if exit_code == 0:
            self._streak, word = 0, HEALTHY
        elif word != STARTING or not self._in_start_period(began):
            self._streak += 1
            word = UNHEALTHY if self._streak >= self._retries else word
        new, self._word = word != self._word, word
        self._keep()
        if new:
            self._changed(word)
        self.go_on()

    def _keep(self) -> None:
        state = {"Status": self._word, "FailingStreak": self._streak, "Log": self._log}
        try:
            atomic.write_file(self._path, jsontext.dumps_bytes(state), 0o600)
        except OSError:
            return  # a full disk: the word still stands among the facts


def _go_duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it: `30s`, `1m0s`, `500ms`."""
    if nanoseconds < _SECOND:
        return f"{nanoseconds / 1_000_000:g}ms"
    left, text = nanoseconds / _SECOND, ""
    for seconds, unit in _UNITS:
        count = left // seconds
        if unit == "s":
            text += f"{left:g}s"
        elif count or text:
            text += f"{count:.0f}{unit}"
            left -= count * seconds
    return text
