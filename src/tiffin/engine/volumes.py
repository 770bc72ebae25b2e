"""The verbs of volumes."""

from __future__ import annotations

from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.store.volumes import VolumeRecord


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

    def forget(self, names: Sequence[str]) -> None:
        """Remove those of the volumes that are anonymous and belong to no container any more."""
        if self._engine.outside():
            self._engine.inside("volumes.forget", names)
            return
        for name in names:
            self._store.volumes.remove_if_anonymous(name)
