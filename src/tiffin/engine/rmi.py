"""rmi and image prune: names first; an image goes with its last name, unless a container holds it."""

from __future__ import annotations

import time

from tiffin.engine import filters as filtering
from tiffin.engine.image_views import familiar, image_view, short_id
from tiffin.engine.images import Removed
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.images import ImageRecord


def remove(engine: Engine, name: str, *, force: bool, prune: bool) -> list[Removed]:
    """Remove what `name` says: one name, or (by id) the image with all its names."""
    record = engine.store.images.resolve(name)
    reference = _as_name(record, name)
    if reference is None:
        return _remove_by_id(engine, record, name, force=force, prune=prune)
    others = [n for n in record.tags if n != str(reference)]
    if not others and not force:
        _refuse_if_used(engine, record, reference.familiar_name, only_running=False)
    removed = [_untag(engine, record, str(reference))]
    if not others:
        removed += [_untag(engine, record, d) for d in record.digests if d != str(reference)]
        if not _users(engine, record):
            removed += _delete(engine, record, prune=prune)
    return removed


def _as_name(record: ImageRecord, name: str) -> Reference | None:
    """Return the reference if `name` is one of the image's names, None if it is an id."""
    try:
        reference = Reference.parse(name).tagged()
    except InvalidArgument:
        return None
    return reference if str(reference) in {*record.tags, *record.digests} else None


def _remove_by_id(
    engine: Engine, record: ImageRecord, name: str, *, force: bool, prune: bool
) -> list[Removed]:
    repositories = {Reference.parse(tag).name for tag in record.tags}
    if len(repositories) > 1 and not force:
        message = (
            f"conflict: unable to delete {name} (must be forced) - "
            "image is referenced in multiple repositories"
        )
        raise Conflict(message, hint="remove its names one by one, or use -f")
    _refuse_if_used(engine, record, name, only_running=force)
    removed = [_untag(engine, record, n) for n in (*record.tags, *record.digests)]
    if _users(engine, record):
        return removed  # forced: a stopped container still holds the layers
    return removed + _delete(engine, record, prune=prune)


def _untag(engine: Engine, record: ImageRecord, name: str) -> Removed:
    engine.store.images.untag(Reference.parse(name))
    engine.store.events.append("image", "untag", record.id, {"name": familiar(name)})
    return Removed(untagged=familiar(name))


def _users(engine: Engine, record: ImageRecord) -> list[ContainerRecord]:
    users = engine.store.images.users(record.id)
    return [engine.store.containers.get(container_id) for container_id in users]


def _refuse_if_used(engine: Engine, record: ImageRecord, name: str, *, only_running: bool) -> None:
    for container in _users(engine, record):
        running = engine.store.containers.state(container.id).running
        if only_running and not running:
            continue
        how, what = ("cannot be forced", "running ") if running else ("must be forced", "stopped ")
        by_id = name in record.id
        message = (
            f"conflict: unable to delete {short_id(record.id) if by_id else name} ({how}) - "
            f"image is being used by {what}container {container.id[:12]}"
            if by_id
            else f'conflict: unable to remove repository reference "{name}" (must force) - '
            f"container {container.id[:12]} is using its referenced image {short_id(record.id)}"
        )
        hint = f'container "{container.name}" uses it: remove that first'
        raise Conflict(message, hint=hint if running else f"{hint}, or untag with -f")


def _delete(engine: Engine, record: ImageRecord, *, prune: bool) -> list[Removed]:
    """Remove an image without names, then sweep what nothing refers to any more."""
    engine.store.images.remove(record.id)
    engine.store.events.append("image", "delete", record.id, {})
    gone = [Removed(deleted=record.id)]
    if prune:
        sweep(engine)
    return gone


def sweep(engine: Engine) -> int:
    """Remove from the store what nothing refers to any more; return the bytes that this freed."""
    from tiffin.store import gc

    return sum(item.size for item in gc.sweep(engine.store))


def prune(engine: Engine, *, every: bool, filters: Filters) -> tuple[list[Removed], int]:
    """Remove dangling images, or with `every` all that no container uses."""
    filtering.check(filters, filtering.PRUNE_KEYS)
    for value in filters.get("dangling", ()):
        every = every or not filtering.boolean(value, "dangling")
    store = engine.store
    used = {container.image_id for container in store.containers.list()}
    limits = [filtering.moment(text, time.time_ns()) for text in filters.get("until", ())]
    removed: list[Removed] = []
    for record in store.images.list():
        if record.id in used or (record.tags and not every):
            continue
        labels = store.images.config(record).config.labels
        view = image_view(record, labels=labels)
        if limits and filtering.created_ns(view) >= min(limits):
            continue
        if not filtering.labels_match(labels, filters.get("label", ())):
            continue
        if any(filtering.labels_match(labels, [text]) for text in filters.get("label!", ())):
            continue
        try:
            removed += [_untag(engine, record, n) for n in (*record.tags, *record.digests)]
            removed += _delete(engine, record, prune=False)
        except NotFound:
            continue  # another command was faster
    return removed, sweep(engine)
