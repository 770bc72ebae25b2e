"""rm, and the cleanup that a keeper asks for when nobody else is there to do it."""

from __future__ import annotations

import os

from tiffin.engine.forget import remove_anonymous
from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict, NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.spec.state import ContainerState
    from tiffin.store.containers import ContainerRecord


def remove(engine: Engine, record: ContainerRecord, *, force: bool, volumes: bool) -> str:
    """Remove a container: its process (if `force`), its record, then its folder. Returns its id."""
    store = engine.store
    check(record, store.containers.state(record.id), force=force)
    _end(engine, record)
    with store.containers.lock(record.id) as lock:
        if record.id in store.containers.living():
            _settle(engine, record)
        try:
            store.containers.remove(record.id)
        except NotFound:
            return record.id  # another command was faster
        finally:
            lock.remove()
    if volumes or record.host.auto_remove:
        remove_anonymous(engine, record)
    store.events.append("container", "destroy", record.id, event_attributes(record))
    return record.id


def check(record: ContainerRecord, state: ContainerState, *, force: bool) -> None:
    """Raise docker's Conflict for a container that runs, unless it may be killed."""
    if state.running and not force:
        advice = "unpause and then stop" if state.status == "paused" else "stop"
        message = (
            f'cannot remove container "{record.name}": container is {state.status}: '
            f"{advice} the container before removing or force remove"
        )
        raise Conflict(message)


def _settle(engine: Engine, record: ContainerRecord) -> None:
    """Wait for a keeper that is leaving, finish what a killed one left; raise Conflict for one that stays."""
    from tiffin.engine import lost

    containers = engine.store.containers
    state = containers.state(record.id)
    try:
        # One that says "running" and has no lock any more is just dying.
        with containers.keeper_lock(record.id, blocking=not state.running) as leaving:
            lost.settle(engine, record.id, alone=True)
            leaving.remove()
    except Conflict as error:
        message = f'cannot remove container "{record.name}": it was started again meanwhile'
        raise Conflict(message) from error


def _end(engine: Engine, record: ContainerRecord) -> None:
    """Kill the process if there is one, and wait until the keeper has given everything back."""
    if not os.path.isdir(engine.store.layout.live(record.id)):
        return  # most that are removed have ended: what talks to a keeper is a third of the work
    from tiffin.engine.start import connect, until_closed

    try:
        connection = connect(engine.store, record)
    except Conflict:
        return
    from contextlib import suppress  # 0.7 ms, and only `rm -f` of what runs comes here

    with connection:
        with suppress(Conflict, Unavailable):  # it ended meanwhile
            connection.kill(9)
        if not until_closed(connection, 30.0):
            message = f"could not kill container {record.name}: its process hangs in the kernel"
            raise Conflict(message)


def cleanup(engine: Engine, container_id: str) -> None:
    """Remove an ended `--rm` container, or the folder of one whose record is gone already."""
    try:
        record = engine.store.containers.get(container_id)
    except NotFound:
        engine.store.snapshots.remove(container_id)
        return
    if record.host.auto_remove and not engine.store.containers.state(record.id).running:
        remove(engine, record, force=False, volumes=True)
