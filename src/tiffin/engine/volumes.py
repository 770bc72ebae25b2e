"""The verbs of volumes."""

from __future__ import annotations

from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from tiffin.engine.copy import Outgoing
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

    def create(
        self, name: str = "", *, labels: Mapping[str, str] = EMPTY, options: Mapping[str, str] = EMPTY
    ) -> VolumeRecord:
        """Make a volume (a random name if none is given); one that is there already is returned.

        With the options `type`, `device` and `o` of mount(8) it is that file system, mounted for each
        container that has it, as long as it runs. Raises InvalidArgument for options that make no sense.
        """
        return self._store.volumes.create(name, labels=labels, options=options)

    def list(self, *, filters: Filters = EMPTY) -> tuple[VolumeRecord, ...]:
        """Return all volumes by name, or those that all filters let through."""
        from tiffin.engine.filters import volume_passes

        records = self._store.volumes.list()
        return tuple(r for r in records if volume_passes(self._store, r, filters)) if filters else records

    def rename(self, name: str, new: str) -> None:
        """Give a volume another name; raises Conflict if a container has it, or the name is taken."""
        self._store.volumes.rename(name, new)

    def clone(self, name: str, new: str) -> VolumeRecord:
        """Make a volume with what another holds now; raises Conflict for a name that is taken."""
        return clone(self._engine, name, new)

    def export(self, name: str, out: BinaryIO) -> None:
        """Write what a volume holds as a tar; containers may use it meanwhile."""
        with _reading(self._engine, self.get(name)) as outgoing:
            while data := outgoing.read():
                out.write(data)
            outgoing.finish()

    def import_tar(self, name: str, stream: BinaryIO) -> VolumeRecord:
        """Unpack a tar, compressed or not, into a volume, which is made if it is not there.

        What is in it already stays unless the tar has the same name. One that was made for this is removed
        again where the tar cannot be unpacked.
        """
        new = not any(record.name == name for record in self._store.volumes.list())
        record = self._store.volumes.ensure(name)
        try:
            _write(self._engine, record, stream)
        except BaseException:
            if new:
                self.remove(name)
            raise
        return record

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


def clone(engine: Engine, name: str, new: str, *, anonymous: bool = False) -> VolumeRecord:
    """Make a volume like another, with what that holds now."""
    volumes = engine.store.volumes
    source = volumes.get(name)
    made = volumes.add(new, labels=source.labels, options=source.options, anonymous=anonymous)
    try:
        if not source.options:
            with _reading(engine, source) as outgoing:
                _write(engine, made, outgoing)  # type: ignore[arg-type]
                outgoing.finish()
    except BaseException:
        engine.volumes.remove(new)
        raise
    return made


def _reading(engine: Engine, record: VolumeRecord) -> Outgoing:
    """Begin to archive a volume, by a visitor: a container may swap links in it under our hands."""
    from tiffin.engine import copy, visit

    request = {"verb": "give", "path": "/.", "name": record.name, "follow": False, "pattern": False}
    return copy.outgoing(
        lambda data: visit.in_folder(engine.settings.privilege, _folder(record), request, data)
    )


def _write(engine: Engine, record: VolumeRecord, stream: BinaryIO) -> None:
    from tiffin.engine import copy, visit

    request = {"verb": "take", "path": "/", "name": record.name, "owner": (), "rename": (), "whole": True}
    copy.feed(stream, lambda data: visit.in_folder(engine.settings.privilege, _folder(record), request, data))


def _folder(record: VolumeRecord) -> str:
    """Return where a volume's files are on this host."""
    from tiffin.errors import Unsupported

    if not record.options:
        return record.path
    if "bind" in record.options.get("o", "").split(","):
        return record.options["device"]
    message = f"the files of volume {record.name} are on {record.options['type']}"
    raise Unsupported(message, hint="they can be seen from a container only, and copied with tiffin cp")
