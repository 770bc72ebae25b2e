"""build: the three roles that a build is given, played by the engine: images, commands, the result's name."""

from __future__ import annotations

from tiffin.build import entry
from tiffin.build.events import StepDone
from tiffin.build.named import LAYOUT
from tiffin.build.roles import BaseImage, Layer, Options
from tiffin.engine.assemble import assemble, built_layer
from tiffin.engine.create import check_host, find_image
from tiffin.engine.steprunner import Runner
from tiffin.errors import InvalidArgument, Unsupported
from tiffin.spec.container import ContainerConfig
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from tiffin.build.checking import Checked
    from tiffin.build.events import BuildEvent
    from tiffin.build.repositories import Checkout
    from tiffin.build.roles import Built
    from tiffin.engine.engine import Engine
    from tiffin.spec.image import ImageConfig


def build(
    engine: Engine,
    context: str | BinaryIO | None,
    *,
    dockerfile: str,
    file: str,
    tags: Sequence[str],
    options: Options,
    progress: Callable[[BuildEvent], None] | None,
    annotations: Mapping[str, str] = EMPTY,
) -> Built:
    """Build an image and name it; see `Images.build`."""
    names = [_tag(tag) for tag in tags]  # before anything is built
    if options.host != Options().host:  # where nothing can run, what runs nothing can be built
        check_host(options.host, engine.settings.privilege, ContainerConfig())
    if options.network not in {"default", "none", "host"}:
        message = f"network {options.network} not found"
        raise Unsupported(
            message, hint="a build's commands are on the default network, on the host's, or on none"
        )

    def tell(event: BuildEvent) -> None:
        if isinstance(event, StepDone) and event.layer and not event.cached:
            engine.keepers.prepare()  # what follows is not cached either: a RUN will want one
        if progress is not None:
            progress(event)

    return entry.build(
        engine.store,
        context,
        images=_Images(engine),
        runner=Runner(engine, options.host),
        exporter=_Exporter(engine, names, annotations),
        dockerfile=dockerfile,
        file=file,
        options=options,
        progress=tell,
    )


def check(
    engine: Engine, context: str | BinaryIO | None, *, dockerfile: str, file: str, options: Options
) -> Checked:
    """Check a Dockerfile instead of building it; see `Images.check`."""
    return entry.check(
        engine.store,
        context,
        images=_Images(engine),
        runner=Runner(engine),
        dockerfile=dockerfile,
        file=file,
        options=options,
    )


def _tag(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest:
        message = f'invalid argument "{text}" for "-t, --tag" flag: cannot name an image by a digest'
        raise InvalidArgument(message)
    return reference.tagged()


class _Images:
    """Resolves FROM and COPY --from: what is here, else (or always, with --pull) from the registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def resolve(self, reference: str, platform: Platform, *, pull: bool) -> BaseImage:
        """Return the image with its layers, those that came from a registry with their blobs."""
        store = self._engine.store
        fetched = False

        def note(_progress: object) -> None:
            nonlocal fetched
            fetched = True

        if reference.startswith(LAYOUT):
            from tiffin.engine.archives import load_layout

            reference = load_layout(self._engine, reference.removeprefix(LAYOUT))
        wanted = "" if platform == Platform.here() else str(platform)
        record = find_image(
            self._engine,
            reference,
            platform=wanted,
            pull="always" if pull else "missing",
            progress=note,
        )
        store.images.touch(record.id)
        manifest, config = store.images.manifest(record), store.images.config(record)
        layers = []
        for diff_id, chain_id, descriptor in zip(
            config.diff_ids, record.layers, manifest.layers, strict=True
        ):
            store.snapshots.has(chain_id)  # takes it into this build's lease
            size = store.snapshots.size(chain_id)
            layers.append(Layer(diff_id=diff_id, chain_id=chain_id, size=size, blob=descriptor))
        return BaseImage(name=reference, config=config, layers=tuple(layers), fetched=fetched)

    def fetch(self, url: str, place: str) -> int:
        """Write what a URL gives to a new file."""
        from tiffin.engine.fetching import fetch

        return fetch(self._engine.settings, url, place)

    def clone(self, wanted: Checkout, folder: str) -> str:
        """Check a repository out, with the machine's git."""
        from tiffin.engine.cloning import clone

        return clone(self._engine.settings, wanted, folder)


class _Exporter:
    """Makes the result an image: config, manifest, names, in one durable commit."""

    def __init__(self, engine: Engine, names: Sequence[Reference], annotations: Mapping[str, str]) -> None:
        self._engine = engine
        self._annotations = annotations
        self._names = names

    def export(self, config: ImageConfig, layers: tuple[Layer, ...]) -> str:
        """Commit and return the image id. Built layers stay uncompressed until a push wants them."""
        store = self._engine.store
        descriptors = [layer.blob or built_layer(store, layer.diff_id, layer.chain_id) for layer in layers]
        size = sum(layer.size for layer in layers)
        record = assemble(
            store, config, descriptors, size=size, tags=self._names, annotations=self._annotations
        )
        store.events.append("image", "build", record.id, {"name": record.id})
        return record.id
