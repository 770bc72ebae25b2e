"""push: every blob that the registry lacks, then the manifest; layers are compressed when first pushed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tiffin.engine.progress import Progress, silent
from tiffin.engine.rmi import sweep
from tiffin.errors import InvalidArgument, NotFound, TiffinError
from tiffin.registry.client import Repository
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Report
    from tiffin.spec.blob import BlobReader
    from tiffin.store.images import ImageRecord

_LEVEL = 1
"""gzip level for layers: isal's level 1 writes 500 MB/s and is about as small as zlib's."""


class Pushed(Value):
    """What the registry has now: the familiar name, the manifest's digest and size."""

    reference: str
    digest: str
    size: int


def push(engine: Engine, name: str, *, all_tags: bool = False, report: Report | None = None) -> list[Pushed]:
    """Push one tag, or every local tag of a repository."""
    say = silent if report is None else report
    reference = Reference.parse(name)
    if reference.digest:
        message = "cannot push a digest reference"
        raise InvalidArgument(message, hint="push a tag: NAME:TAG")
    if all_tags and reference.tag:
        message = "tag can't be used with --all-tags/-a"
        raise InvalidArgument(message)
    tags = _local_tags(engine, reference) if all_tags else [reference.tagged()]
    return [_push_one(engine, tag, say) for tag in tags]


def _local_tags(engine: Engine, reference: Reference) -> list[Reference]:
    parsed = [Reference.parse(tag) for record in engine.store.images.list() for tag in record.tags]
    tags = [tag for tag in parsed if tag.name == reference.name]
    if not tags:
        raise _missing(reference)
    return sorted(tags, key=lambda tag: tag.tag)


def _missing(reference: Reference) -> NotFound:
    message = f"An image does not exist locally with the tag: {reference.familiar_name}"
    return NotFound(message, hint="`tiffin images` shows what is here")


def _push_one(engine: Engine, reference: Reference, say: Report) -> Pushed:
    store = engine.store
    try:
        record = store.images.resolve(str(reference))
    except NotFound:
        raise _missing(reference) from None
    repository = Repository(reference, engine.settings)
    try:
        with store.lease("push") as lease, repository:
            lease.hold((record.id, record.manifest.digest))
            manifest = portable(engine, record)
            with ThreadPoolExecutor(engine.settings.parallel_downloads, "tiffin-push") as pool:
                list(pool.map(lambda layer: _push_blob(engine, repository, layer, say), manifest.layers))
            repository.upload(manifest.config, store.content, lambda _count: None)
            digest = repository.put_manifest(manifest.raw, manifest.media_type, reference.tag)
    except TiffinError as error:
        raise error.at(f"push {reference.familiar}") if engine.settings.debug else error from None
    if digest != record.manifest.digest:
        sweep(engine)  # the manifest of uncompressed layers is nobody's any more
    store.images.add_digest(record.id, reference.replace(tag="", digest=digest))
    size = len(manifest.raw)
    say(Progress(status=f"{reference.tag}: digest: {digest} size: {size}"))
    return Pushed(reference=reference.familiar, digest=digest, size=size)


def _push_blob(engine: Engine, repository: Repository, layer: Descriptor, say: Report) -> None:
    short = digests.short(layer.digest)

    def tell(status: str, current: int = 0) -> None:
        say(Progress(status=status, id=short, current=current, total=layer.size))

    tell("Preparing")
    done = 0

    def moved(count: int) -> None:
        nonlocal done
        done += count  # negative when a broken upload starts again
        tell("Pushing", done)

    source = engine.store.content
    how = repository.upload(layer, source, moved, mount_from=_elsewhere(engine, repository, layer))
    words = {"exists": "Layer already exists", "mounted": "Mounted", "pushed": "Pushed"}
    tell(words[how], layer.size)


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


def portable(engine: Engine, record: ImageRecord) -> Manifest:
    """Return the image's manifest with every layer compressed, making (and keeping) what is not.

    A pulled image keeps its own bytes. A built one gets its compressed form when it is first pushed;
    it is the image's manifest from then on, so a second push sends the same digest.
    """
    store = engine.store
    manifest = store.images.manifest(record)
    plain = {mediatype.OCI_LAYER, mediatype.DOCKER_LAYER}
    if not any(layer.media_type in plain for layer in manifest.layers):
        return manifest
    layers = [compressed(engine, layer) if layer.media_type in plain else layer for layer in manifest.layers]
    fresh = Manifest.build(manifest.config, layers)
    descriptor = store.content.put_bytes(fresh.raw, fresh.media_type)
    config = store.images.config(record)
    store.images.commit(config=config, manifest=descriptor, top=descriptor, size=record.size)
    return fresh


def compressed(engine: Engine, layer: Descriptor) -> Descriptor:
    """Return the gzip form of an uncompressed layer, made now if it is not here yet."""
    content = engine.store.content
    docker = layer.media_type == mediatype.DOCKER_LAYER
    media_type = mediatype.DOCKER_LAYER_GZIP if docker else mediatype.OCI_LAYER_GZIP
    known = content.compressed(layer.digest, media_type)
    if known is not None:
        return known
    path = content.private_path()
    try:
        digest, size = _compress(content.open_blob(layer), path)
        content.adopt(path, digest, size)
    except OSError as error:
        raise atomic.storage_error(error, f"compress {layer.digest}") from error
    finally:
        atomic.remove_file(path)
    descriptor = Descriptor(media_type=media_type, digest=digest, size=size)
    content.remember_compressed(layer.digest, descriptor)
    return descriptor


def _compress(reader: BlobReader, path: str) -> tuple[str, int]:
    """Write what a reader gives, gzipped, to a new file; return its digest and size."""
    from contextlib import closing
    from hashlib import sha256

    from tiffin.layer.compression import Compressor

    squeezer, hashed, size = Compressor("gzip", _LEVEL), sha256(), 0
    with closing(reader), open(path, "xb") as out:
        while True:
            chunk = reader.read(1 << 20)
            data = squeezer.feed(chunk) if chunk else squeezer.finish()
            hashed.update(data)
            size += out.write(data)
            if not chunk:
                return f"sha256:{hashed.hexdigest()}", size
