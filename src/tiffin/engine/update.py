"""update: other limits and another restart policy, also for a container that runs."""

from __future__ import annotations

from tiffin.engine.create import check_host
from tiffin.engine.start import connect
from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict
from tiffin.runtime import limits
from tiffin.runtime.machine import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord


def update(engine: Engine, record: ContainerRecord, changes: dict[str, Any]) -> list[str]:
    """Change members of HostConfig (by their names there); return what the user should be warned of.

    What runs is changed first: limits that the kernel refuses are not recorded. Raises Conflict for
    those, and InvalidArgument for what cannot be.
    """
    host = record.host.replace(**changes)
    warnings = check_host(host, engine.settings.privilege, record.config)
    store = engine.store
    with store.containers.lock(record.id):
        if store.containers.state(record.id).running:
            wanted = limits.resources(host, Machine.here())
            with connect(store, record) as connection:
                if changes.keys() - {"restart_policy"} and wanted:
                    try:
                        connection.update(wanted)
                    except Conflict as error:
                        message = f"Cannot update container {record.id}: {error.message}"
                        raise Conflict(message) from error
                if "restart_policy" in changes:
                    policy = host.restart_policy
                    connection.set_policy(policy.name, policy.maximum_retry_count)
        store.containers.update(record.replace(host=host))
    store.events.append("container", "update", record.id, event_attributes(record))
    return warnings
