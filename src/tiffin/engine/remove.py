"""rm, prune, and the cleanup that a keeper asks for when nobody else is there to do it."""

from __future__ import annotations

import time

from tiffin.engine import filters as filtering
from tiffin.engine import lost
from tiffin.engine.forget import remove_anonymous
from tiffin.engine.start import connect, until_closed
from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict, NotFound, Unavailable
from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.store.containers import ContainerRecord


def remove(engine: Engine, record: ContainerRecord, *, force: bool, volumes: bool) -> str:
    """Remove a container: its process (if `force`), its record, then its folder. Returns its id."""
    store = engine.store
    state = store.containers.state(record.id)
    if state.running and not force:
        article = "paused" if state.status == "paused" else "running"
        advice = "unpause and then stop" if article == "paused" else "stop"
        message = (
            f'cannot remove container "{record.name}": container is {article}: '
            f"{advice} the container before removing or force remove"
        )
        raise Conflict(message)
    _end(engine, record)
    with store.containers.lock(record.id) as lock:
        if store.containers.state(record.id).running:
            message = f'cannot remove container "{record.name}": it was started again meanwhile'
            raise Conflict(message)
        if record.id in store.containers.living():
            with store.containers.keeper_lock(record.id) as leaving:  # its keeper may still be at it
                lost.settle(engine, record.id)
                leaving.remove()
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


def _end(engine: Engine, record: ContainerRecord) -> None:
    """Kill the process if there is one, and wait until the keeper has given everything back."""
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


def prune(engine: Engine, filters: Filters) -> tuple[tuple[str, ...], int]:
    """Remove what does not run and passes the filters; return ids and bytes."""
    filtering.check(filters, frozenset({"label", "label!", "until"}))
    store = engine.store
    removed: list[str] = []
    reclaimed = 0
    for record in store.containers.list():
        running = store.containers.state(record.id).running
        if running or not _prunable(record.config.labels, record.created, filters):
            continue
        size = store.snapshots.usage(record.id)
        try:
            remove(engine, record, force=False, volumes=False)
        except (Conflict, NotFound):
            continue  # it was started, or removed, meanwhile
        removed.append(record.id)
        reclaimed += size
    return tuple(removed), reclaimed


def _prunable(labels: Mapping[str, str], created: str, filters: Filters) -> bool:
    if not filtering.labels_match(labels, filters.get("label", ())):
        return False
    if any(filtering.labels_match(labels, [text]) for text in filters.get("label!", ())):
        return False
    limits = [filtering.moment(text, time.time_ns()) for text in filters.get("until", ())]
    return not limits or clock.to_ns(created) < min(limits)
