"""Who holds which layers and blobs, and what would be free if somebody let go: gc's rules, counted.

One look at the rows, then arithmetic: `release` takes a holder away and says what nobody holds any more, so
that a list of what is to go adds up to what a sweep then frees.
"""

from __future__ import annotations

from tiffin.store import gc, indexes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.store.store import Store

IMAGE, CONTAINER, STEP, LEASE = "image", "container", "step", "lease"


class Usage:
    """The holders of a store at one moment: images and containers by id, build steps by key, leases."""

    def __init__(self, store: Store) -> None:
        """Look."""
        self._sizes: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._held: dict[tuple[str, str], frozenset[str]] = {}
        self._closed: dict[str, frozenset[str]] = {}
        self._parents: dict[str, tuple[str, str]] = {}
        self._compressed: dict[str, list[str]] = {}
        known = gc.image_blobs(store, {})
        with store.database.transaction():
            self._look(store, gc.image_blobs(store, known))

    def _look(self, store: Store, blobs: dict[str, set[str]]) -> None:
        query = store.database.query
        held, oldest = store.leases.living()
        for chain_id, parent, diff_id, size, created in query(
            "SELECT chain_id, parent, diff_id, size, created FROM layers"
        ):
            self._parents[chain_id] = parent, diff_id
            self._sizes[chain_id] = size + indexes.size(store, chain_id)
            if created >= oldest:
                held.add(chain_id)
        for diff_id, digest in query("SELECT diff_id, digest FROM compressed"):
            self._compressed.setdefault(diff_id, []).append(digest)
        # A built layer's own digest is no blob: what has a row of this table has a file.
        for digest, size, created in query("SELECT digest, size, created FROM blobs"):
            self._sizes[digest] = size
            if created >= oldest:
                held.add(digest)
        for image_id, layers, manifest, top in query("SELECT id, layers, manifest, top FROM images"):
            self._hold(IMAGE, image_id, {image_id, *layers.split("\n"), *blobs[manifest], *blobs[top]})
        for container_id, layers in gc.container_layers(store):
            self._hold(CONTAINER, container_id, layers)
        for key, result in query("SELECT key, result FROM steps"):
            self._hold(STEP, key, gc.DIGEST.findall(result))
        self._hold(LEASE, "", held)

    def _hold(self, kind: str, name: str, keys: Iterable[str]) -> None:
        found: set[str] = set()
        for key in keys:
            if key in self._parents:
                found |= self._closure(key)
            elif key in self._sizes:
                found.add(key)
        self._held[kind, name] = frozenset(found)
        for key in found:
            self._counts[key] = self._counts.get(key, 0) + 1

    def _closure(self, chain_id: str) -> frozenset[str]:
        """Return a layer, those below it, and their compressed forms that are here."""
        known = self._closed.get(chain_id)
        if known is None:
            found, here = set(), chain_id
            while here in self._parents and here not in found:
                parent, diff_id = self._parents[here]
                found.add(here)
                found.update(d for d in self._compressed.get(diff_id, ()) if d in self._sizes)
                here = parent
            known = self._closed[chain_id] = frozenset(found)
        return known

    def release(self, kind: str, name: str) -> int:
        """Take a holder away; return the bytes of what nobody holds any more (0 for one not known)."""
        freed = 0
        for key in self._held.pop((kind, name), ()):
            self._counts[key] -= 1
            if not self._counts[key]:
                freed += self._sizes[key]
        return freed

    def total(self, kind: str, name: str) -> int:
        """Return the bytes that one holder holds, alone or with others."""
        return sum(self._sizes[key] for key in self._held.get((kind, name), ()))

    def unique(self, kind: str, name: str) -> int:
        """Return the bytes that only this holder holds."""
        held = self._held.get((kind, name), ())
        return sum(self._sizes[key] for key in held if self._counts[key] == 1)

    def held_by(self, *kinds: str, beside: tuple[str, ...] = ()) -> int:
        """Return the bytes that holders of these kinds hold, without what those of kinds `beside` do."""
        found: set[str] = set()
        others: set[str] = set()
        for (kind, _), keys in self._held.items():
            if kind in kinds:
                found |= keys
            elif kind in beside:
                others |= keys
        return sum(self._sizes[key] for key in found - others)
