"""stop, kill and wait: all through the keeper, whose child the process is (no pid can be mistaken)."""

from __future__ import annotations

import time

from tiffin.engine.start import connect, until_exit
from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict, InvalidArgument, NotFound, NotModified, Unavailable
from tiffin.spec.signals import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.events import Event
    from tiffin.store.store import Store

_DEFAULT_TIMEOUT = 10
_KILL_GRACE = 30.0
"""Seconds that a killed process may take to be gone (it may hang in the kernel)."""


def stop(engine: Engine, record: ContainerRecord, *, timeout: int | None, signal: str) -> None:
    """Send the stop signal, wait, then kill; raises NotModified if the container does not run."""
    if not engine.store.containers.state(record.id).running:
        message = f"container {record.name} is not running"
        raise NotModified(message)
    if timeout is None:
        timeout = record.config.stop_timeout
    seconds = _DEFAULT_TIMEOUT if timeout is None else timeout
    wanted = number(signal or record.config.stop_signal or "SIGTERM")
    try:
        connection = connect(engine.store, record)
    except Conflict as error:
        raise NotModified(error.message) from error  # it ended between look and touch
    with connection:
        gone = _end(connection, record, wanted, None if seconds < 0 else seconds)
    if not gone:
        message = f"container {record.name}: tried to kill container, but did not receive an exit event"
        raise Conflict(message, hint="its process hangs in the kernel; see ps -o stat,wchan")
    engine.store.events.append("container", "stop", record.id, event_attributes(record))
    _forget(engine, record)


def _end(connection: Connection, record: ContainerRecord, signal: int, seconds: float | None) -> bool:
    """End the process, the hard way after some seconds; tell whether it has gone."""
    try:
        if record.host.restart_policy.name != "no":
            connection.stay_down()
        connection.kill(signal)
    except Conflict:
        return True  # it ended by itself, or was waiting for its next start
    if until_exit(connection, seconds) is not None:
        return True
    connection.send_kill(9)
    return until_exit(connection, _KILL_GRACE) is not None


def kill(engine: Engine, record: ContainerRecord, signal: str) -> None:
    """Send one signal; for KILL also wait until the process is gone."""
    try:
        wanted = number(signal)
    except InvalidArgument as error:
        message = f"cannot kill container: {record.name}: {error.message}"
        raise InvalidArgument(message, hint=error.hint) from error
    state = engine.store.containers.state(record.id)
    try:
        if not state.running:
            message = f"container {record.id} is not running"
            raise Conflict(message)
        connection = connect(engine.store, record)
    except (Conflict, NotFound) as error:
        message = f"cannot kill container: {record.name}: container {record.id} is not running"
        raise Conflict(message) from error
    with connection:
        connection.kill(wanted)
        if wanted == 9:
            until_exit(connection, _KILL_GRACE)
    if wanted == 9:
        _forget(engine, record)


def _forget(engine: Engine, record: ContainerRecord) -> None:
    """Remove a `--rm` container that was ended here, so that its name is free when the command returns."""
    if record.host.auto_remove:
        engine.containers.cleanup(record.id)


def ending(engine: Engine, record: ContainerRecord, condition: str, gone: int = -1) -> Callable[[], int]:
    """Return what waits for the exit code until a condition holds; what happens from now on counts.

    The condition is that it does not run, that its next run has ended, or that it is gone. Raises
    InvalidArgument for another word.
    """
    if condition not in {"not-running", "next-exit", "removed"}:
        raise InvalidArgument(f'invalid condition: "{condition}"')
    if condition == "not-running":
        return lambda: _until_down(engine.store, record, gone)
    since = f"{time.time_ns() / 1e9:.9f}"
    last = engine.store.containers.state(record.id).exit_code

    def told() -> int:
        code = last
        for event in _told(engine, record, since, removed=condition == "removed", gone=gone):
            if event.action == "die":
                code = int(event.attributes.get("exitCode", "0"))
            if event.action == "destroy" or (event.action == "die" and condition == "next-exit"):
                break
        return code

    return told


def _told(
    engine: Engine, record: ContainerRecord, since: str, *, removed: bool, gone: int
) -> Iterator[Event]:
    """Yield the events of a container from a moment on; none if it is to be removed and is so already."""
    if removed:
        try:
            engine.store.containers.get(record.id)
        except NotFound:
            return
    yield from engine.system.events(since=since, filters={"container": [record.id]}, gone=gone)


def _until_down(store: Store, record: ContainerRecord, gone: int) -> int:
    while True:
        state = store.containers.state(record.id)
        if not state.running:
            return state.exit_code
        try:
            connection = connect(store, record)
        except Conflict:
            # The keeper closes its socket a moment before or after the state is seen: look again.
            time.sleep(0.001)
            continue
        with connection:
            code = until_exit(connection, None, gone)
        if code is None:
            raise Unavailable("nobody waits any longer")
        if code >= 0:
            return code  # also of one that is started again by its policy
