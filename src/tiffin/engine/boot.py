"""After a boot: no ghosts of what ran before, and what the restart policies want is started again."""

from __future__ import annotations

from tiffin.errors import NotModified, TiffinError
from tiffin.spec.state import NEVER
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.spec.state import ContainerState


class Revived(Value):
    """A container that its policy wants; `error` says why it could not be started, "" that it runs."""

    id: str
    name: str
    error: str = ""


def settle(engine: Engine) -> None:
    """Record how the runs ended that the last boot's end has cut off, and remove those of `--rm`."""
    allowed, containers = engine.settings.privilege, engine.store.containers
    containers.settle_reboot()
    for record in containers.list():
        if not record.host.auto_remove:
            continue
        state = containers.state(record.id)
        # A shutdown may leave the time to record an end, but not to remove what has ended.
        if state.running or state.started_at == NEVER:
            continue
        if allowed.rung == "root" or allowed.inside:
            engine.containers.cleanup(record.id)
        else:  # whatever this command is going to be, it stays outside of the user namespace
            engine.inside("containers.cleanup", record.id)


def start(engine: Engine) -> Iterator[Revived]:
    """Start every container that does not run and whose policy wants it to, in the order they were made."""
    store = engine.store
    for record in reversed(store.containers.list()):
        state = store.containers.state(record.id)
        if state.running or not _wanted(record.host.restart_policy.name, state):
            continue
        try:
            engine.containers.start(record.id).close()
        except NotModified:
            continue
        except (OSError, TiffinError) as error:
            yield Revived(id=record.id, name=record.name, error=getattr(error, "message", "") or str(error))
        else:
            yield Revived(id=record.id, name=record.name)


def _wanted(policy: str, state: ContainerState) -> bool:
    """Tell whether a policy wants a container to run that has ended so; one that never ran never does.

    `always` means it even where a user has stopped the container, as docker's does.
    """
    if state.started_at == NEVER:
        return False
    if policy == "on-failure":
        return state.exit_code != 0 and not state.stopped
    return policy == "always" or (policy == "unless-stopped" and not state.stopped)
