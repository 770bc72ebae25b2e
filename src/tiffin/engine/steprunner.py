"""The commands of a build: each in a container of its own that has no record, and is gone afterwards."""

from __future__ import annotations

import contextlib
import os

from tiffin.build.roles import RunResult
from tiffin.engine import stepmounts
from tiffin.engine.bundle import start_request
from tiffin.engine.create import check_namespaces
from tiffin.engine.start import launch, until_closed
from tiffin.engine.streams import communicate
from tiffin.errors import InvalidArgument, Unavailable
from tiffin.keeper import frames
from tiffin.spec import clock
from tiffin.spec.container import ContainerConfig, DeviceRequest, HostConfig, LogConfig
from tiffin.spec.mount import Mount
from tiffin.spec.value import EMPTY
from tiffin.store.containers import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tiffin.build.roles import Output, RunRequest
    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection

_CLEANUP_SECONDS = 30.0
_NO_HOST = HostConfig()
_APT_CONFIG = "/dev/tiffin-apt.conf"


class Runner:
    """Runs a RUN as a container of its own that has no record and leaves nothing but its upper folder."""

    def __init__(self, engine: Engine, host: HostConfig = _NO_HOST) -> None:
        """Run in an engine's store; `host` has names of hosts and limits."""
        self._engine = engine
        self._host = host
        self._running: set[Connection] = set()

    def cancel(self) -> None:
        """Kill what runs now; each step then ends by itself, in its own thread."""
        for connection in tuple(self._running):
            connection.send_kill(9)

    def run(self, request: RunRequest, output: Output) -> RunResult:
        """Run to the end; the result's draft is what the command changed, however it ended."""
        numbers = {"stdout": 1, "stderr": 2}
        store = self._engine.store
        with self._container(request) as record:
            attach = frames.STDOUT | frames.STDERR
            with self.started(request, record, attach=attach) as connection:
                code = communicate(connection, b"", lambda stream, data: output(numbers[stream], data))
            draft = store.snapshots.adopt_upper(record.id)
            privilege = self._engine.settings.privilege
            if privilege.records_owners:
                from tiffin.store.copyup import keep_owners

                keep_owners(store.stack(request.layers), draft.path, privilege.xattr)
        return RunResult(exit_code=code, draft=draft)

    @contextlib.contextmanager
    def opened(
        self, request: RunRequest, *, stdin: bool, tty: bool, size: tuple[int, int] = (0, 0)
    ) -> Iterator[Connection]:
        """Start a command that somebody talks with; what it changes is gone at the end."""
        attach = frames.STDOUT | frames.STDERR | (frames.STDIN if stdin else 0)
        with self._container(request) as record:
            config = record.config.replace(tty=tty, open_stdin=stdin, stdin_once=stdin)
            talking = record.replace(config=config)
            with self.started(request, talking, attach=attach, size=size) as connection:
                yield connection

    @contextlib.contextmanager
    def _container(self, request: RunRequest) -> Iterator[ContainerRecord]:
        """Yield a container without a record, whose folder is there until the end."""
        check_namespaces(self._engine.settings.privilege)
        snapshots = self._engine.store.snapshots
        record = self._record(request)
        snapshots.prepare(record.id, request.layers)
        try:
            yield self._with_files(record, request)
        finally:
            snapshots.remove(record.id)

    @contextlib.contextmanager
    def started(
        self, request: RunRequest, container: ContainerRecord, *, attach: int, size: tuple[int, int] = (0, 0)
    ) -> Iterator[Connection]:
        """Start a container with its mounts; at the end, however it comes, all is given back."""
        with contextlib.ExitStack() as held:
            layout = self._engine.store.layout
            private = held.enter_context(stepmounts.private(layout.step_secrets))
            if request.mounts:
                found = held.enter_context(stepmounts.points(private, request.mounts))
                mounts = (*container.mounts, *(point.to_json() for point in found))
                container = container.replace(mounts=mounts)
            # A secret may be a variable, which stands in the bundle: that is no matter for a disk.
            asked = start_request(
                self._engine, container, attach=attach, size=size, lenient=True, place=private
            )
            folders = (layout.container(container.id), private)
            connection = held.enter_context(launch(self._engine, asked.replace(bound=True, discard=folders)))
            self._running.add(connection)
            try:
                yield connection
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

    def _record(self, request: RunRequest) -> ContainerRecord:
        container_id = self._engine.store.containers.new_id()
        host, networks = self._network(request.network)
        if request.insecure or request.devices:
            host = host.replace(privileged=request.insecure, device_requests=_devices(request))
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
        """Return how a command is on a network; by default an ordinary user's uses the host's."""
        if mode == "default":
            mode = "bridge" if self._engine.settings.privilege.rung == "root" else "host"
        host = self._host.replace(network_mode=mode, log_config=LogConfig(type="none"))
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


def _devices(request: RunRequest) -> tuple[DeviceRequest, ...]:
    """Return the devices that a step gets; one that is not there and not required is left out."""
    from tiffin.runtime import cdi

    found = []
    for name, required in request.devices:
        wanted = DeviceRequest(driver="cdi", device_ids=(name,))
        try:
            cdi.edits([wanted])
        except InvalidArgument:
            if required:
                raise
            continue
        found.append(wanted)
    return tuple(found)
