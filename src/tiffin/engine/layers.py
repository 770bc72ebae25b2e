"""An image's blobs and layers come into the store, side by side; then one durable commit names it.

Downloads run in threads. A layer is unpacked by a child process while it is still coming: the worker reads
the blob's file as it grows, so nothing is sent twice, and nothing waits but for bytes. Nothing has a final
name in the store until its digest is proven.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import BoundedSemaphore, Event, Lock

from tiffin.engine.progress import Progress
from tiffin.errors import Corrupt, Interrupted, InvalidArgument, TiffinError
from tiffin.layer.apply import Extraction, Limits, MissingTarget
from tiffin.registry.mirrors import Mirrored, Relay
from tiffin.spec import digest as digests
from tiffin.spec import manifest as manifests
from tiffin.spec.image import ImageConfig
from tiffin.spec.value import Value
from tiffin.store.ahead import SyncAhead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from tiffin.archive.load import Archive
    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Report
    from tiffin.layer.limits import Applied
    from tiffin.spec.blob import BlobReader
    from tiffin.spec.descriptor import Descriptor
    from tiffin.spec.manifest import Manifest
    from tiffin.spec.reference import Reference
    from tiffin.store.content import Writer
    from tiffin.store.snapshots import Draft
    from tiffin.store.store import Store

_PIECE = 1 << 18
_STOPPED = "stopped, as another layer failed"


def commit_image(
    engine: Engine,
    source: Mirrored | Archive,
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
    manifest = image_manifest(manifest_raw, entry.media_type)
    config = _config(store, source, manifest)
    layers = _Layers(engine, source, manifest, config, say)
    # Blobs that are about to go need not be written to disk at all.
    wanted = engine.settings.durable and layers.keeps
    with SyncAhead(store.layout.root, wanted=wanted):
        sizes = layers.fetch()
    layers.discard_blobs()
    for descriptor, raw in ((entry, manifest_raw), (top, top_raw)):
        store.content.put_bytes(raw, descriptor.media_type)
    store.images.commit(
        config=config, manifest=entry, top=top, size=sum(sizes), tags=names[0], digests=names[1]
    )
    return config.id


def image_manifest(raw: bytes, media_type: str) -> Manifest:
    """Parse the manifest of an image; an artifact is refused by its name."""
    manifest = manifests.parse(raw, media_type)
    if not isinstance(manifest, manifests.Manifest):
        message = "an index inside an index is not supported"
        raise InvalidArgument(message)
    manifests.check_is_image(manifest)
    return manifest


def _config(store: Store, source: Mirrored | Archive, manifest: Manifest) -> ImageConfig:
    if not store.content.has_blob(manifest.config):
        with closing(source.open_blob(manifest.config)) as reader:
            store.content.put_blob(manifest.config, reader)
    return checked_config(manifest, store.content.read(manifest.config.digest))


def checked_config(manifest: Manifest, raw: bytes) -> ImageConfig:
    """Parse the config of an image that can be kept here, or raise what is in the way."""
    config = ImageConfig.parse(raw)
    if config.platform.os not in {"", "linux"}:
        message = f'image operating system "{config.platform.os}" cannot be used on this platform'
        raise InvalidArgument(message, hint="choose a linux image with --platform")
    if len(config.diff_ids) != len(manifest.layers):
        message = f"image config names {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}"
        raise Corrupt(message)
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


class _Unpacking:
    """One layer on its way into a draft, by a worker that starts when there is a core for it.

    A context manager: what is not finished when it is left is stopped.
    """

    def __init__(
        self, engine: Engine, cores: BoundedSemaphore, lower: Sequence[str] = (), proven: str = ""
    ) -> None:
        """Prepare; nothing is made yet. `proven` is what the file's bytes are verified to be (see apply)."""
        self._store = engine.store
        self._cores = cores
        self._xattr = engine.settings.privilege.xattr
        self._limits = Limits.of(engine.settings)
        self._lower = lower
        self._proven = proven
        self._running: tuple[Draft, Extraction] | None = None

    def follow(self, path: str) -> None:
        """Unpack a file that has grown, from its beginning as soon as a core is free."""
        if self._running is not None:
            self._running[1].grown()
        elif self._cores.acquire(blocking=False):
            self._running = self._start(path, growing=True)

    def finish(self, path: str) -> tuple[Draft, Applied]:
        """Unpack to the end of a file that is whole. Raises what the worker says; no draft is left then."""
        running, self._running = self._running, None
        if running is None:
            self._cores.acquire()
            running = self._start(path, growing=False)
        draft, extraction = running
        try:
            return draft, extraction.wait()
        except BaseException:
            draft.discard()
            raise
        finally:
            self._cores.release()

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop what was not finished."""
        self.stop()

    def stop(self) -> None:
        """Throw away what there is; it may be begun anew."""
        running, self._running = self._running, None
        if running is None:
            return
        draft, extraction = running
        extraction.abort()
        with suppress(TiffinError):
            extraction.wait()
        draft.discard()
        self._cores.release()

    def _start(self, path: str, *, growing: bool) -> tuple[Draft, Extraction]:
        """Start the worker; the core is ours already."""
        draft = None
        try:
            draft = self._store.snapshots.begin()
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return draft, Extraction.start(
                    file,
                    draft.path,
                    xattr=self._xattr,
                    limits=self._limits,
                    lower=self._lower,
                    growing=growing,
                    proven=self._proven,
                )
            finally:
                os.close(file)
        except BaseException:
            if draft is not None:
                draft.discard()
            self._cores.release()
            raise


class _Layers:
    """The layers of one image on their way: downloaded and extracted side by side, committed in order."""

    def __init__(
        self, engine: Engine, source: Mirrored | Archive, manifest: Manifest, config: ImageConfig, say: Report
    ) -> None:
        self._engine = engine
        self._store = engine.store
        self._source = source
        self._registry = source if isinstance(source, Mirrored) else None
        self._say = say
        self._threads = engine.settings.parallel_downloads
        self._cores = BoundedSemaphore(os.cpu_count() or 1)
        self._ending = Lock()
        self._stop = Event()
        self._cause: BaseException | None = None
        self.keeps = self._registry is None or not engine.settings.discard_blobs
        self._fetched: list[str] = []
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

    def discard_blobs(self) -> None:
        """Remove the blobs that were fetched for the layers, where the settings say so."""
        if not self.keeps:
            self._store.content.discard(self._fetched)

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
            with self._unpacking(lower) as unpacking:
                fetched = self._unpack(index, unpacking)
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
        """Bring one layer's blob and its draft, as far as they are not here already."""
        have_blob = self._store.content.has_blob(self._layers[index])
        if self._store.snapshots.has(self._chain[index]):
            if not have_blob and self.keeps:
                self._download(index, None)
            self._tell(index, "Already exists")
            return _Fetched(size=self._store.snapshots.size(self._chain[index]))
        layer = self._layers[index]
        # The writer's digest of a layer that is not packed is that of its content.
        proven = layer.digest if not have_blob and layer.digest == self._diff_ids[index] else ""
        with self._unpacking(proven=proven) as unpacking:
            if not have_blob:
                self._download(index, unpacking)
            try:
                return self._unpack(index, unpacking)
            except MissingTarget:
                return _Fetched(size=0, linked_below=True)

    def _unpacking(self, lower: Sequence[str] = (), proven: str = "") -> _Unpacking:
        return _Unpacking(self._engine, self._cores, lower, proven)

    def _download(self, index: int, unpacking: _Unpacking | None) -> None:
        """Fetch a layer's blob, from where an earlier try stopped; anew if that leads nowhere."""
        layer, resume = self._layers[index], self._registry is not None
        self._tell(index, "Pulling fs layer")
        while True:
            with self._store.content.ingest(layer, resume=resume) as writer:
                again = writer.offset > 0
                reader = self._open(layer, writer.offset)
                try:
                    self._receive(index, reader, writer, unpacking)
                except (Corrupt, InvalidArgument):
                    writer.abort()
                    if not (again or self._distrust(reader)):
                        raise
                    if unpacking is not None:
                        unpacking.stop()
                else:
                    self._fetched.append(layer.digest)
                    return
            resume = False

    def _open(self, layer: Descriptor, offset: int) -> BlobReader:
        # Unverified: the writer does that.
        source = self._source
        return source.fetch_blob(layer, offset) if isinstance(source, Mirrored) else source.fetch_blob(layer)

    def _distrust(self, reader: BlobReader) -> bool:
        return self._registry is not None and isinstance(reader, Relay) and self._registry.distrust(reader)

    def _receive(self, index: int, reader: BlobReader, writer: Writer, unpacking: _Unpacking | None) -> None:
        """Write what comes, and have it unpacked meanwhile; the writer verifies it."""
        layer = self._layers[index]
        with closing(reader):
            while piece := reader.read(_PIECE):
                self._go_on()
                writer.write(piece)
                if unpacking is not None:
                    unpacking.follow(writer.path)
                self._tell(index, "Downloading", writer.offset)
        writer.commit()
        self._tell(index, "Download complete", layer.size)

    def _unpack(self, index: int, unpacking: _Unpacking) -> _Fetched:
        """Have a layer unpacked to its end; what comes out must be what the image's config says."""
        layer = self._layers[index]
        self._go_on()
        self._tell(index, "Extracting")
        draft, applied = unpacking.finish(self._store.content.path(layer.digest))
        if applied.diff_id != self._diff_ids[index]:
            draft.discard()
            message = (
                f"layer {layer.digest}: its content is {applied.diff_id}, "
                f"the image's config says {self._diff_ids[index]}"
            )
            raise Corrupt(message)
        return _Fetched(size=applied.size, draft=draft, implied=applied.implied)
