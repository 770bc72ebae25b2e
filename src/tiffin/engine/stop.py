"""stop, kill and wait: all through the keeper, whose child the process is (no pid can be mistaken)."""

from __future__ import annotations

import time

from tiffin.engine.start import connect, until_exit
from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict, InvalidArgument, NotFound, NotModified
from tiffin.spec.signals import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord
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
        connection.kill(wanted)
        gone = until_exit(connection, None if seconds < 0 else seconds)
        if not gone:
            connection.send_kill(9)
            gone = until_exit(connection, _KILL_GRACE)
    if not gone:
        message = f"container {record.name}: tried to kill container, but did not receive an exit event"
        raise Conflict(message, hint="its process hangs in the kernel; see ps -o stat,wchan")
    engine.store.events.append("container", "stop", record.id, event_attributes(record))
    _forget(engine, record)


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
    engine.store.events.append(
        "container", "kill", record.id, {**event_attributes(record), "signal": str(wanted)}
    )
    if wanted == 9:
        _forget(engine, record)


def _forget(engine: Engine, record: ContainerRecord) -> None:
    """Remove a `--rm` container that was ended here, so that its name is free when the command returns."""
    if record.host.auto_remove:
        engine.containers.cleanup(record.id)


def wait(store: Store, record: ContainerRecord) -> int:
    """Return the exit code once the container does not run."""
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
            until_exit(connection, None)
