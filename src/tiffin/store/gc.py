"""gc: what nothing refers to any more, and its removal.

Referred to is what an image, a container, a remembered build step or a living lease names, what these
are built on, and whatever came into being after the oldest living lease began. Rows go in one
transaction; only then, in a second one that looks for files without rows, do files: a kill between
the two leaves rubbish for the next sweep, never a row without its file.
"""

from __future__ import annotations

import fcntl
import os
import posix
import re
import time
from contextlib import suppress

from tiffin.errors import Corrupt
from tiffin.spec import jsontext
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.value import Value
from tiffin.store import atomic, graph, indexes
from tiffin.store.snapshots import EMPTY_LAYER, OWNER
from tiffin.store.volumes import REMOVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tiffin.store.store import Store

DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")
_LONG_AGO_NS = 3600 * 1_000_000_000
"""Temporary files that name no owner are left alone for this long: somebody may be writing them."""


class Removable(Value):
    """Something that may go. `kind`: layer, blob, draft, download, folder, volume; `size` in bytes.

    `key` is a blob's digest; a layer's chain id, or its folder's name where there is no row any more.
    """

    kind: str
    key: str
    path: str
    size: int


def plan(store: Store) -> tuple[Removable, ...]:
    """Return what a sweep would remove now, changing nothing."""
    known = image_blobs(store, {})
    with store.database.transaction():
        layers, blobs, oldest = _unreferenced(store, known)
    gone = {item.key for item in (*layers, *blobs)}
    return (*layers, *blobs, *_strays(store, gone, oldest))


def sweep(store: Store) -> tuple[Removable, ...]:
    """Remove what nothing refers to; return what was removed, with sizes.

    Scratch files go first: they need no room in the database, which a full disk may not have.
    """
    with atomic.Lock(store.layout.sweep_lock):
        with store.database.transaction():
            oldest, dead = store.leases.living()[1], store.leases.dead()
        removed = [item for item in _scratch(store, oldest) if _remove_scratch(item)]
        known = image_blobs(store, {})
        with store.database.removing():
            layers, blobs, _ = _unreferenced(store, known)
            for item in layers:
                store.database.execute("DELETE FROM layers WHERE chain_id=?", (item.key,))
            for item in blobs:
                store.database.execute("DELETE FROM blobs WHERE digest=?", (item.key,))
                store.database.execute("DELETE FROM compressed WHERE digest=?", (item.key,))
        named = {item.path: item for item in (*layers, *blobs)}
        # Counted with their layers.
        named |= {item.path + ".index": item.replace(size=0) for item in layers}
        strays = list(_rowless(store, set()))
        with store.database.transaction():
            gone = [item for item in strays if not _has_row(store, item)]
            asides = [(_set_aside(store, item), named.get(item.path, item)) for item in gone]
        for aside, item in asides:
            removed.append(item if item.path in named else item.replace(size=atomic.tree_size(aside)))
            atomic.delete_tree(aside)
        if dead:
            store.leases.forget(dead)
    return tuple(removed)


def _unreferenced(store: Store, known: dict[str, set[str]]) -> tuple[list[Removable], list[Removable], int]:
    """Return layers and blobs that may go, and when the oldest living lease began; in a transaction."""
    query, layout = store.database.query, store.layout
    held, oldest = store.leases.living()
    referred = held.union(_referred(store), *image_blobs(store, known).values())
    rows = query("SELECT chain_id, parent, diff_id, size, created FROM layers")
    parents = {row[0]: row[1] for row in rows}
    kept: set[str] = set()
    for chain_id, _, _, _, created in rows:
        here = chain_id if chain_id in referred or created >= oldest else ""
        while here and here not in kept:
            kept.add(here)
            here = parents.get(here, "")
    layers = [
        Removable(
            kind="layer", key=chain_id, path=layout.layer(chain_id), size=size + indexes.size(store, chain_id)
        )
        for chain_id, _, _, size, _ in rows
        if chain_id not in kept
    ]
    alive = {row[2] for row in rows if row[0] in kept}
    referred.update(d for diff_id, d in query("SELECT diff_id, digest FROM compressed") if diff_id in alive)
    blobs = [
        Removable(kind="blob", key=digest, path=layout.blob(digest), size=size)
        for digest, size, created in query("SELECT digest, size, created FROM blobs")
        if digest not in referred and created < oldest
    ]
    return layers, blobs, oldest


def _referred(store: Store) -> set[str]:
    """Return what rows name directly: layers of images and containers, digests in results of steps."""
    query = store.database.query
    found: set[str] = set()
    for image_id, layers in query("SELECT id, layers FROM images"):
        found.add(image_id)
        found.update(layers.split("\n"))
    for _, held in container_layers(store):
        found.update(held)
    for (result,) in query("SELECT result FROM steps"):
        found.update(DIGEST.findall(result))
    return found


def container_layers(store: Store) -> Iterator[tuple[str, list[str]]]:
    """Yield containers' ids and the layers that they stand on, or have mounted as images."""
    rows = store.database.query(
        "SELECT id, layers, CASE WHEN instr(record, ?) THEN record ELSE '' END FROM containers",
        ('"type":"image"',),
    )
    for container_id, layers, record in rows:
        yield container_id, layers.split("\n") + DIGEST.findall(record)


