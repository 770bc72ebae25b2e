"""One lock for each build step that is being made, so that two builds do not make the same one twice."""

from __future__ import annotations

import contextlib
import time

from tiffin.errors import Conflict, Interrupted
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.store.layout import Layout

_PAUSE = 0.05


@contextlib.contextmanager
def hold(layout: Layout, key: str, stopped: Callable[[], bool]) -> Iterator[bool]:
    """Hold the lock of a step, by its key; yield whether another build had it and was waited for.

    Raises Interrupted if `stopped` says so while it waits.
    """
    lock = atomic.Lock(f"{layout.locks}/step-{key.rpartition(':')[2]}", blocking=False)
    waited = False
    while not _taken(lock):
        waited = True
        if stopped():
            raise Interrupted("stopped while another build makes the same step")
        time.sleep(_PAUSE)
    try:
        yield waited
    finally:
        lock.remove()
        lock.__exit__(None, None, None)


def _taken(lock: atomic.Lock) -> bool:
    try:
        lock.__enter__()
    except Conflict:
        return False
    return True
