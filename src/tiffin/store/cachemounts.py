"""Cache mounts: folders that outlive the builds which use them (`RUN --mount=type=cache`).

Each has a folder `data`, a file of facts, and a lock beside it that its users hold: shared by those who
share it, alone by those who do not, and by whoever removes it.
"""

from __future__ import annotations

import contextlib
import os
import posix
import time

from tiffin.errors import Conflict, Corrupt, Interrupted
from tiffin.spec import jsontext
from tiffin.spec.value import Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAUSE = 0.05
_INSTANCES = 1000


class CacheMount(Value):
    """One cache: `name` is its `id` in Dockerfiles; moments are nanoseconds since 1970."""

    key: str
    name: str
    size: int
    created: int
    last_used: int


class CacheMounts:
    """The caches of one store."""

    def __init__(self, folder: str) -> None:
        """Keep them in that folder, which is made by the first."""
        self._folder = folder

    @contextlib.contextmanager
    def hold(
        self,
        key: str,
        name: str,
        *,
        sharing: str,
        fill: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> Iterator[str]:
        """Hold a cache and yield its folder; `fill` makes a new one ready.

        `sharing` is shared, locked (waits until nobody else has it) or private (takes another folder
        where somebody has the first). Raises Interrupted if `stopped` says so while it waits.
        """
        for key_now, lock in self._candidates(key, sharing):
            with contextlib.ExitStack() as stack:
                try:
                    self._take(lock, stopped, stack, wait=sharing != "private")
                except Conflict:
                    continue
                yield self._ready(key_now, name, fill)
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._facts(key_now))
                return
        message = f"cache mount {name}: {_INSTANCES} builds use it at once"
        raise Conflict(message)

    def _candidates(self, key: str, sharing: str) -> Iterator[tuple[str, atomic.Lock]]:
        for number in range(_INSTANCES if sharing == "private" else 1):
            this = f"{key}-{number}" if number else key
            yield this, self._lock(this, shared=sharing == "shared")

    def _lock(self, key: str, *, shared: bool = False) -> atomic.Lock:
        return atomic.Lock(f"{self._folder}/{key}.lock", blocking=False, shared=shared)

    @staticmethod
    def _take(
        lock: atomic.Lock, stopped: Callable[[], bool], stack: contextlib.ExitStack, *, wait: bool
    ) -> None:
        while True:
            if stopped():
                raise Interrupted("stopped while waiting for a cache mount")
            try:
                stack.enter_context(lock)
            except Conflict:
                if not wait:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _facts(self, key: str) -> str:
        return f"{self._folder}/{key}/facts"

    def _ready(self, key: str, name: str, fill: Callable[[str], None]) -> str:
        """Return the folder, made by whoever comes first."""
        place = f"{self._folder}/{key}"
        with atomic.Lock(f"{place}.making"):
            if not os.path.isdir(place):
                draft = atomic.temporary_name(place)
                try:
                    os.makedirs(f"{draft}/data", 0o755)
                    fill(f"{draft}/data")
                    facts = {"name": name, "created": time.time_ns()}
                    atomic.write_file(f"{draft}/facts", jsontext.dumps_bytes(facts))
                    atomic.replace(draft, place)
                except BaseException:
                    atomic.delete_tree(draft)
                    raise
        return f"{place}/data"

    def list(self) -> tuple[CacheMount, ...]:
        """Return every cache, the longest unused first."""
        try:
            names = posix.listdir(self._folder)
        except FileNotFoundError:
            return ()
        found = [self._read(key) for key in names if "." not in key]
        return tuple(sorted((c for c in found if c is not None), key=lambda cache: cache.last_used))

    def _read(self, key: str) -> CacheMount | None:
        try:
            with open(self._facts(key), "rb") as stream:
                facts = jsontext.load_object(stream.read())
            used = posix.stat(self._facts(key)).st_mtime_ns
        except (FileNotFoundError, Corrupt):
            return None
        return CacheMount(
            key=key,
            name=str(facts.get("name", "")),
            size=atomic.tree_size(f"{self._folder}/{key}/data"),
            created=int(facts.get("created", 0)),
            last_used=used,
        )

    def remove(self, key: str, last_used: int) -> bool:
        """Remove a cache unless it is used, or was after that moment (ns); tell whether it went."""
        try:
            with self._lock(key) as lock:
                there = self._read(key)
                if there is None or there.last_used > last_used:
                    return False
                aside = atomic.temporary_name(f"{self._folder}/{key}")
                atomic.replace(f"{self._folder}/{key}", aside)
                lock.remove()
                atomic.remove_file(f"{self._folder}/{key}.making")
        except Conflict:
            return False
        atomic.delete_tree(aside)
        return True
