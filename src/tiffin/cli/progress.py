"""Showing a pull, push or load: docker's lines in a log, bars on a terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from tiffin.engine.progress import Progress

# Statuses that come many times a second; a log has only what changes.
_MOVING = frozenset({"Downloading", "Extracting", "Pushing", "Loading layer", "Waiting"})


class Transfer:
    """What a pull, push or load says while it works. Call it with each piece of progress, then `close`."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        """`stream` gets lines, or bars if it is a terminal; nothing if `quiet`."""
        self._stream = stream
        self._quiet = quiet
        self._bars = None if quiet or not stream.isatty() else _Bars(stream)

    def __call__(self, progress: Progress) -> None:
        """Show one piece (from any thread)."""
        if self._quiet:
            return
        if self._bars is not None and self._bars.show(progress):
            return
        if progress.status in _MOVING:
            return
        head = f"{progress.id}: " if progress.id else ""
        line = f"{head}{progress.status}\n"
        if self._bars is not None:
            self._bars.print(line)
            return
        self._stream.write(line)
        self._stream.flush()

    def close(self) -> None:
        """Leave the terminal as it is now."""
        if self._bars is not None:
            self._bars.close()
            self._bars = None


class _Bars:
    """One line for each layer, with a bar while bytes move (rich, loaded only here)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._display: Any = None
        self._tasks: dict[str, Any] = {}

    def _open(self) -> Any:
        if self._display is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, TextColumn
            from rich.progress import Progress as Display

            self._display = Display(
                TextColumn("{task.fields[layer]}: {task.description:<18}"),
                BarColumn(bar_width=30),
                DownloadColumn(),
                console=Console(file=self._stream),
            )
            self._display.start()
        return self._display

    def show(self, progress: Progress) -> bool:
        """Show progress of a layer; False for a line about the whole."""
        if not progress.id or progress.status.startswith("Pulling from"):
            return False
        if progress.total <= 0 and progress.id not in self._tasks:
            return True  # nothing to draw yet
        display = self._open()
        if progress.id not in self._tasks:
            self._tasks[progress.id] = display.add_task(
                progress.status, layer=progress.id, total=max(progress.total, 1)
            )
        done = progress.total if progress.status not in _MOVING else progress.current
        display.update(
            self._tasks[progress.id],
            description=progress.status,
            completed=done,
            total=max(progress.total, 1),
        )
        return True

    def print(self, line: str) -> None:
        """Print a line about the whole below the bars, which are finished by then."""
        self.close()
        self._tasks.clear()
        self._stream.write(line)
        self._stream.flush()

    def close(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None
