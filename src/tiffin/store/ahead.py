"""The disk begins to write while an image is still coming, so that the sync before "done" has little left.

What promises anything is that last sync; this only makes it short. Without it the disk has nothing to do
while bytes come, and nobody else anything while they are synced: a tenth to a fifth of a pull's time.
"""

from __future__ import annotations

import threading

from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_PAUSE_SECONDS = 0.05
"""Between two syncs. What is brought faster than this needs none ahead."""


class SyncAhead:
    """Syncs a file system again and again for the length of a block, in a thread.

    A write that failed on the disk is reported to one sync only: where that was ours, leaving the block
    raises it (StorageFull and the like).
    """

    def __init__(self, path: str, *, wanted: bool) -> None:
        """Prepare for the file system that `path` is on; unless `wanted` the block is left alone."""
        self._path = path
        self._wanted = wanted
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tiffin-sync", daemon=True)
        self._error: OSError | None = None

    def _run(self) -> None:
        try:
            while not self._ending.wait(_PAUSE_SECONDS):
                atomic.syncfs(self._path)
        except OSError as error:
            self._error = error

    def __enter__(self) -> Self:
        """Begin."""
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End, when a sync under way has."""
        if not self._wanted:
            return
        self._ending.set()
        self._thread.join()
        if self._error and kind is None:
            raise atomic.storage_error(self._error, "sync") from self._error
