"""system df: what takes how much of the disk, each byte counted once, and how much of it could go.

Layers and blobs that an image or a container holds are the images'; what only build steps hold is the build
cache's. A container is its whole folder, its log too; numbers are lengths of files, as `du --apparent-size`.
"""

from __future__ import annotations

from tiffin.engine.image_views import ImageView, image_view
from tiffin.engine.prune import text_of
from tiffin.spec.value import Value
from tiffin.store import atomic
from tiffin.store.cachemounts import CacheMounts
from tiffin.store.usage import CONTAINER, IMAGE, STEP, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.engine.views import ContainerView
    from tiffin.store.cachemounts import CacheMount


class Row(Value):
    """One kind of thing: how many there are, how many are in use, their bytes, those that could go."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int


class ImageUsage(Value):
    """One image: bytes with its blobs, of which `unique` are its alone; `containers` counts its users."""

    view: ImageView
    size: int
    unique: int
    containers: int


class VolumeUsage(Value):
    """One volume: its bytes and how many containers have it."""

    name: str
    size: int
    links: int


class StepUsage(Value):
    """One remembered build step. `size` is its layer's; `shared` says that an image or a container has it."""

    id: str
    kind: str
    size: int
    created: int
    last_used: int
    uses: int
    shared: bool
    text: str = ""


class DiskUsage(Value):
    """The rows of `system df` and, for `-v`, what they are made of."""

    rows: tuple[Row, ...]
    images: tuple[ImageUsage, ...]
    containers: tuple[ContainerView, ...]
    volumes: tuple[VolumeUsage, ...]
    steps: tuple[StepUsage, ...]


def disk_usage(engine: Engine) -> DiskUsage:
    """Look at the store once and count."""
    store = engine.store
    usage = Usage(store)
    containers = tuple(
        view.replace(size_rw=atomic.tree_size(store.layout.container(view.id)))
        for view in engine.containers.list(all=True, size=True)
    )
    users: dict[str, int] = {}
    for view in containers:
        users[view.image_id] = users.get(view.image_id, 0) + 1
    images = tuple(
        ImageUsage(
            view=image_view(record),
            size=usage.total(IMAGE, record.id),
            unique=usage.unique(IMAGE, record.id),
            containers=users.get(record.id, 0),
        )
        for record in store.images.list()
    )
    volumes = tuple(
        VolumeUsage(
            name=record.name,
            size=store.volumes.usage(record.name),
            links=len(store.volumes.users(record.name)),
        )
        for record in store.volumes.list()
    )
    steps = _steps(engine)
    cache = _steps_row(usage, steps)  # before the next one, which releases images
    rows = (_images_row(usage, images), _containers_row(containers), _volumes_row(volumes), cache)
    return DiskUsage(rows=rows, images=images, containers=containers, volumes=volumes, steps=steps)


def _steps(engine: Engine) -> tuple[StepUsage, ...]:
    found = []
    chains = [record.layers for record in engine.store.images.list()]
    chains += [record.layers for record in engine.store.containers.list()]
    in_use = {chain_id for chain in chains for chain_id in chain}
    for step in engine.store.buildcache.list():
        size = _layer_size(engine, step.result)
        if size < 0:
            continue  # it made no layer, or that is gone
        found.append(
            StepUsage(
                id=step.key,
                kind=str(step.ingredients.get("kind", "")).lower(),
                size=size,
                created=step.created,
                last_used=step.last_used,
                uses=step.uses,
                shared=step.result["chain_id"] in in_use,
                text=text_of(step.ingredients),
            )
        )
    caches = CacheMounts(engine.store.layout.cache_mounts).list()
    return (*found, *map(_cache_mount, caches))


def _cache_mount(cache: CacheMount) -> StepUsage:
    return StepUsage(
        id=cache.key,
        kind="exec.cachemount",
        size=cache.size,
        created=cache.created,
        last_used=cache.last_used,
        uses=1,
        shared=False,
        text=f"cache mount {cache.name}",
    )


def _layer_size(engine: Engine, result: Mapping[str, Any]) -> int:
    chain_id = result.get("chain_id")
    if not isinstance(chain_id, str) or not engine.store.snapshots.has(chain_id):
        return -1
    return engine.store.snapshots.size(chain_id)


def _images_row(usage: Usage, images: tuple[ImageUsage, ...]) -> Row:
    size = usage.held_by(IMAGE, CONTAINER)
    unused = [image for image in images if not image.containers]
    could_go = sum(usage.release(IMAGE, image.view.id) for image in unused)
    return Row(
        type="Images",
        total=len(images),
        active=len(images) - len(unused),
        size=size,
        reclaimable=could_go,
    )


def _containers_row(containers: tuple[ContainerView, ...]) -> Row:
    stopped = [view for view in containers if not view.state.running]
    return Row(
        type="Containers",
        total=len(containers),
        active=len(containers) - len(stopped),
        size=sum(view.size_rw for view in containers),
        reclaimable=sum(view.size_rw for view in stopped),
    )


def _volumes_row(volumes: tuple[VolumeUsage, ...]) -> Row:
    unused = [volume for volume in volumes if not volume.links]
    return Row(
        type="Local Volumes",
        total=len(volumes),
        active=len(volumes) - len(unused),
        size=sum(volume.size for volume in volumes),
        reclaimable=sum(volume.size for volume in unused),
    )


def _steps_row(usage: Usage, steps: tuple[StepUsage, ...]) -> Row:
    size = usage.held_by(STEP, beside=(IMAGE, CONTAINER))
    size += sum(step.size for step in steps if step.kind == "exec.cachemount")
    active = sum(step.shared for step in steps)
    return Row(type="Build Cache", total=len(steps), active=active, size=size, reclaimable=size)
