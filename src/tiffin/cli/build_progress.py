"""Showing a build: one line a step that says what it cost and why it ran; output of RUN as it comes."""

from __future__ import annotations

import threading
import time

from tiffin.build import events
from tiffin.cli import format as formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TextIO

    from tiffin.build.roles import Built

_COLUMN = 52


def display(stream: TextIO, *, kind: str, tags: Sequence[str]) -> Quiet | Lines:
    """Return what shows a build: `auto`, `plain`, `tty`, `rawjson` or `quiet`."""
    if kind == "quiet":
        return Quiet()
    if kind == "rawjson":
        from tiffin.cli.build_rawjson import RawJson

        return RawJson(stream)
    if kind == "tty" or (kind == "auto" and stream.isatty()):
        return Live(stream, tags)
    return Lines(stream, tags)


class Quiet:
    """Shows nothing."""

    streams = False
    """Whether what a RUN prints was shown already."""

    def __call__(self, event: events.BuildEvent) -> None:
        """Ignore it."""

    def finish(self, built: Built) -> None:
        """Say nothing."""

    def failed(self, step: events.FailedStep) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """Readable lines, for a log: a step when it is over, before it what it printed."""

    streams = True

    def __init__(self, stream: TextIO, tags: Sequence[str]) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._tags = tags
        self._lock = threading.Lock()
        self._started: dict[int, events.StepStarted] = {}
        self._partial: dict[tuple[int, int], bytes] = {}
        self._announced: set[int] = set()
        self._stages = 0
        self._new = 0
        self._began = time.monotonic()

    def __call__(self, event: events.BuildEvent) -> None:
        """Show one event (from any thread)."""
        with self._lock:
            if isinstance(event, events.PlanMade):
                self._stages = event.stages
            elif isinstance(event, events.StepStarted):
                self.started(event)
            elif isinstance(event, events.StepOutput):
                self.output(event)
            elif isinstance(event, events.StepDone):
                self.done(event)
            elif isinstance(event, events.Warned):
                where = f" (line {event.line})" if event.line else ""
                self.say(f"warning: {event.message}{where}")

    def say(self, line: str) -> None:
        """Write one line."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def started(self, event: events.StepStarted) -> None:
        """Remember what the step is."""
        self._started[event.number] = event

    def output(self, event: events.StepOutput) -> None:
        """Write whole lines of what a step prints, with its number."""
        if event.number not in self._announced and event.number in self._started:
            self._announced.add(event.number)
            self.say(self.title(self._started[event.number]))
        key = (event.number, event.stream)
        *lines, rest = (self._partial.pop(key, b"") + event.data).split(b"\n")
        for line in lines:
            self.say(f"{event.number:>4} | {printable(line)}")
        if rest:
            self._partial[key] = rest

    def done(self, event: events.StepDone) -> None:
        """Write the step's line."""
        for stream in (1, 2):
            rest = self._partial.pop((event.number, stream), b"")
            if rest:
                self.say(f"{event.number:>4} | {printable(rest)}")
        begun = self._started.pop(event.number, None)
        if begun is None:
            return
        self._new += event.layer and not event.cached
        self.say(f"{self.title(begun):<{_COLUMN}} {cost(event)}".rstrip())

    def title(self, event: events.StepStarted) -> str:
        """Return ` 4/6 RUN pip install`, cut to the column where the cost begins; and its stage."""
        stage = f"[{event.stage}] " if event.stage and self._stages > 1 else ""
        trigger = "ONBUILD " if event.trigger else ""
        return formats.cut(f"{event.number:>2}/{event.total} {stage}{trigger}{event.text}", _COLUMN)

    def failed(self, step: events.FailedStep) -> None:
        """Write the line of the step that ended the build."""
        begun = self._started.pop(step.number, None)
        if begun is not None:
            self.say(f"{self.title(begun):<{_COLUMN}} failed, exit {step.exit_code}")

    def finish(self, built: Built) -> None:
        """Write what came out."""
        name = ", ".join(self._tags) if self._tags else "image"
        count = len(built.layers)
        layers = f"{count} {'layer' if count == 1 else 'layers'}, {self._new} new"
        self.say(f"{name}  {built.image_id[:19]}…  {layers}, {time.monotonic() - self._began:.1f}s")

    def close(self) -> None:
        """Leave nothing half written."""


class Live(Lines):
    """The same lines on a terminal, and below them what is being done now (rich, loaded only here)."""

    streams = False

    def __init__(self, stream: TextIO, tags: Sequence[str]) -> None:
        """Write to a terminal."""
        super().__init__(stream, tags)
        from rich.console import Console
        from rich.live import Live as Display

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._display: Any = Display(console=self._console, transient=True, auto_refresh=False)
        self._display.start()
        self._last: dict[int, str] = {}

    def say(self, line: str) -> None:
        """Write one line above the moving ones."""
        self._console.print(line)

    def started(self, event: events.StepStarted) -> None:
        """Show the step as running."""
        super().started(event)
        self._refresh()

    def output(self, event: events.StepOutput) -> None:
        """Show the newest line of what the step prints."""
        lines = [line for line in event.data.split(b"\n") if line.strip()]
        if lines:
            self._last[event.number] = printable(lines[-1])
            self._refresh()

    def done(self, event: events.StepDone) -> None:
        """Write the step's line and forget what moved."""
        self._last.pop(event.number, None)
        super().done(event)
        self._refresh()

    def _refresh(self) -> None:
        from rich.text import Text

        width = max(20, self._console.width - 1)
        lines = []
        for number, begun in sorted(self._started.items()):
            lines.append(f"{self.title(begun)} ..."[:width])
            if number in self._last:
                lines.append(f"     | {self._last[number]}"[:width])
        self._display.update(Text("\n".join(lines)), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        self._display.stop()


def cost(event: events.StepDone) -> str:
    """Return `cached`, or what the step took, what it added, and why it was not cached."""
    if event.cached:
        return "cached"
    if not event.layer and not event.reason:
        return ""  # it only says something about the image
    size = spaced(event.size) if event.layer else ""
    return f"{event.seconds:>5.1f}s {size:>8}  {event.reason}".rstrip()


def spaced(count: int) -> str:
    """Return bytes with a space before the unit: `4.1 kB`."""
    text = formats.size(count)
    digits = text.rstrip("kMGTPEZYB")
    return f"{digits} {text[len(digits) :]}"


def printable(line: bytes) -> str:
    """Return a line of output without what would move the cursor: a terminal is not the program's here."""
    text = line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
    return "".join(c if c.isprintable() or c == "\t" else "" for c in text)
