"""build: the three roles that a build is given, played by the engine: images, commands, the result's name."""

from __future__ import annotations

import os

from tiffin.build import entry
from tiffin.build.events import StepDone
from tiffin.build.roles import BaseImage, Layer, RunResult
from tiffin.engine.assemble import assemble, built_layer
from tiffin.engine.bundle import start_request
from tiffin.engine.create import check_namespaces, find_image
from tiffin.engine.start import launch, until_closed
from tiffin.engine.streams import communicate
from tiffin.errors import InvalidArgument, Unavailable, Unsupported
from tiffin.keeper import frames
from tiffin.spec import clock
from tiffin.spec.container import ContainerConfig, HostConfig, LogConfig
from tiffin.spec.mount import Mount
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import EMPTY
from tiffin.store.containers import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, BinaryIO

    from tiffin.build.checking import Checked
    from tiffin.build.events import BuildEvent
    from tiffin.build.repositories import Checkout
    from tiffin.build.roles import Built, Options, Output, RunRequest
    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection
    from tiffin.spec.image import ImageConfig

_CLEANUP_SECONDS = 30.0
_APT_CONFIG = "/dev/tiffin-apt.conf"


def build(
    engine: Engine,
    context: str | BinaryIO | None,
    *,
    dockerfile: str,
    file: str,
    tags: Sequence[str],
    options: Options,
    progress: Callable[[BuildEvent], None] | None,
) -> Built:
    """Build an image and name it; see `Images.build`."""
    names = [_tag(tag) for tag in tags]  # before anything is built
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
        runner=_Runner(engine),
        exporter=_Exporter(engine, names),
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
        runner=_Runner(engine),
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


class _Runner:
    """Runs a RUN as a container of its own that has no record and leaves nothing but its upper folder."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: set[Connection] = set()

    def cancel(self) -> None:
        """Kill what runs now; each step then ends by itself, in its own thread."""
        for connection in tuple(self._running):
            connection.send_kill(9)

    def run(self, request: RunRequest, output: Output) -> RunResult:
        """Run to the end; the result's draft is what the command changed."""
        check_namespaces(self._engine.settings.privilege)
        store = self._engine.store
        record = self._record(request)
        store.snapshots.prepare(record.id, request.layers)
        try:
            record = self._with_files(record, request)
            code = self._with_mounts(record, request, output)
            draft = store.snapshots.adopt_upper(record.id) if code == 0 else None
            if draft and self._engine.settings.privilege.records_owners:
                from tiffin.store.copyup import keep_owners

                keep_owners(store.stack(request.layers), draft.path)
        finally:
            store.snapshots.remove(record.id)
        return RunResult(exit_code=code, draft=draft)

    def _record(self, request: RunRequest) -> ContainerRecord:
        container_id = self._engine.store.containers.new_id()
        host, networks = self._network(request.network)
        return ContainerRecord(
            id=container_id,
            name=f"build-{container_id[:12]}",
            created=clock.now(),
            image_id="",
            layers=request.layers,
            config=ContainerConfig(
                hostname="buildkitsandbox",
                user=request.user,
                env=request.env,
                cmd=request.argv,
                working_dir=request.cwd,
            ),
            host=host,
            networks=networks,
        )

    def _network(self, mode: str) -> tuple[HostConfig, Mapping[str, Mapping[str, Any]]]:
        """Return how a command is on a network; an ordinary user has no bridges, and uses the host's."""
        if mode == "default":
            mode = "bridge" if self._engine.settings.privilege.rung == "root" else "host"
        host = HostConfig(network_mode=mode, log_config=LogConfig(type="none"))
        if mode != "bridge":
            return host, EMPTY
        from tiffin.engine import wiring

        return host, wiring.endpoints(self._engine, host, EMPTY)

    def _with_files(self, record: ContainerRecord, request: RunRequest) -> ContainerRecord:
        """Put the files that the command needs beside its bundle and mount them."""
        folder = self._engine.store.layout.container(record.id)
        mounts = []
        files, config = [*request.files], record.config
        if self._engine.settings.privilege.records_owners:
            # apt checks that it has become another user, and there is none. /dev is no part of the layer.
            files.append((_APT_CONFIG, b'APT::Sandbox::User "root";\n'))
            config = config.replace(env=(f"APT_CONFIG={_APT_CONFIG}", *config.env))
        for number, (path, data) in enumerate(files):
            source = f"{folder}/file-{number}"
            with open(source, "wb") as stream:
                stream.write(data)
            os.chmod(source, 0o755)  # noqa: S103 - it is executed, by whatever user the step runs as
            mounts.append(Mount(type="bind", source=source, target=path, read_only=True))
        if not mounts:
            return record
        from tiffin.engine.mounts import resolve

        points = tuple(resolve(self._engine, mount).to_json() for mount in mounts)
        return record.replace(mounts=points, config=config)

    def _with_mounts(self, record: ContainerRecord, request: RunRequest, output: Output) -> int:
        if not request.mounts:
            return self._to_end(record, output)
        from tiffin.engine.stepmounts import points

        with points(self._engine.store.layout.step_secrets, request.mounts) as found:
            mounts = (*record.mounts, *(point.to_json() for point in found))
            return self._to_end(record.replace(mounts=mounts), output)

    def _to_end(self, record: ContainerRecord, output: Output) -> int:
        attach = frames.STDOUT | frames.STDERR
        request = start_request(self._engine, record, attach=attach, size=(0, 0), lenient=True)
        request = request.replace(bound=True, discard=(request.bundle,))
        numbers = {"stdout": 1, "stderr": 2}
        with launch(self._engine, request) as connection:
            self._running.add(connection)
            try:
                code = communicate(connection, b"", lambda stream, data: output(numbers[stream], data))
            except BaseException:
                # Ctrl-C, or nobody reads the output any more: the step ends with the build.
                connection.send_kill(9)
                until_closed(connection, _CLEANUP_SECONDS)
                raise
            finally:
                self._running.discard(connection)
            if not until_closed(connection, _CLEANUP_SECONDS):
                message = "the step has ended, but its mounts could not be given back"
                raise Unavailable(message)
        return code


class _Exporter:
    """Makes the result an image: config, manifest, names, in one durable commit."""

    def __init__(self, engine: Engine, names: Sequence[Reference]) -> None:
        self._engine = engine
        self._names = names

    def export(self, config: ImageConfig, layers: tuple[Layer, ...]) -> str:
        """Commit and return the image id. Built layers stay uncompressed until a push wants them."""
        store = self._engine.store
        descriptors = [layer.blob or built_layer(store, layer.diff_id, layer.chain_id) for layer in layers]
        size = sum(layer.size for layer in layers)
        record = assemble(store, config, descriptors, size=size, tags=self._names)
        store.events.append("image", "build", record.id, {"name": record.id})
        return record.id