def image_blobs(store: Store, known: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return, by descriptor text, the digests that images' manifests and indexes reach.

    `known` are answers of an earlier call: blobs do not change, so a transaction reads only new ones.
    """
    found = {}
    for manifest, top in store.database.query("SELECT manifest, top FROM images"):
        for text in {manifest, top}:
            found[text] = known[text] if text in known else _reach(store, text)
    return found


def _reach(store: Store, text: str) -> set[str]:
    descriptor = Descriptor.from_json(jsontext.loads(text))
    reached = {descriptor.digest}
    with suppress(Corrupt):  # fsck's business
        reached.update(d.digest for d in graph.walk(store.content, descriptor, missing=True))
    return reached


# Files


def _strays(store: Store, gone: set[str], oldest: int) -> tuple[Removable, ...]:
    return (*_scratch(store, oldest), *map(_measured, _rowless(store, gone)))


def _measured(item: Removable) -> Removable:
    return item.replace(size=atomic.tree_size(item.path))


def _scratch(store: Store, oldest: int) -> Iterator[Removable]:
    """Yield drafts and downloads of processes that are gone, and downloads that nobody goes on with."""
    layout = store.layout
    for name, path in _entries(layout.drafts):
        if not atomic.owner_lives(name):
            yield Removable(kind="draft", key=name, path=path, size=atomic.tree_size(path))
    for name, path in _entries(layout.root):
        if name.startswith(("state.db.", "reserve.")) and ".tmp" in name and not _is_fresh(path):
            yield Removable(kind="download", key=name, path=path, size=atomic.tree_size(path))
    for name, path in _entries(layout.ingest):
        try:
            info = posix.lstat(path)
        except FileNotFoundError:
            continue
        young = not name.startswith("sha") and atomic.owner_lives(name)
        if not young and info.st_mtime_ns < oldest:
            yield Removable(kind="download", key=name, path=path, size=info.st_size)


def _remove_scratch(item: Removable) -> bool:
    """Remove a draft, or a download unless it is being written right now; return whether it went."""
    if item.kind == "draft":
        atomic.delete_tree(item.path)
        return True
    try:
        descriptor = posix.open(item.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Who resumes it locks it and then checks that it still has its name: see content.Writer.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return atomic.is_at(descriptor, item.path) and atomic.remove_file(item.path)
    except BlockingIOError:
        return False
    finally:
        posix.close(descriptor)


def rowless_blobs(store: Store) -> Iterator[Removable]:
    """Yield files of blobs without a row (sizes not counted)."""
    for algorithm, folder in _entries(f"{store.layout.content}/blobs"):
        for name, path in _entries(folder):
            item = Removable(kind="blob", key=f"{algorithm}:{name}", path=path, size=0)
            if not _has_row(store, item):
                yield item


def _rowless(store: Store, gone: set[str]) -> Iterator[Removable]:
    """Yield files and folders without a row (sizes not counted); keys in `gone` are taken as removed."""
    layout = store.layout
    gone_folders = {layout.layer_name(key) for key in gone}
    yield from (item for item in rowless_blobs(store) if item.key not in gone)
    for name, path in _entries(layout.layers):
        item = Removable(kind="layer", key=name, path=path, size=0)
        if name not in gone_folders and not _has_row(store, item):
            yield item
    for kind, folder in (("folder", layout.containers), ("volume", layout.volumes)):
        for name, path in _entries(folder):
            item = Removable(kind=kind, key=name, path=path, size=0)
            if not _has_row(store, item):
                yield item


def _has_row(store: Store, item: Removable) -> bool:
    """Tell whether a file or folder belongs to a row, or to somebody who is at work on it."""
    one, name = store.database.one, item.key
    if item.kind == "blob":
        return one("SELECT 1 FROM blobs WHERE digest=?", (name,)) is not None
    if item.kind == "folder":
        known = one("SELECT 1 FROM containers WHERE id=?", (name,)) is not None
        return known or _is_owned(item.path)
    if item.kind == "volume":
        known = one("SELECT 1 FROM volumes WHERE name=?", (name,)) is not None
        return known or not is_nobodys(item.path)
    if name in {EMPTY_LAYER, store.layout.mount_points_name("")} | _becoming(store):
        return True
    if name.endswith(".tmp"):
        return _is_fresh(item.path)
    start = f"sha256:{name.partition('.')[0]}"
    return one("SELECT 1 FROM layers WHERE chain_id>=? AND chain_id<?", (start, f"{start}g")) is not None


def _becoming(store: Store) -> set[str]:
    """Return the names of layers that containers' upper folders have become in a fork that was killed."""
    keys = (name for name, _ in _entries(store.layout.containers))
    return set(map(store.snapshots.becoming, keys)) - {""}


def is_nobodys(volume: str) -> bool:
    """Tell whether a folder without a record is nobody's: its maker or its remover was killed."""
    return os.path.exists(f"{volume}/{REMOVED}") or all(
        name == "_data" and not posix.listdir(path) for name, path in _entries(volume)
    )


def _is_owned(folder: str) -> bool:
    """Tell whether a container's folder belongs to a living process (a build step's has no row)."""
    try:
        return atomic.owner_lives(posix.readlink(f"{folder}/{OWNER}"))
    except OSError:
        return _is_fresh(folder)  # just being made


def _is_fresh(path: str) -> bool:
    try:
        return posix.lstat(path).st_ctime_ns > time.time_ns() - _LONG_AGO_NS
    except FileNotFoundError:
        return False


def _set_aside(store: Store, item: Removable) -> str:
    aside = f"{store.layout.drafts}/{atomic.owner_tag()}-{posix.urandom(6).hex()}"
    with suppress(FileNotFoundError):  # its owner was faster
        atomic.replace(item.path, aside)
    return aside


def _entries(folder: str) -> Iterable[tuple[str, str]]:
    try:
        names = sorted(posix.listdir(folder))
    except FileNotFoundError:
        return []
    return [(name, f"{folder}/{name}") for name in names]
