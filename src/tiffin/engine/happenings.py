"""events: what happened, and what happens while somebody watches; woken by inotify, never by a clock."""

from __future__ import annotations

import os
import time

from tiffin.engine.filters import moment
from tiffin.engine.patience import ready
from tiffin.engine.watch import Watch
from tiffin.errors import InvalidArgument
from tiffin.store.events import matches, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.store.events import Event

_KEYS = (
    *("config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope"),
    *("secret", "service", "type", "volume"),
)
_CHUNK = 1 << 16
_DAY = 86400.0


def follow(engine: Engine, *, since: str, until: str, filters: Filters, gone: int = -1) -> Iterator[Event]:
    """Yield events from `since` (now, if it says nothing) to `until` (for ever, if it says nothing).

    Ends when the other side of the socket `gone` has left. Raises InvalidArgument for times and filters
    that cannot be read.
    """
    now = time.time_ns()
    for key in filters:
        if key not in _KEYS:
            raise InvalidArgument(f"invalid filter '{key}'", hint="known are " + ", ".join(_KEYS))
    first = moment(since, now) if since else now
    last = moment(until, now) if until else 1 << 62
    for event in _all(engine.store.layout.events, last, past=bool(since), gone=gone):
        if event.time > last:
            return
        if event.time >= first and matches(event, filters):
            yield event


def _all(path: str, last: int, *, past: bool, gone: int) -> Iterator[Event]:
    """Yield every event that is written until a moment, those of the past first if they are asked for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # The watch begins before anything is read: nothing can come in between.
        with Watch(path) as watch:
            if past and os.path.exists(f"{path}.1"):
                with open(f"{path}.1", "rb") as older:
                    yield from filter(None, map(parse, older))
            rest = b""
            os.lseek(descriptor, 0, os.SEEK_SET if past else os.SEEK_END)
            while True:
                while chunk := os.read(descriptor, _CHUNK):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from filter(None, map(parse, lines))
                if watch.replaced(descriptor):
                    os.close(descriptor)
                    descriptor, rest = os.open(path, os.O_RDONLY | os.O_CLOEXEC), b""
                    continue
                patience = (last - time.time_ns()) / 1e9
                if patience <= 0:
                    return
                if gone in ready(watch.fileno(), gone=gone, seconds=min(patience, _DAY)):
                    return
                watch.drain()
    finally:
        os.close(descriptor)
