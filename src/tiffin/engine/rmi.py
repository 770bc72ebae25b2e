"""rmi: names first; an image goes with its last name, unless a container holds it."""

from __future__ import annotations

from tiffin.engine.image_views import short_id
from tiffin.engine.images import Removed
from tiffin.errors import Conflict, InvalidArgument
from tiffin.spec.reference import Reference, familiar
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.images import ImageRecord


class Decision(Value):
    """Which names go, and whether the image goes with them; `stays` says why not."""

    names: tuple[str, ...]
    stays: str = ""

    @property
    def deletes(self) -> bool:
        """Whether the image goes."""
        return not self.stays


def remove(engine: Engine, name: str, *, force: bool, prune: bool) -> list[Removed]:
    """Remove what `name` says: one name, or (by id) the image with all its names."""
    record = engine.store.images.resolve(name)
    decision = decide(engine, record, name, force=force)
    removed = [_untag(engine, record, n) for n in decision.names]
    return removed + _delete(engine, record, prune=prune, force=force) if decision.deletes else removed


def decide(engine: Engine, record: ImageRecord, name: str, *, force: bool) -> Decision:
    """Return what goes when `name`, which leads to this image, is removed; raise docker's Conflicts."""
    reference = as_name(record, name)
    if reference is None:
        _check_removable(engine, record, force=force)
        names = [*record.tags, *record.digests]
    else:
        if not force and _is_single(record):
            _refuse_untagging(engine, record, name)
        names = _going_with(record, reference)
    if len(names) < len(record.tags) + len(record.digests):
        return Decision(names=tuple(names), stays="it has other names")
    users = [engine.store.containers.state(user.id) for user in _users(engine, record)]
    if any(state.running for state in users) or (users and not force):
        return Decision(names=tuple(names), stays="a container uses it")
    return Decision(names=tuple(names))


def as_name(record: ImageRecord, name: str) -> Reference | None:
    """Return the reference if `name` is one of the image's names, None if it is an id."""
    try:
        reference = Reference.parse(name).tagged()
    except InvalidArgument:
        return None
    return reference if str(reference) in {*record.tags, *record.digests} else None


def _going_with(record: ImageRecord, reference: Reference) -> list[str]:
    """Return what goes with a name: a repository's digests go with the last tag from it."""
    names = [str(reference)]
    if reference.digest or any(
        Reference.parse(tag).name == reference.name for tag in record.tags if tag not in names
    ):
        return names
    return names + [d for d in record.digests if Reference.parse(d).name == reference.name]


def _is_single(record: ImageRecord) -> bool:
    """Tell whether all names say the same: at most one tag, and digests of one repository, the tag's."""
    repositories = {Reference.parse(name).name for name in (*record.tags, *record.digests)}
    return len(record.tags) <= 1 and len(repositories) <= 1


def _check_removable(engine: Engine, record: ImageRecord, *, force: bool) -> None:
    _refuse_removal(engine, record, only_running=True)
    if force:
        return
    if not _is_single(record):
        message = (
            f"conflict: unable to delete {short_id(record.id)} (must be forced) - "
            "image is referenced in multiple repositories"
        )
        raise Conflict(message, hint="remove its names one by one, or use -f")
    _refuse_removal(engine, record, only_running=False)


def _untag(engine: Engine, record: ImageRecord, name: str) -> Removed:
    engine.store.images.untag(Reference.parse(name))
    engine.store.events.append("image", "untag", record.id, {"name": familiar(name)})
    return Removed(untagged=familiar(name))


def _users(engine: Engine, record: ImageRecord) -> list[ContainerRecord]:
    users = engine.store.images.users(record.id)
    return [engine.store.containers.get(container_id) for container_id in users]


def _refuse_removal(engine: Engine, record: ImageRecord, *, only_running: bool) -> None:
    """Raise docker's Conflict if a container (running, or any) uses an image that an id names."""
    for container in _users(engine, record):
        running = engine.store.containers.state(container.id).running
        if only_running and not running:
            continue
        how, what = ("cannot be forced", "running") if running else ("must be forced", "stopped")
        message = (
            f"conflict: unable to delete {short_id(record.id)} ({how}) - "
            f"image is being used by {what} container {container.id[:12]}"
        )
        hint = f'container "{container.name}" uses it: remove that first'
        raise Conflict(message, hint=hint if running else f"{hint}, or use -f")


def _refuse_untagging(engine: Engine, record: ImageRecord, name: str) -> None:
    """Raise docker's Conflict if a container uses an image that is about to lose its only name."""
    for container in _users(engine, record):
        message = (
            f'conflict: unable to remove repository reference "{name}" (must force) - '
            f"container {container.id[:12]} is using its referenced image {short_id(record.id)}"
        )
        raise Conflict(message, hint=f'container "{container.name}" uses it: remove that first, or use -f')


def _delete(engine: Engine, record: ImageRecord, *, prune: bool, force: bool = False) -> list[Removed]:
    """Remove an image without names, then sweep what nothing refers to any more.

    With `force` stopped containers lose it: their layers stay, so that they can be started again.
    """
    engine.store.images.remove(record.id, force=force)
    engine.store.events.append("image", "delete", record.id, {})
    gone = [Removed(deleted=record.id)]
    if prune:
        sweep(engine)
    return gone


def sweep(engine: Engine) -> int:
    """Remove from the store what nothing refers to any more; return the bytes that this freed."""
    from tiffin.store import gc

    return sum(item.size for item in gc.sweep(engine.store))
