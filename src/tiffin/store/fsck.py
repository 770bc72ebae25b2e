"""fsck: does the disk hold what the rows say? What is found can be put right, as far as that loses nothing.

A repair makes layers again from their blobs; of what else is broken it drops the rows (so that a pull or a
build makes it again), and files that belong to nothing. It never removes the data of a volume, and never a
container's own files while the container is known.
"""

from __future__ import annotations

import os
import posix

from tiffin.errors import Corrupt, NotFound, TiffinError
from tiffin.spec import clock, jsontext
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.value import Value
from tiffin.store import atomic, gc, graph, indexes, restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.store.database import Row
    from tiffin.store.store import Store


class Finding(Value):
    """Something wrong. `kind`: database, blob, layer, index, image, name, container, volume; or rubbish.

    Rubbish (of `size` bytes) is what an interrupted command leaves by design: the next sweep removes it.
    """

    kind: str
    path: str
    message: str
    repaired: bool = False
    size: int = 0

    @property
    def is_damage(self) -> bool:
        """Tell whether something is wrong, and not only left over."""
        return self.kind != "rubbish"


def check(store: Store, *, repair: bool = False, deep: bool = True) -> list[Finding]:
    """Compare rows and files; `deep` reads every blob. With `repair`, put right what can be.

    Images whose parts are broken are dropped by a repair: their names are in the finding. Run it while
    nothing else works on the store, or findings may be about work in flight.
    """
    findings = list(check_database(store))
    if any(finding.kind == "database" for finding in findings):
        return findings  # nothing that it says can be relied on
    for examine in (check_blobs, _layers, _indexes, _images, _names, _containers, _volumes):
        findings += examine(store, repair=repair, deep=deep)
    for item in gc.plan(store):
        if item.kind == "download" and item.key.endswith(f".{atomic.boot_id()[:8]}"):
            continue  # waits to be gone on with: see content.partial_path
        what = {"layer": "a layer", "blob": "a blob", "folder": "a container's folder"}.get(
            item.kind, item.kind
        )
        message = f"{what} that nothing refers to"
        findings.append(
            Finding(kind="rubbish", path=item.path, message=message, repaired=repair, size=item.size)
        )
    if repair:
        gc.sweep(store)
    return findings


def check_database(store: Store) -> Iterator[Finding]:
    """Ask SQLite whether its file is sound."""
    try:
        rows = store.database.query("PRAGMA integrity_check")
    except TiffinError as error:
        rows = [(error.message,)]
    for (text,) in rows:
        if text != "ok":
            yield Finding(kind="database", path=store.layout.database, message=text)


