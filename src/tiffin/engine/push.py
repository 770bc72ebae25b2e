"""push: every blob that the registry lacks, then the manifest; layers are compressed when first pushed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tiffin.engine.again import Kept
from tiffin.engine.packing import Packing, adopt, packed_layer, repacked
from tiffin.engine.progress import Progress, silent
from tiffin.engine.rmi import sweep
from tiffin.errors import InvalidArgument, NotFound, TiffinError
from tiffin.registry.client import Repository
from tiffin.spec import digest as digests
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Report
    from tiffin.spec.descriptor import Descriptor
    from tiffin.spec.manifest import Manifest
    from tiffin.store.images import ImageRecord


class Pushed(Value):
    """What the registry has now: the familiar name, the manifest's digest and size."""

    reference: str
    digest: str
    size: int


def push(
    engine: Engine,
    name: str,
    *,
    all_tags: bool = False,
    packing: Packing | None = None,
    report: Report | None = None,
) -> list[Pushed]:
    """Push one tag, or every local tag of a repository; with `packing`, every layer packed in that way."""
    say = silent if report is None else report
    reference = Reference.parse(name)
    if reference.digest:
        message = "cannot push a digest reference"
        raise InvalidArgument(message, hint="push a tag: NAME:TAG")
    if all_tags and reference.tag:
        message = "tag can't be used with --all-tags/-a"
        raise InvalidArgument(message)
    tags = _local_tags(engine, reference) if all_tags else [reference.tagged()]
    return [_Push(engine, tag, packing, say).send() for tag in tags]


def _local_tags(engine: Engine, reference: Reference) -> list[Reference]:
    parsed = [Reference.parse(tag) for record in engine.store.images.list() for tag in record.tags]
    tags = [tag for tag in parsed if tag.name == reference.name]
    if not tags:
        raise _missing(reference)
    return sorted(tags, key=lambda tag: tag.tag)


def _missing(reference: Reference) -> NotFound:
    message = f"An image does not exist locally with the tag: {reference.familiar_name}"
    return NotFound(message, hint="`tiffin images` shows what is here")


class _Push:
    """One tag on its way: each layer is packed, if need be, and sent by a thread of its own."""

    def __init__(self, engine: Engine, reference: Reference, packing: Packing | None, say: Report) -> None:
        self._engine = engine
        self._store = engine.store
        self._reference = reference
        self._packing = packing
        self._say = say
        self._source = Kept(engine)
        self._repository = Repository(reference, engine.settings)

    def send(self) -> Pushed:
        """Send every blob that the registry lacks, then the manifest."""
        reference, store = self._reference, self._store
        try:
            record = store.images.resolve(str(reference))
        except NotFound:
            raise _missing(reference) from None
        try:
            with store.lease("push") as lease, self._repository:
                lease.hold((record.id, record.manifest.digest))
                manifest = self._send_layers(record)
                self._repository.upload(manifest.config, store.content, lambda _count: None)
                digest = self._repository.put_manifest(manifest.raw, manifest.media_type, reference.tag)
                if self._packing is None and manifest.raw != store.images.manifest(record).raw:
                    adopt(self._engine, record, manifest)
        except TiffinError as error:
            raise error.at(f"push {reference.familiar}") if self._engine.settings.debug else error from None
        if digest != record.manifest.digest:
            sweep(self._engine)  # what is nobody's: a manifest of uncompressed layers, layers packed for this
        store.images.add_digest(record.id, reference.replace(tag="", digest=digest))
        size = len(manifest.raw)
        self._say(Progress(status=f"{reference.tag}: digest: {digest} size: {size}"))
        return Pushed(reference=reference.familiar, digest=digest, size=size)

    def _send_layers(self, record: ImageRecord) -> Manifest:
        """Send the layers, side by side; return the manifest that names them as they were sent."""
        manifest = self._store.images.manifest(record)
        with ThreadPoolExecutor(self._engine.settings.parallel_downloads, "tiffin-push") as pool:
            layers = list(pool.map(self._send_layer, manifest.layers))
        return repacked(manifest, layers)

    def _send_layer(self, layer: Descriptor) -> Descriptor:
        """Send one layer if the registry lacks it; return it as it was sent."""
        short = digests.short(layer.digest)
        self._say(Progress(status="Preparing", id=short, total=layer.size))
        packed = packed_layer(self._engine, layer, self._packing)
        done = 0

        def moved(count: int) -> None:
            nonlocal done
            done += count  # negative when a broken upload starts again
            self._say(Progress(status="Pushing", id=short, current=done, total=packed.size))

        places = _elsewhere(self._engine, self._repository, packed)
        how = self._repository.upload(packed, self._source, moved, mount_from=places)
        words = {"exists": "Layer already exists", "mounted": "Mounted", "pushed": "Pushed"}
        self._say(Progress(status=words[how], id=short, current=packed.size, total=packed.size))
        return packed


def _elsewhere(engine: Engine, repository: Repository, layer: Descriptor) -> tuple[str, ...]:
    """Return repositories of the same registry that are known to have a layer (pulled from, pushed to)."""
    own, images = repository.reference, engine.store.images
    found: dict[str, None] = {}
    for record in images.list():
        names = [Reference.parse(name) for name in record.digests]
        others = sorted({n.name for n in names if n.domain == own.domain and n.path != own.path})
        if others and any(known.digest == layer.digest for known in images.manifest(record).layers):
            found.update(dict.fromkeys(others))
    return tuple(found)
