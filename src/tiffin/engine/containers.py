"""The verbs of containers: one method each, the longer stories in a file of their own."""

from __future__ import annotations

from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict, InvalidArgument
from tiffin.spec.container import HostConfig
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from tiffin.engine.changes import Change
    from tiffin.engine.commit import CommitRequest
    from tiffin.engine.copy import Outgoing, PathStat, Write
    from tiffin.engine.engine import Engine
    from tiffin.engine.exec import ExecRequest
    from tiffin.engine.filters import Filters
    from tiffin.engine.logs import LogEntry
    from tiffin.engine.prune import Plan
    from tiffin.engine.stats import Stats
    from tiffin.engine.top import Table
    from tiffin.engine.views import ContainerView
    from tiffin.keeper.client import Connection
    from tiffin.spec.container import ContainerConfig
    from tiffin.spec.network import EndpointConfig
    from tiffin.spec.state import ContainerState
    from tiffin.store.containers import ContainerRecord

_NO_HOST = HostConfig()


class Created(Value):
    """A new container's id, and what the user should know about it."""

    id: str
    warnings: tuple[str, ...] = ()


class Pruned(Value):
    """What a prune removed (ids), and how many bytes that freed."""

    removed: tuple[str, ...]
    reclaimed: int


class Containers:
    """Containers of one engine. Names are names, ids, or unique prefixes of ids everywhere."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._store = engine.store

    def create(
        self,
        config: ContainerConfig,
        host: HostConfig = _NO_HOST,
        *,
        name: str = "",
        platform: str = "",
        pull: str = "missing",
        networks: Mapping[str, EndpointConfig] = EMPTY,
        progress: Callable[[Any], None] | None = None,
    ) -> Created:
        """Make a container of `config.image` without starting it.

        `pull` is always, missing or never. `networks` say how it is on `host.network_mode`, and on others.
        Raises NotFound (no such image), Conflict (name taken) and
        InvalidArgument (anything about the request that cannot be).
        """
        from tiffin.engine.create import create

        return create(
            self._engine,
            config,
            host,
            name=name,
            platform=platform,
            pull=pull,
            networks=networks,
            progress=progress,
        )

    def get(self, name: str) -> ContainerRecord:
        """Return a container's record; raises NotFound."""
        return self._store.containers.resolve(name)

    def state(self, name: str) -> ContainerState:
        """Return where a container is in its life."""
        return self._store.containers.state(self.get(name).id)

    def list(
        self,
        *,
        all: bool = False,
        filters: Filters = EMPTY,
        last: int = 0,
        size: bool = False,
    ) -> tuple[ContainerView, ...]:
        """Return containers, newest first: the running ones, or all (also with a status filter).

        `last` limits to the newest few of all. With `size` each says its own bytes and its image's.
        """
        if size and self._engine.outside():
            return self._engine.inside(  # type: ignore[no-any-return]
                "containers.list", all=all, filters=filters, last=last, size=size
            )
        from tiffin.engine.listing import list_containers

        return tuple(list_containers(self._engine, every=all, filters=filters, last=last, size=size))

    def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """Return docker's JSON of a container."""
        if size and self._engine.outside():
            return self._engine.inside("containers.inspect", name, size=size)  # type: ignore[no-any-return]
        from tiffin.engine.views import container_inspect

        record = self.get(name)
        state, driver = self._store.containers.state(record.id), self._engine.settings.driver
        shown = container_inspect(record, state, self._store.layout, driver)
        if not record.host.runtime:
            shown["HostConfig"]["Runtime"] = self._engine.system.runtime().rpartition("/")[2]
        if state.running:
            shown["ExecIDs"] = self._execs(record) or None
        if size:
            own = self.size(record.id)
            shown |= {"SizeRw": own, "SizeRootFs": own + self._engine.images.size(record.image_id)}
        return shown

    def size(self, name: str) -> int:
        """Return the bytes of what a container wrote since it was made of its image."""
        record = self.get(name)
        layers = record.layers[len(record.layers) - record.own_layers :]
        return self._store.snapshots.usage(record.id) + sum(map(self._store.snapshots.size, layers))

    def _execs(self, record: ContainerRecord) -> Sequence[str]:
        """Return the ids of the further processes that run in a container."""
        from tiffin.engine.start import connect

        try:
            with connect(self._store, record) as connection:
                return connection.execs()
        except Conflict:
            return ()  # it has just ended

    def start(
        self, name: str, *, attach: bool = False, stdin: bool = False, size: tuple[int, int] = (0, 0)
    ) -> Connection:
        """Start a created or stopped container and return the connection to its keeper.

        With `attach` every byte it prints comes over the connection from the first on; with `stdin`
        what is sent reaches it. `size` is the terminal's (rows, columns). Raises NotModified if it
        runs already, StartFailed with docker's exit code if its process cannot start.
        """
        from tiffin.engine.start import start

        return start(self._engine, self.get(name), attach=attach, stdin=stdin, size=size)

    def connect(self, name: str) -> Connection:
        """Connect to a running container's keeper; raises Conflict if it does not run."""
        from tiffin.engine.start import connect

        return connect(self._store, self.get(name))

    def attach(self, name: str, *, stdin: bool = False) -> Connection:
        """Connect to a running container's output from now on, and its input if `stdin`."""
        from tiffin.engine.start import connect

        record = self.get(name)
        state = self._store.containers.state(record.id)
        if state.status == "paused":
            message = "You cannot attach to a paused container, unpause it first"
            raise Conflict(message)
        if state.status == "restarting":
            message = "You cannot attach to a restarting container, wait until it is running"
            raise Conflict(message)
        if not state.running:
            message = "You cannot attach to a stopped container, start it first"
            raise Conflict(message)
        connection = connect(self._store, record)
        connection.attach(stdin=stdin, stdout=True, stderr=True)
        return connection

    def stop(self, name: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Ask the process to end, kill it after `timeout` seconds (its own, else 10; -1 waits forever).

        Raises NotModified if it does not run.
        """
        from tiffin.engine.stop import stop

        stop(self._engine, self.get(name), timeout=timeout, signal=signal)

    def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a signal, by name with or without SIG, or by number; raises Conflict if it is not running."""
        from tiffin.engine.stop import kill

        kill(self._engine, self.get(name), signal)

    def restart(self, name: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Stop it if it runs, then start it; raises Conflict for one that is removed when it stops."""
        record = self.get(name)
        if self._store.containers.state(record.id).running:
            if record.host.auto_remove:
                message = f"cannot restart container {record.name}: it is removed when it stops (--rm)"
                raise Conflict(message, hint="stop it and run it again, or run it without --rm")
            self.stop(record.id, timeout=timeout, signal=signal)
        self.start(record.id).close()
        self._store.events.append("container", "restart", record.id, event_attributes(record))

    def wait(self, name: str, *, condition: str = "not-running") -> int:
        """Wait and return the exit code: `not-running` (at once if it is not), `next-exit`, `removed`."""
        return self.ending(name, condition=condition)()

    def ending(self, name: str, *, condition: str = "not-running", gone: int = -1) -> Callable[[], int]:
        """Return what waits for the exit code as `wait` does; what happens before it is called counts too.

        It waits no longer when the other side of the socket `gone` has left: its answer means nothing.
        """
        from tiffin.engine.stop import ending

        return ending(self._engine, self.get(name), condition, gone)

    def pause(self, name: str) -> None:
        """Freeze all its processes; raises Conflict if it does not run or is frozen already."""
        from tiffin.engine.freeze import pause

        pause(self._engine, self.get(name))

    def unpause(self, name: str) -> None:
        """Let a frozen container go on; raises Conflict if it is not frozen."""
        from tiffin.engine.freeze import unpause

        unpause(self._engine, self.get(name))

    def top(self, name: str, arguments: Sequence[str] = ()) -> Table:
        """Return its processes as the host's `ps` shows them, with `ps`'s own arguments."""
        from tiffin.engine.top import top

        return top(self._engine, self.get(name), arguments)

    def diff(self, name: str) -> tuple[Change, ...]:
        """Return what was changed (C), added (A) and deleted (D) since it was made, sorted by path."""
        if self._engine.outside():
            return self._engine.inside("containers.diff", name)  # type: ignore[no-any-return]
        from tiffin.engine.changes import changes

        return changes(self._engine, self.get(name))

    def stats(self, *names: str, all: bool = False, gone: int = -1) -> Iterator[Sequence[Stats]]:
        """Yield what containers use, once a second: the named ones, those that run, or all.

        Ends at once when the other side of the socket `gone` has left.
        """
        from tiffin.engine.stats import watch

        return watch(self._engine, names, every=all, gone=gone)

    def update(self, name: str, **changes: Any) -> Sequence[str]:
        """Change limits or the restart policy (members of HostConfig), also of one that runs.

        Returns warnings; raises Conflict where the kernel refuses a limit.
        """
        from tiffin.engine.update import update

        return update(self._engine, self.get(name), changes)

    def rename(self, name: str, new: str) -> None:
        """Give another name; raises Conflict if it is taken."""
        record = self.get(name)
        new = new.removeprefix("/")
        if not new:
            message = "Neither old nor new names may be empty"
            raise InvalidArgument(message)
        self._store.containers.rename(record.id, new)
        if record.networks and self._store.containers.state(record.id).running:
            with self.connect(record.id) as connection:
                connection.network("rename", old=record.name, new=new)
        self._store.events.append(
            "container", "rename", record.id, {"name": new, "oldName": f"/{record.name}"}
        )

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> str:
        """Remove a container and what it wrote; `force` kills it first; `volumes` takes its anonymous ones.

        Returns the id. Raises Conflict if it runs and `force` is not given.
        """
        if self._engine.outside():
            return self._engine.inside("containers.remove", name, force=force, volumes=volumes)  # type: ignore[no-any-return]
        from tiffin.engine.remove import remove

        return remove(self._engine, self.get(name), force=force, volumes=volumes)

    def plan_remove(self, names: Sequence[str], *, force: bool = False, volumes: bool = False) -> Plan:
        """Return what removing these would do, and the errors that it would meet."""
        if self._engine.outside():
            return self._engine.inside("containers.plan_remove", names, force=force, volumes=volumes)  # type: ignore[no-any-return]
        from tiffin.engine.removal import Removal

        plan = Removal(self._engine)
        return plan.each(names, lambda name: plan.container(name, force=force, volumes=volumes))

    def plan_prune(self, *, filters: Filters = EMPTY) -> Plan:
        """Return what a prune would remove: the containers that do not run."""
        if self._engine.outside():
            return self._engine.inside("containers.plan_prune", filters=filters)  # type: ignore[no-any-return]
        from tiffin.engine.prune import Planner

        planner = Planner(self._engine)
        planner.containers(filters)
        return planner.plan()

    def prune(self, *, filters: Filters = EMPTY, plan: Plan | None = None) -> Pruned:
        """Remove all containers that do not run, or those of a plan that did not run since."""
        if self._engine.outside():
            return self._engine.inside("containers.prune", filters=filters, plan=plan)  # type: ignore[no-any-return]
        from tiffin.engine.prune import carry_out
        from tiffin.store.usage import CONTAINER

        carried = carry_out(self._engine, plan or self.plan_prune(filters=filters))
        removed = tuple(item.id for item in carried.of(CONTAINER))
        return Pruned(removed=removed, reclaimed=carried.reclaimed)

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int = -1,
        since: str = "",
        until: str = "",
        stdout: bool = True,
        stderr: bool = True,
        gone: int = -1,
    ) -> Iterator[LogEntry]:
        """Yield what it printed, oldest first; `tail` last lines (-1 all); `follow` until it stops.

        Following ends at once when the other side of the socket `gone` has left.
        """
        from tiffin.engine.logs import read

        record = self.get(name)
        return read(
            self._store,
            record,
            follow=follow,
            tail=tail,
            since=since,
            until=until,
            stdout=stdout,
            stderr=stderr,
            gone=gone,
        )

    def exec(self, name: str, request: ExecRequest) -> Connection:
        """Start a process in a running container and return its connection (output, exit, input)."""
        from tiffin.engine.exec import execute

        return execute(self._engine, self.get(name), request)

    def stat_path(self, name: str, path: str) -> PathStat:
        """Return what lies at a path of a container, running or not; raises NotFound."""
        from tiffin.engine.copy import stat_path

        return stat_path(self._engine, self.get(name), path, name=name)

    def copy_out(self, name: str, path: str, *, follow: bool = False, pattern: bool = False) -> Outgoing:
        """Begin to archive a file or folder of a container, running or not; close what is returned.

        `path` may end with `/.`: the content of a folder. With `follow` a symbolic link at its end is
        followed; with `pattern` one that names nothing may have `*`, `?` and `[...]` in it. Raises NotFound.
        """
        from tiffin.engine.copy import copy_out

        return copy_out(self._engine, self.get(name), path, name=name, follow=follow, pattern=pattern)

    def copy_into(
        self,
        name: str,
        path: str,
        archive: BinaryIO | Callable[[Write], object],
        *,
        owner: tuple[int, int] | None = None,
    ) -> int:
        """Unpack an archive into a folder of a container, running or not; return its files' bytes.

        `archive` is a stream (of a tar, compressed or not) or a function that is given one to write with.
        Owners are those of the archive unless `owner` says another. Raises NotFound if there is no such
        folder, InvalidArgument if it is none, Forbidden if it is read-only, Conflict where a folder would
        take the place of something else or the other way round.
        """
        from tiffin.engine.copy import copy_into

        return copy_into(self._engine, self.get(name), path, archive, name=name, owner=owner)

    def export(self, name: str, out: BinaryIO) -> None:
        """Write a container's file system as a tar; it may run meanwhile."""
        if self._engine.outside():
            self._engine.inside("containers.export", name, out)
            return
        from tiffin.engine.export import export

        export(self._engine, self.get(name), out)

    def commit(self, name: str, request: CommitRequest) -> str:
        """Make an image of what a container wrote over its image; return the image's id."""
        if self._engine.outside():
            return self._engine.inside("containers.commit", name, request)  # type: ignore[no-any-return]
        from tiffin.engine.commit import commit

        return commit(self._engine, self.get(name), request)

    def fork(self, name: str, n: int = 1, *, new: str = "") -> tuple[str, ...]:
        """Make `n` containers whose files start as this one's are now, and return their ids.

        Copy on write: they share what it wrote. `new` is the name of one, or the beginning of several. What
        runs stands still for a moment. Raises Conflict for a name that is taken.
        """
        if self._engine.outside():
            return self._engine.inside("containers.fork", name, n, new=new)  # type: ignore[no-any-return]
        from tiffin.engine.fork import fork

        return fork(self._engine, self.get(name), n=n, name=new)

    def forget(self, container_id: str, connection: Connection) -> None:
        """Remove an ended `--rm` container whose exit came over this connection; its keeper helps."""
        from tiffin.engine.forget import forget

        forget(self._engine, container_id, connection)

    def cleanup(self, container_id: str) -> None:
        """Remove an ended `--rm` container and what is left of it (its keeper's last request)."""
        if self._engine.outside():
            self._engine.inside("containers.cleanup", container_id)
            return
        from tiffin.engine.remove import cleanup

        cleanup(self._engine, container_id)
