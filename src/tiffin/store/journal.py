"""Appending to the log of events: by commands (see `store.events`) and by keepers, which import little."""

from __future__ import annotations

import posix
import time

from tiffin.spec import jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ROTATE = 8 << 20
"""A log this long becomes `events.1`; together they are what can be asked for."""
_LONGEST = 16 << 10
"""Attributes (labels, mostly) that would make a longer record are left out: one write must hold it."""
_FLAGS = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW


def append(path: str, kind: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
    """Record that something happened. A full disk loses the record, never the deed."""
    record: dict[str, Any] = {"t": time.time_ns(), "type": kind, "action": action, "id": actor}
    line = jsontext.dumps_bytes(record | {"attributes": dict(attributes)})
    if len(line) > _LONGEST:
        line = jsontext.dumps_bytes(record | {"attributes": {}})
    try:
        descriptor = posix.open(path, _FLAGS, 0o600)
        try:
            # One write with O_APPEND: records of two writers follow each other, never mix. A line
            # that a full disk cut short is ended by the next one's leading newline.
            posix.write(descriptor, b"\n" + line + b"\n")
            if posix.fstat(descriptor).st_size > _ROTATE:
                _rotate(path)
        finally:
            posix.close(descriptor)
    except OSError:
        return


def _rotate(path: str) -> None:
    with atomic.Lock(f"{path}.lock"):
        if posix.stat(path).st_size > _ROTATE:
            atomic.replace(path, f"{path}.1")
