"""The short end of a `--rm` container: on the path of every `run --rm`, so it imports next to nothing."""

from __future__ import annotations

from tiffin.engine.views import event_attributes
from tiffin.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection
    from tiffin.store.containers import ContainerRecord


def forget(engine: Engine, container_id: str, connection: Connection) -> None:
    """Take away an ended `--rm` container's record; its keeper removes the folder once it is unmounted.

    If we are killed before the acknowledgement, the keeper starts the command that does `cleanup`.
    """
    containers = engine.store.containers
    try:
        with containers.lock(container_id) as lock:
            record = containers.get(container_id)
            containers.forget(container_id)
            lock.remove()
    except NotFound:
        return  # another command was faster
    remove_anonymous(engine, record)
    engine.store.events.append("container", "destroy", record.id, event_attributes(record))
    connection.acknowledge()


def remove_anonymous(engine: Engine, record: ContainerRecord) -> None:
    """Remove the anonymous volumes of a container that is gone."""
    names = [mount["name"] for mount in record.mounts if mount["type"] == "volume"]
    if names:
        engine.volumes.forget(names)
