"""pause and unpause: all processes of a container at once, through its keeper."""

from __future__ import annotations

from tiffin.engine.start import connect
from tiffin.errors import Conflict, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord


def pause(engine: Engine, record: ContainerRecord) -> None:
    """Freeze a running container; raises Conflict in docker's words where that cannot be."""
    status = engine.store.containers.state(record.id).status
    if status == "paused":
        raise Conflict(f"Container {record.id} is already paused")
    if status == "restarting":
        raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
    if status != "running":
        raise Conflict(f"Container {record.id} is not running")
    if not engine.settings.privilege.cgroups:
        message = "pause needs cgroups, which this user cannot write"
        raise Unsupported(message, hint="tiffin doctor says what would give them")
    with connect(engine.store, record) as connection:
        connection.pause()


def unpause(engine: Engine, record: ContainerRecord) -> None:
    """Let a frozen container go on; raises Conflict if it is not frozen."""
    if engine.store.containers.state(record.id).status != "paused":
        raise Conflict(f"Container {record.id} is not paused")
    with connect(engine.store, record) as connection:
        connection.resume()
