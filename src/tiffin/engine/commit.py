"""commit: what a container wrote becomes a layer over its image's, and both become an image."""

from __future__ import annotations

from contextlib import contextmanager

from tiffin.engine.assemble import assemble, built_layer
from tiffin.engine.views import event_attributes
from tiffin.errors import InvalidArgument, NotFound
from tiffin.spec import clock
from tiffin.spec.image import HistoryEntry, ImageConfig
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.spec.container import ContainerConfig
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.images import ImageRecord


class CommitRequest(Value):
    """What `docker commit` is told. `name` may be "": the image has only its id then."""

    name: str = ""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


_FORKED = "what a container wrote before it was forked"


def commit(engine: Engine, record: ContainerRecord, request: CommitRequest) -> str:
    """Make an image of a container and return its id.

    Costs what the container wrote, whatever its image weighs. Its files are copied: it goes on with its
    own. While they are, it stands still unless `pause` is False, or this user has no cgroups to stop it by;
    then a file that changes under the copy is a Conflict. Raises NotFound if the container's image is gone.
    """
    store = engine.store
    tags = (image_name(request.name),) if request.name else ()
    container_config = _changed(record.config.replace(image=""), request.changes)
    with store.lease("commit"):
        base = _base(engine, record)
        store.snapshots.has(record.layers[-1] if record.layers else "")  # the lease holds it from here on
        below, manifest = store.images.config(base), store.images.manifest(base)
        chain = _own_layers(engine, record, pause=request.pause)
        layers = tuple(built_layer(store, store.snapshots.diff_id(one), one) for one in chain)
        created = clock.now()
        before = HistoryEntry(created=created, created_by="", comment=_FORKED)
        entry = HistoryEntry(
            created=created,
            created_by=" ".join(record.config.cmd or ()),
            author=request.author,
            comment=request.message,
            empty_layer=not chain,
        )
        config = ImageConfig.build(
            platform=below.platform,
            config=container_config,
            diff_ids=below.diff_ids + tuple(layer.digest for layer in layers),
            history=(*below.history, *[before] * (len(layers) - 1), entry),
            created=created,
            author=request.author,
        )
        size = base.size + sum(map(store.snapshots.size, chain))
        made = assemble(store, config, (*manifest.layers, *layers), size=size, tags=tags)
    told = {"comment": request.message, "imageID": made.id, "imageRef": request.name}
    store.events.append("container", "commit", record.id, event_attributes(record) | told)
    return made.id


def _changed(config: ContainerConfig, changes: tuple[str, ...]) -> ContainerConfig:
    if not changes:
        return config
    from tiffin.build import changes as changing  # the compiler of Dockerfiles: 15 ms

    return changing.apply(config, changes)


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


def _own_layers(engine: Engine, record: ContainerRecord, *, pause: bool) -> tuple[str, ...]:
    """Copy what the container wrote into a draft and make that a layer.

    Returns its chain id, after those of what it wrote before it was forked.
    """
    store = engine.store
    with store.snapshots.begin() as draft:
        # The lock keeps the container from being removed, or started, under the copy.
        with store.containers.lock(record.id), standing_still(engine, record, wanted=pause):
            record = store.containers.get(record.id)  # somebody may have forked it meanwhile
            store.snapshots.copy_upper(record.id, draft)
        chain_id = store.snapshots.commit_written(draft, parent=record.layers[-1] if record.layers else "")
    own = record.layers[len(record.layers) - record.own_layers :]
    return (*own, chain_id) if chain_id else own


@contextmanager
def standing_still(engine: Engine, record: ContainerRecord, *, wanted: bool) -> Iterator[None]:
    """Freeze a running container for the length of a block; one that stands still already stays so."""
    wanted = wanted and engine.settings.privilege.cgroups
    if not wanted or engine.store.containers.state(record.id).status != "running":
        yield
        return
    from tiffin.engine.start import connect  # all that a start needs: 20 ms

    with connect(engine.store, record) as connection:
        connection.pause()
        try:
            yield
        finally:
            connection.resume()