def check_blobs(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:
    """Compare the rows of blobs with their files; a repair forgets those that are broken."""
    for digest, size in store.database.query("SELECT digest, size FROM blobs"):
        path = store.layout.blob(digest)
        wrong = _wrong_blob(digest, size, path, deep=deep)
        if not wrong:
            continue
        if repair:
            with store.database.transaction():
                store.database.execute("DELETE FROM blobs WHERE digest=?", (digest,))
        yield Finding(kind="blob", path=path, message=f"{digest}: {wrong}", repaired=repair)


def _wrong_blob(digest: str, size: int, path: str, *, deep: bool) -> str:
    try:
        found = posix.stat(path).st_size
        if found != size:
            return f"its file has {found} bytes instead of {size}"
        if deep:
            with open(path, "rb") as stream:
                from tiffin.store.content import VerifiedReader

                reader = VerifiedReader(stream, Descriptor(media_type="", digest=digest, size=size))
                while reader.read(1 << 20):
                    pass
    except FileNotFoundError:
        return "its file is missing"
    except Corrupt as error:
        return error.message.partition(": ")[2]
    except OSError as error:
        return f"its file cannot be read: {error.strerror}"
    return ""


def _layers(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:
    """Compare layers with their folders; a repair makes them again from their blobs, or forgets them."""
    rows = store.database.query("SELECT chain_id, parent, diff_id, serializer FROM layers")
    known = {row[0] for row in rows}
    for chain_id, parent, diff_id, serializer in _parents_first(rows):
        path = store.layout.layer(chain_id)
        if not os.path.isdir(path):
            wrong = "its folder is missing"
        elif parent and parent not in known:
            wrong = f"the layer below it, {parent}, is missing"
        elif deep and serializer and not _is_unchanged(store, path, diff_id):
            wrong = "its files are not those that were committed"
        else:
            continue
        if repair and (not parent or parent in known):
            restore.set_aside(store, chain_id)
            if restore.restore(store, chain_id):
                message = f"{chain_id}: {wrong}; made again from its blob"
                yield Finding(kind="layer", path=path, message=message, repaired=True)
                continue
        if repair:
            known.discard(chain_id)
            store.database.execute("DELETE FROM layers WHERE chain_id=?", (chain_id,))
        yield Finding(kind="layer", path=path, message=f"{chain_id}: {wrong}", repaired=repair)


def _parents_first(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield layers so that each comes after the one below it; one whose parent has no row comes at once."""
    above: dict[str, list[Row]] = {}
    known = {row[0] for row in rows}
    for row in rows:
        above.setdefault(row[1] if row[1] in known else "", []).append(row)
    waiting = above.get("", [])
    while waiting:
        row = waiting.pop()
        yield row
        waiting += above.get(row[0], [])


def _is_unchanged(store: Store, path: str, diff_id: str) -> bool:
    """Tell whether a layer that was built here still gives the tar that it was measured with."""
    from tiffin.layer.diff import measure

    try:
        return measure(path, xattr=store.settings.privilege.xattr).diff_id == diff_id
    except TiffinError:
        return False


def _indexes(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:
    """Look for indexes that cannot be read, or do not say what the layer holds; a repair makes them anew."""
    for (chain_id,) in store.database.query("SELECT chain_id FROM layers"):
        path = store.layout.index(chain_id)
        if not os.path.exists(path) or not os.path.isdir(store.layout.layer(chain_id)):
            continue
        wrong = ""
        try:
            rows = indexes.read(path)
            if deep and rows != indexes.scan(store, chain_id):
                wrong = "it does not say what the layer holds: one of them was changed"
        except Corrupt as error:
            wrong = error.message
        if not wrong:
            continue
        if repair:
            indexes.make(store, chain_id)
        yield Finding(kind="index", path=path, message=f"{chain_id}: {wrong}", repaired=repair)


def _images(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - one shape for all
    for record in store.images.list():
        wrong = ""
        known = [store.snapshots.has(chain_id) for chain_id in record.layers]
        if not all(known):
            wrong = f"layer {record.layers[known.index(False)]} is missing"
        else:
            try:
                store.images.config(record)
                # The blob of a layer that is here may have been left out after a pull (see engine/again).
                layers = {layer.digest for layer in store.images.manifest(record).layers}
                spared = layers if record.digests else set()
                for part in graph.walk(store.content, record.manifest):
                    if part.digest not in spared and not store.content.has_blob(part):
                        wrong = wrong or f"content {part.digest} is missing"
            except (NotFound, Corrupt) as error:
                wrong = error.message
        if not wrong:
            continue
        if repair:
            store.images.remove(record.id, force=True)
        names = ", ".join(record.tags) or "no name"
        message = f"{record.id} ({names}): {wrong}"
        yield Finding(kind="image", path=store.layout.database, message=message, repaired=repair)


def _names(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - one shape for all
    for table, column in (("names", "name"), ("digests", "reference")):
        for name, image in store.database.query(f"SELECT {column}, image FROM {table}"):  # noqa: S608 - constants
            if store.database.one("SELECT 1 FROM images WHERE id=?", (image,)):
                continue
            if repair:
                store.database.execute(f"DELETE FROM {table} WHERE image=?", (image,))  # noqa: S608 - constants
            message = f"{name} names an image that is not here"
            yield Finding(kind="name", path=store.layout.database, message=message, repaired=repair)


def _containers(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - one shape for all
    for record in store.containers.list():
        path = store.layout.container(record.id)
        missing = [chain_id for chain_id in record.layers if not store.snapshots.has(chain_id)]
        if missing:
            message = f"{record.name}: layer {missing[0]} is missing; it cannot start until its image is back"
            yield Finding(kind="container", path=path, message=message)
        if os.path.isdir(f"{path}/upper") or os.path.isfile(f"{path}/copied"):
            continue
        message = f"{record.name}: its folder is missing, and what it had written with it"
        if store.snapshots.becoming(record.id):
            message = f"{record.name}: a fork of it was cut off"  # and is undone by whoever prepares it
        fixed = repair and not missing
        if fixed:
            store.snapshots.prepare(record.id, record.layers)
        yield Finding(kind="container", path=path, message=message, repaired=fixed)


def _volumes(store: Store, *, repair: bool, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - one shape for all
    known = {record.name for record in store.volumes.list()}
    for name in sorted(known):
        path = store.layout.volume_data(name)
        if not os.path.isdir(path):
            if repair:
                store.volumes.ensure(name)  # which takes it back from a rename that was cut off
            message = f"{name}: its folder is missing, and what was in it"
            yield Finding(kind="volume", path=path, message=message, repaired=repair)
    for name in sorted(posix.listdir(store.layout.volumes)):
        path = store.layout.volume_data(name)
        if name in known or not os.path.isdir(path) or gc.is_nobodys(os.path.dirname(path)):
            continue
        if repair:
            row = (name, clock.now(), 0, jsontext.dumps({}), jsontext.dumps({}))
            store.database.execute("INSERT OR IGNORE INTO volumes VALUES (?, ?, ?, ?, ?)", row)
        message = f"{name}: a volume's folder without a record"
        yield Finding(kind="volume", path=path, message=message, repaired=repair)
