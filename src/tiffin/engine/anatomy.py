"""What images are made of: differences, who wrote a path, bytes that nobody sees, platforms of an index."""

from __future__ import annotations

from tiffin.engine.image_views import ImageView, image_view
from tiffin.errors import InvalidArgument, NotFound
from tiffin.layer.index import FILE
from tiffin.spec import digest as digests
from tiffin.spec import manifest as manifests
from tiffin.spec.image import HistoryEntry
from tiffin.spec.value import Value
from tiffin.store import compare, indexes
from tiffin.store.indexes import Merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.spec.image import ImageConfig
    from tiffin.store.compare import Difference
    from tiffin.store.images import ImageRecord


class Blame(Value):
    """One instruction that wrote or deleted a path. `action`: added, changed, deleted.

    `size` is the file's bytes then; `diff_id` is the layer's; the rest is the image's history.
    """

    path: str
    action: str
    size: int
    diff_id: str
    created: str
    created_by: str


class Variant(Value):
    """One platform of an image: bytes on disk (unpacked) and of its blobs, 0 where it is not here."""

    platform: str
    digest: str
    size: int = 0
    content: int = 0


class Tree(Value):
    """An image with the platforms that its name stands for; `containers` counts those made from it."""

    view: ImageView
    content: int
    containers: int
    variants: tuple[Variant, ...]


def differences(engine: Engine, old: str, new: str) -> tuple[Difference, ...]:
    """Return the paths that are not the same in two images, by path."""
    left, right = (merged(engine, engine.store.images.resolve(name)) for name in (old, new))
    return tuple(compare.differences(left, right))


def merged(engine: Engine, record: ImageRecord) -> Merged:
    """Return what an image's layers show, from their indexes."""
    return Merged([indexes.rows(engine.store, chain_id) for chain_id in record.layers])


def blame(engine: Engine, name: str, path: str) -> tuple[Blame, ...]:
    """Return every instruction that wrote or deleted a path of an image, newest first.

    Symbolic links on the way are followed, the last part is not. Raises NotFound if no layer ever had it.
    """
    store = engine.store
    record = store.images.resolve(name)
    config = store.images.config(record)
    canonical = store.stack(record.layers).resolve(path, follow_last=False)
    folders = [store.layout.layer(chain_id) for chain_id in record.layers]
    found = compare.touches(folders, canonical, engine.settings.privilege.xattr)
    if not found:
        message = f"{name}: no layer has, or had, {canonical}"
        raise NotFound(message)
    made_by = makers(config)
    return tuple(
        Blame(
            path=canonical,
            action=touch.action,
            size=touch.size,
            diff_id=config.diff_ids[touch.layer],
            created=made_by[touch.layer].created,
            created_by=made_by[touch.layer].created_by,
        )
        for touch in reversed(found)
    )


def split(text: str) -> tuple[str, str]:
    """Return image and path of `IMAGE:/path`; raise InvalidArgument for anything else."""
    name, colon, path = text.partition(":/")
    if not name or not colon:
        message = f"{text}: not an image and a path"
        raise InvalidArgument(message, hint="write IMAGE:/path, for example shop:1:/etc/passwd")
    return name, f"/{path}"


def makers(config: ImageConfig) -> list[HistoryEntry]:
    """Return the line of history of each layer, bottom first; an empty one where the image has none."""
    entries = [entry for entry in config.history if not entry.empty_layer]
    missing = len(config.diff_ids) - len(entries)
    return (entries + [HistoryEntry()] * missing)[: len(config.diff_ids)]


def wasted(engine: Engine, record: ImageRecord) -> tuple[int, ...]:
    """Return for each layer, bottom first, the bytes of its files that a later layer hides."""
    visible = [0] * len(record.layers)
    seen: set[tuple[int, str]] = set()
    for row, layer, first in merged(engine, record).entries.values():
        if row[1] == FILE and (layer, first) not in seen:
            seen.add((layer, first))
            visible[layer] += row[5]
    sizes = map(engine.store.snapshots.size, record.layers)
    return tuple(max(0, size - shown) for size, shown in zip(sizes, visible, strict=True))


def tree(engine: Engine, views: Sequence[ImageView]) -> Iterator[Tree]:
    """Yield images with their platforms, in the order of a list; names stay as the list has them."""
    users: dict[str, int] = {}
    for container in engine.store.containers.list():
        users[container.image_id] = users.get(container.image_id, 0) + 1
    for view in views:
        record = engine.store.images.get(view.id)
        variants = tuple(_variants(engine, record))
        yield Tree(
            view=view if view.tags else image_view(record),
            content=sum(variant.content for variant in variants),
            containers=users.get(view.id, 0),
            variants=variants,
        )


def _variants(engine: Engine, record: ImageRecord) -> Iterator[Variant]:
    images = engine.store.images
    manifest = images.manifest(record)
    blobs = (record.manifest, manifest.config, *manifest.layers)
    own = Variant(
        platform=str(record.platform),
        digest=digests.short(record.manifest.digest),
        size=record.size,
        content=sum(blob.size for blob in blobs),
    )
    if record.top.digest == record.manifest.digest:
        yield own
        return
    index = manifests.parse(engine.store.content.read(record.top.digest), record.top.media_type)
    entries = index.images() if isinstance(index, manifests.Index) else ()
    for entry in entries:
        if entry.digest == record.manifest.digest:
            yield own
        else:
            platform = str(entry.platform) if entry.platform else "unknown"
            yield Variant(platform=platform, digest=digests.short(entry.digest))
