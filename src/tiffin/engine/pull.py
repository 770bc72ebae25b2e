"""pull: name -> manifest -> platform -> config and layers, side by side -> one durable commit.

The engine's own extraction of several layers runs in child processes (one a core); downloads run in
threads. Nothing has a final name in the store until its digest is proven.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import BoundedSemaphore, Event, Lock

from tiffin.engine.flight import in_flight
from tiffin.engine.progress import Progress, silent
from tiffin.errors import Corrupt, Interrupted, InvalidArgument, NotFound, TiffinError
from tiffin.layer.apply import Limits, MissingTarget, apply
from tiffin.registry.client import Repository
from tiffin.spec import digest as digests
from tiffin.spec import manifest as manifests
from tiffin.spec.image import ImageConfig
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Report
    from tiffin.spec.blob import BlobSource
    from tiffin.spec.descriptor import Descriptor
    from tiffin.spec.manifest import Manifest
    from tiffin.store.content import Writer
    from tiffin.store.snapshots import Draft
    from tiffin.store.store import Store

_PIECE = 1 << 20
_STOPPED = "stopped, as another layer failed"


class Pulled(Value):
    """What came: its familiar name, the digest of what the name points to, and whether it was new."""

    reference: str
    digest: str
    image_id: str
    updated: bool


def pull(engine: Engine, name: str, *, platform: str = "", report: Report | None = None) -> Pulled:
    """Fetch one image by tag or digest; what is here already is not fetched again."""
    say = silent if report is None else report
    reference = Reference.parse(name).tagged()
    wanted = Platform.parse(platform) if platform else Platform.here()
    repository = Repository(reference, engine.settings)
    try:
        with repository:
            top, raw = repository.resolve(reference.digest or reference.tag)
            say(Progress(status=f"Pulling from {reference.path}", id=reference.digest or reference.tag))
            entry, manifest_raw = choose(
                lambda chosen: repository.resolve(chosen.digest), top, raw, wanted, reference.familiar
            )
            with in_flight(engine, "pull") as lease:
                lease.hold((top.digest, entry.digest))
                before = _known(engine.store, reference)
                image_id = commit_image(
                    engine,
                    repository,
                    top=top,
                    top_raw=raw,
                    entry=entry,
                    manifest_raw=manifest_raw,
                    names=_names(reference, top),
                    say=say,
                )
    except TiffinError as error:
        raise error.at(f"pull {reference.familiar}") if engine.settings.debug else error from None
    updated = before != (image_id, top.digest)
    if platform:
        _warn_of_platform(engine, reference, image_id, wanted, say)
    say(Progress(status=f"Digest: {top.digest}"))
    newer = "Downloaded newer image for" if updated else "Image is up to date for"
    say(Progress(status=f"Status: {newer} {reference.familiar}"))
    return Pulled(reference=reference.familiar, digest=top.digest, image_id=image_id, updated=updated)


def _warn_of_platform(
    engine: Engine, reference: Reference, image_id: str, wanted: Platform, say: Report
) -> None:
    """Say, as docker does, that a name without an index gave another platform than the one asked for."""
    found = engine.store.images.resolve(image_id).platform
    if not wanted.runs(found):
        text = f"WARNING: image with reference {reference.familiar} was found but its platform ({found})"
        say(Progress(status=f"{text} does not match the specified platform ({wanted})"))


def _names(reference: Reference, top: Descriptor) -> tuple[list[Reference], list[Reference]]:
    """Return the tags and the digest names that the image gets."""
    by_digest = reference.replace(tag="", digest=top.digest)
    return ([] if reference.digest else [reference]), [by_digest]


def _known(store: Store, reference: Reference) -> tuple[str, str] | None:
    try:
        record = store.images.resolve(str(reference))
    except NotFound:
        return None
    return record.id, record.top.digest


def choose(
    resolve: Callable[[Descriptor], tuple[Descriptor, bytes]],
    top: Descriptor,
    raw: bytes,
    wanted: Platform,
    name: str,
) -> tuple[Descriptor, bytes]:
    """Return the manifest for a platform and its bytes: the top itself, or the fitting entry of an index."""
    parsed = manifests.parse(raw, top.media_type)
    if isinstance(parsed, manifests.Manifest):
        return top.replace(media_type=parsed.media_type), raw
    entry = parsed.choose(wanted)
    if entry is None:
        offered = sorted({str(m.platform) for m in parsed.images() if m.platform})
        message = f"no matching manifest for {wanted} in the manifest list entries"
        raise NotFound(message, hint=f"{name} is there for {', '.join(offered) or 'no platform'}")
    descriptor, manifest_raw = resolve(entry)
    return descriptor.replace(platform=None), manifest_raw


def commit_image(
    engine: Engine,
    source: BlobSource,
    *,
    top: Descriptor,
    top_raw: bytes,
    entry: Descriptor,
    manifest_raw: bytes,
    names: tuple[Sequence[Reference], Sequence[Reference]],
    say: Report,
) -> str:
    """Bring a manifest's blobs and layers into the store and name the image. Returns its id.

    Used for registries and archives alike. Only what comes from a registry is kept half done, for the
    next try to go on with.
    """
    store = engine.store
    manifest = manifests.parse(manifest_raw, entry.media_type)
    if not isinstance(manifest, manifests.Manifest):
        message = "an index inside an index is not supported"
        raise InvalidArgument(message)
    manifests.check_is_image(manifest)
    config = _config(store, source, manifest)
    if len(config.diff_ids) != len(manifest.layers):
        message = f"image config names {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}"
        raise Corrupt(message)
    sizes = _Layers(engine, source, manifest, config, say).fetch()
    for descriptor, raw in ((entry, manifest_raw), (top, top_raw)):
        store.content.put_bytes(raw, descriptor.media_type)
    store.images.commit(
        config=config, manifest=entry, top=top, size=sum(sizes), tags=names[0], digests=names[1]
    )
    return config.id


def _config(store: Store, source: BlobSource, manifest: Manifest) -> ImageConfig:
    if not store.content.has_blob(manifest.config):
        with closing(source.open_blob(manifest.config)) as reader:
            store.content.put_blob(manifest.config, reader)
    config = ImageConfig.parse(store.content.read(manifest.config.digest))
    if config.platform.os not in {"", "linux"}:
        message = f'image operating system "{config.platform.os}" cannot be used on this platform'
        raise InvalidArgument(message, hint="choose a linux image with --platform")
    return config


class _Fetched(Value):
    """A layer that is ready to be committed: its draft (None if the layer is here) and its size."""

    size: int
    draft: Draft | None = None
    implied: tuple[str, ...] = ()
    linked_below: bool = False  # has hard links into layers below: to be unpacked once those are there

    def discard(self) -> None:
        """Remove what has not become a layer."""
        if self.draft is not None:
            self.draft.discard()


class _Layers:
    """The layers of one image on their way: downloaded and extracted side by side, committed in order."""

    def __init__(
        self, engine: Engine, source: BlobSource, manifest: Manifest, config: ImageConfig, say: Report
    ) -> None:
        self._store = engine.store
        self._source = source
        self._registry = source if isinstance(source, Repository) else None
        self._say = say
        self._threads = engine.settings.parallel_downloads
        self._xattr = engine.settings.privilege.xattr
        self._limits = Limits.of(engine.settings)
        self._cores = BoundedSemaphore(os.cpu_count() or 1)
        self._ending = Lock()
        self._stop = Event()
        self._cause: BaseException | None = None
        self._layers = manifest.layers
        self._diff_ids = config.diff_ids
        self._chain = digests.chain_ids(config.diff_ids)

    def fetch(self) -> list[int]:
        """Bring every layer into the store; return their unpacked sizes, bottom first."""
        pool = ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="tiffin-pull")
        futures = [pool.submit(self._one, index) for index in range(len(self._layers))]
        patient = True
        try:
            return [self._commit(index, future.result()) for index, future in enumerate(futures)]
        except BaseException as error:
            self._halt(error)
            # A registry that does not answer must not keep whoever gives up on it.
            patient = not isinstance(error, KeyboardInterrupt)
            if isinstance(error, Interrupted) and self._cause:
                raise self._cause from None
            raise
        finally:
            pool.shutdown(wait=patient, cancel_futures=True)
            for future in futures:
                if future.done() and not future.cancelled() and future.exception() is None:
                    future.result().discard()

    def _halt(self, cause: BaseException) -> None:
        """Have every thread stop at its next step; the first cause is what the pull ends with."""
        with self._ending:
            self._cause = self._cause or cause
            self._stop.set()
        if self._registry:
            self._registry.stop()

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Interrupted(_STOPPED)

    def _commit(self, index: int, fetched: _Fetched) -> int:
        """Make a draft the layer over those below it, which are here by now."""
        if fetched.linked_below:
            lower = [self._store.layout.layer(c) for c in reversed(self._chain[:index])]
            fetched = self._extract(index, lower)
        if fetched.draft is not None:
            with fetched.draft as draft:
                self._store.snapshots.commit(
                    draft,
                    parent=self._chain[index - 1] if index else "",
                    diff_id=self._diff_ids[index],
                    size=fetched.size,
                    foreign=True,
                    implied=fetched.implied,
                )
            self._tell(index, "Pull complete")
        return fetched.size

    def _tell(self, index: int, status: str, current: int = 0) -> None:
        layer = self._layers[index]
        self._say(Progress(status=status, id=digests.short(layer.digest), current=current, total=layer.size))

    def _one(self, index: int) -> _Fetched:
        """Make one layer ready; a failure stops the others at once, a late success discards itself."""
        try:
            fetched = self._ready(index)
        except BaseException as error:
            self._halt(error)
            raise
        with self._ending:
            if not self._stop.is_set():
                return fetched
        fetched.discard()
        raise Interrupted(_STOPPED)

    def _ready(self, index: int) -> _Fetched:
        """Download one layer and extract it into a draft, as far as it is not here already."""
        have_blob = self._store.content.has_blob(self._layers[index])
        have_layer = self._store.snapshots.has(self._chain[index])
        if not have_blob:
            self._download(index)
        if have_layer:
            self._tell(index, "Already exists")
            return _Fetched(size=self._store.snapshots.size(self._chain[index]))
        try:
            return self._extract(index)
        except MissingTarget:
            return _Fetched(size=0, linked_below=True)

    def _download(self, index: int) -> None:
        """Fetch a layer's blob, from where an earlier try stopped; anew if that leads nowhere."""
        layer, content = self._layers[index], self._store.content
        self._tell(index, "Pulling fs layer")
        with content.ingest(layer, resume=self._registry is not None) as writer:
            resumed = writer.offset > 0
            try:
                self._receive(index, writer)
            except (Corrupt, InvalidArgument):
                writer.abort()
                if not resumed:
                    raise
            else:
                return
        with content.ingest(layer, resume=False) as writer:
            self._receive(index, writer)

    def _receive(self, index: int, writer: Writer) -> None:
        layer = self._layers[index]
        registry, start = self._registry, writer.offset
        reader = registry.open_blob(layer, start) if registry else self._source.open_blob(layer)
        with closing(reader):
            while piece := reader.read(_PIECE):
                self._go_on()
                writer.write(piece)
                self._tell(index, "Downloading", writer.offset)
        writer.commit()
        self._tell(index, "Download complete", layer.size)

    def _extract(self, index: int, lower: Sequence[str] = ()) -> _Fetched:
        layer = self._layers[index]
        draft = self._store.snapshots.begin()
        try:
            with self._cores:
                self._go_on()
                self._tell(index, "Extracting")
                path = self._store.content.path(layer.digest)
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    applied = apply(
                        descriptor, draft.path, xattr=self._xattr, limits=self._limits, lower=lower
                    )
                finally:
                    os.close(descriptor)
            if applied.diff_id != self._diff_ids[index]:
                message = (
                    f"layer {layer.digest}: its content is {applied.diff_id}, "
                    f"the image's config says {self._diff_ids[index]}"
                )
                raise Corrupt(message)
        except BaseException:
            draft.discard()
            raise
        return _Fetched(size=applied.size, draft=draft, implied=applied.implied)
