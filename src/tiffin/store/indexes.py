"""Indexes of layers, made once and kept beside them, and the merged view that several of them give."""

from __future__ import annotations

import posix
from contextlib import suppress

from tiffin.errors import Corrupt
from tiffin.layer import index
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.layer.index import Row
    from tiffin.store.store import Store

    Entry = tuple[Row, int, str]

_TOP: Row = ("", index.FOLDER, 0o755, 0, 0, 0, "", "")


def rows(store: Store, chain_id: str) -> list[Row]:
    """Return a layer's index, making it where there is none that can be used."""
    path = store.layout.index(chain_id)
    try:
        return read(path)
    except (FileNotFoundError, Corrupt):
        return make(store, chain_id)


def read(path: str) -> list[Row]:
    """Read an index file; raise FileNotFoundError, Corrupt."""
    with open(path, "rb") as stream:
        return index.unpack(stream.read())


def make(store: Store, chain_id: str) -> list[Row]:
    """Make a layer's index and keep it; where there is no room to keep it, it serves this once."""
    found = scan(store, chain_id)
    with suppress(OSError):
        atomic.write_file(store.layout.index(chain_id), index.pack(found))
    return found


def scan(store: Store, chain_id: str) -> list[Row]:
    """Return what a layer holds, without a look at its index."""
    return index.make(store.layout.layer(chain_id), xattr=store.settings.privilege.xattr)


def size(store: Store, chain_id: str) -> int:
    """Return the bytes of a layer's index file, 0 where there is none."""
    try:
        return posix.stat(store.layout.index(chain_id)).st_size
    except OSError:
        return 0


class Merged:
    """What a stack of layers shows: path -> (row, number of its layer, the first name of its file there)."""

    def __init__(self, layers: Sequence[Sequence[Row]]) -> None:
        """Merge layers, bottom first, as overlayfs does."""
        self.entries: dict[str, Entry] = {"": (_TOP, -1, "")}
        self._children: dict[str, dict[str, None]] = {"": {}}
        for number, layer in enumerate(layers):
            self._add(layer, number)

    def _add(self, layer: Sequence[Row], number: int) -> None:
        firsts: dict[str, Row] = {}
        for row in layer:
            path, kind = row[0], row[1]
            if kind == index.GONE:
                self._remove(path)
            elif kind == index.OPAQUE:
                for child in list(self._children.get(path, ())):
                    self._remove(child)
            elif kind == index.FOLDER:
                if path not in self._children:
                    self._remove(path)
                    self._children[path] = {}
                self._put(path, row, number, path)
            else:
                if path in self._children:
                    self._remove(path)
                if kind == index.LINK:
                    self._put(path, (path, *firsts[row[6]][1:]), number, row[6])
                else:
                    firsts[path] = row
                    self._put(path, row, number, path)

    def _put(self, path: str, row: Row, number: int, first: str) -> None:
        self.entries[path] = row, number, first
        if path:
            self._children[path.rpartition("/")[0]][path] = None

    def _remove(self, path: str) -> None:
        """Take away a path and all below it; one that is not there is fine."""
        if path not in self.entries:
            return
        del self._children[path.rpartition("/")[0]][path]
        waiting = [path]
        while waiting:
            here = waiting.pop()
            del self.entries[here]
            waiting += self._children.pop(here, ())
