"""The verbs of volumes."""

from __future__ import annotations

from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.engine.prune import Plan
    from tiffin.store.volumes import VolumeRecord


class VolumesPruned(Value):
    """What a prune removed (names), and how many bytes that freed."""

    removed: tuple[str, ...]
    reclaimed: int


class Volumes:
    """Named and anonymous volumes of one engine (the local driver)."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._store = engine.store

    def create(self, name: str = "", *, labels: Mapping[str, str] = EMPTY) -> VolumeRecord:
        """Make a volume (a random name if none is given); one that is there already is returned."""
        return self._store.volumes.create(name, labels=labels)

    def list(self) -> tuple[VolumeRecord, ...]:
        """Return all volumes by name."""
        return self._store.volumes.list()

    def get(self, name: str) -> VolumeRecord:
        """Return one; raises NotFound."""
        return self._store.volumes.get(name)

    def remove(self, name: str) -> None:
        """Remove one and its files; raises Conflict while a container uses it."""
        if self._engine.outside():
            self._engine.inside("volumes.remove", name)
        else:
            self._store.volumes.remove(name)

    def plan_remove(self, names: Sequence[str], *, force: bool = False) -> Plan:
        """Return what removing these would do, and what it would meet; `force` skips missing ones."""
        if self._engine.outside():
            return self._engine.inside("volumes.plan_remove", names, force=force)  # type: ignore[no-any-return]
        from tiffin.engine.removal import Removal

        plan = Removal(self._engine)
        return plan.each(names, lambda name: plan.volume(name, force=force))

    def forget(self, names: Sequence[str]) -> None:
        """Remove those of the volumes that are anonymous and belong to no container any more."""
        if self._engine.outside():
            self._engine.inside("volumes.forget", names)
            return
        for name in names:
            self._store.volumes.remove_if_anonymous(name)

    def plan_prune(self, *, all: bool = False, filters: Filters = EMPTY) -> Plan:
        """Return what a prune would remove: anonymous volumes that no container has, or `all` such."""
        if self._engine.outside():
            return self._engine.inside("volumes.plan_prune", all=all, filters=filters)  # type: ignore[no-any-return]
        from tiffin.engine.prune import Planner

        planner = Planner(self._engine)
        planner.volumes(every=all, filters=filters)
        return planner.plan()

    def prune(
        self, *, all: bool = False, filters: Filters = EMPTY, plan: Plan | None = None
    ) -> VolumesPruned:
        """Remove anonymous volumes that no container has, or `all` such, or those of a plan."""
        if self._engine.outside():
            return self._engine.inside("volumes.prune", all=all, filters=filters, plan=plan)  # type: ignore[no-any-return]
        from tiffin.engine.prune import VOLUME, carry_out

        carried = carry_out(self._engine, plan or self.plan_prune(all=all, filters=filters))
        removed = tuple(item.id for item in carried.of(VOLUME))
        return VolumesPruned(removed=removed, reclaimed=carried.reclaimed)
