"""ps: one query, one small read per container, and the filters."""

from __future__ import annotations

from tiffin.engine.views import container_view
from tiffin.store.containers import KEEPER_LOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.engine.views import ContainerView


def list_containers(
    engine: Engine, *, every: bool, filters: Filters, last: int, size: bool
) -> list[ContainerView]:
    """Return the containers that are asked for, newest first."""
    store = engine.store
    every = every or last > 0 or "status" in filters or "exited" in filters
    living = store.containers.living()
    views = []
    seen = set()
    for container_id, name, image_id, record in store.containers.list_json(None if every else living):
        seen.add(container_id)
        state = store.containers.state(container_id, living=container_id in living)
        if container_id in living and not state.running:
            from tiffin.engine import lost  # hardly ever

            lost.settle_idle(engine, container_id)
        if state.error == KEEPER_LOST and record["host"].get("AutoRemove"):
            engine.containers.cleanup(container_id)  # nobody else is left to do it
            continue
        if every or state.running or state.status == "restarting":
            views.append(container_view(container_id, name, image_id, record, state))
    for container_id in living - seen:
        _forget(engine, container_id)
    if filters:
        from tiffin.engine import filters as filtering

        views = filtering.containers(
            views,
            filters,
            image_id=lambda name: store.images.resolve(name).id,
            image_family=engine.images.family,
        )
    if last > 0:
        views = views[:last]
    if size:
        views = [_with_size(engine, view) for view in views]
    return views


def _forget(engine: Engine, container_id: str) -> None:
    """Clean up after a keeper that was killed when the container's record had gone already."""
    from tiffin.engine import lost
    from tiffin.errors import Conflict

    try:
        with engine.store.containers.lock(container_id, blocking=False) as lock:
            if lost.settle(engine, container_id):
                engine.containers.cleanup(container_id)
            lock.remove()
    except Conflict:
        return


def _with_size(engine: Engine, view: ContainerView) -> ContainerView:
    own = engine.containers.size(view.id)
    return view.replace(size_rw=own, size_root=own + engine.images.size(view.image_id))
