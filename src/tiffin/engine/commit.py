"""commit: what a container wrote becomes a layer over its image's, and both become an image."""

from __future__ import annotations

from contextlib import contextmanager

from tiffin.build import changes as changing
from tiffin.engine.assemble import assemble, built_layer
from tiffin.engine.start import connect
from tiffin.engine.views import event_attributes
from tiffin.errors import InvalidArgument, NotFound
from tiffin.layer import tar
from tiffin.spec import clock
from tiffin.spec.image import HistoryEntry, ImageConfig
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.images import ImageRecord


class CommitRequest(Value):
    """What `docker commit` is told. `name` may be "": the image has only its id then."""

    name: str = ""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class _NewLayer(Value):
    """What the container wrote, as a layer; `chain_id` "" says that it wrote nothing."""

    diff_id: str = ""
    chain_id: str = ""
    size: int = 0


def commit(engine: Engine, record: ContainerRecord, request: CommitRequest) -> str:
    """Make an image of a container and return its id.

    Costs what the container wrote, whatever its image weighs. Its files are copied: it goes on with its
    own. While they are, it stands still unless `pause` is False, or this user has no cgroups to stop it by;
    then a file that changes under the copy is a Conflict. Raises NotFound if the container's image is gone.
    """
    store = engine.store
    tags = (image_name(request.name),) if request.name else ()
    container_config = changing.apply(record.config.replace(image=""), request.changes)
    with store.lease("commit"):
        base = _base(engine, record)
        store.snapshots.has(record.layers[-1] if record.layers else "")  # the lease holds it from here on
        below, manifest = store.images.config(base), store.images.manifest(base)
        layer = _layer(engine, record, pause=request.pause)
        created = clock.now()
        entry = HistoryEntry(
            created=created,
            created_by=" ".join(record.config.cmd or ()),
            author=request.author,
            comment=request.message,
            empty_layer=not layer.chain_id,
        )
        config = ImageConfig.build(
            platform=below.platform,
            config=container_config,
            diff_ids=below.diff_ids + ((layer.diff_id,) if layer.chain_id else ()),
            history=(*below.history, entry),
            created=created,
            author=request.author,
        )
        own = (built_layer(store, layer.diff_id, layer.chain_id),) if layer.chain_id else ()
        made = assemble(store, config, (*manifest.layers, *own), size=base.size + layer.size, tags=tags)
    told = {"comment": request.message, "imageID": made.id, "imageRef": request.name}
    store.events.append("container", "commit", record.id, event_attributes(record) | told)
    return made.id


def image_name(text: str) -> Reference:
    """Return the name for a new image; raise InvalidArgument for one with a digest."""
    reference = Reference.parse(text)
    if reference.digest:
        message = "refusing to create a tag with a digest reference"
        raise InvalidArgument(message)
    return reference.tagged()


def _base(engine: Engine, record: ContainerRecord) -> ImageRecord:
    try:
        return engine.store.images.get(record.image_id)
    except NotFound:
        message = f"the image of container {record.name} is gone, and with it the config of what lies below"
        raise NotFound(message, hint=f"keep its files instead: tiffin export {record.name}") from None


def _layer(engine: Engine, record: ContainerRecord, *, pause: bool) -> _NewLayer:
    """Copy what the container wrote into a draft and make that a layer."""
    store = engine.store
    with store.snapshots.begin() as draft:
        # The lock keeps the container from being removed, or started, under the copy.
        with store.containers.lock(record.id), _standing_still(engine, record, wanted=pause):
            copied = store.snapshots.copy_upper(record.id, draft)
        if copied.tar_size <= len(tar.END):
            return _NewLayer()
        chain_id = store.snapshots.commit(
            draft,
            parent=record.layers[-1] if record.layers else "",
            diff_id=copied.diff_id,
            size=copied.size,
            tar_size=copied.tar_size,
        )
    return _NewLayer(diff_id=copied.diff_id, chain_id=chain_id, size=copied.size)


@contextmanager
def _standing_still(engine: Engine, record: ContainerRecord, *, wanted: bool) -> Iterator[None]:
    """Freeze a running container for the length of a block; one that stands still already stays so."""
    wanted = wanted and engine.settings.privilege.cgroups
    if not wanted or engine.store.containers.state(record.id).status != "running":
        yield
        return
    with connect(engine.store, record) as connection:
        connection.pause()
        try:
            yield
        finally:
            connection.resume()
