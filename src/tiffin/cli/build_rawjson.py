"""build --progress rawjson: BuildKit's status messages, one JSON object a line, for other programs."""

from __future__ import annotations

import threading
import time
from base64 import b64encode

from tiffin.build import events
from tiffin.cli.build_progress import Quiet
from tiffin.spec import clock, jsontext
from tiffin.spec import digest as digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from tiffin.build.roles import Built


class RawJson(Quiet):
    """Writes `vertexes` (steps), `logs` (what they print) and `warnings` as they come."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._lock = threading.Lock()
        self._vertexes: dict[int, dict[str, Any]] = {}

    def __call__(self, event: events.BuildEvent) -> None:
        """Write one event (from any thread)."""
        now = clock.from_ns(time.time_ns())
        with self._lock:
            if isinstance(event, events.StepStarted):
                stage = f"{event.stage} " if event.stage else ""
                name = f"[{stage}{event.number}/{event.total}] {event.text}"
                vertex = {"digest": digests.of(name.encode()), "name": name, "started": now}
                self._vertexes[event.number] = vertex
                self._say(vertexes=[vertex])
            elif isinstance(event, events.StepOutput):
                line = {"stream": event.stream, "data": b64encode(event.data).decode(), "timestamp": now}
                self._say(logs=[{"vertex": self._vertexes[event.number]["digest"], **line}])
            elif isinstance(event, events.StepDone):
                self._finish(event.number, now, cached=event.cached)
            elif isinstance(event, events.Warned):
                short = b64encode(event.message.encode()).decode()
                self._say(warnings=[{"level": 1, "short": short, "range": [{"start": {"line": event.line}}]}])

    def _finish(self, number: int, now: str, **more: Any) -> None:
        self._say(vertexes=[{**self._vertexes[number], "completed": now, **more}])

    def _say(self, **message: Any) -> None:
        self._stream.write(jsontext.dumps(message) + "\n")
        self._stream.flush()

    def finish(self, built: Built) -> None:
        """Write the image as the last vertex."""
        name = f"exporting to image {built.image_id}"
        now = clock.from_ns(time.time_ns())
        vertex = {"digest": digests.of(name.encode()), "name": name, "started": now, "completed": now}
        self._say(vertexes=[vertex])

    def failed(self, step: events.FailedStep) -> None:
        """Write that a step has failed, and how."""
        if step.number in self._vertexes:
            command = " ".join(step.argv)
            error = f'process "{command}" did not complete successfully: exit code: {step.exit_code}'
            self._finish(step.number, clock.from_ns(time.time_ns()), error=error)
