"""diff: what a container's own layer changes of its image."""

from __future__ import annotations

from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord


class Change(Value):
    """One path and what happened to it: C, A or D."""

    path: str
    kind: str


def changes(engine: Engine, record: ContainerRecord) -> tuple[Change, ...]:
    """Return all changes, sorted by path. Mount points and what lies in mounts are none."""
    found = engine.store.snapshots.changes(record.id, record.layers, record.own_layers)
    return tuple(Change(path=path, kind=kind) for path, kind in found)
