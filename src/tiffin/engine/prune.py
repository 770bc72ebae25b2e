"""Prunes: first a plan (what would go, how many bytes, why), then exactly that, less what came into use.

A plan is made from one look at the store. Carrying it out asks again for each item, in the transaction that
removes it, whether it still is as it was: what was used, named or started meanwhile stays.
"""

from __future__ import annotations

import os
import time

from tiffin.engine import filters as filtering
from tiffin.engine.image_views import image_view
from tiffin.errors import Conflict, Forbidden, InvalidArgument, NotFound
from tiffin.spec import clock
from tiffin.spec.reference import Reference, familiar
from tiffin.spec.value import EMPTY, Value
from tiffin.store import atomic, gc
from tiffin.store.cachemounts import CacheMounts
from tiffin.store.usage import CONTAINER, IMAGE, STEP, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.errors import TiffinError
    from tiffin.spec.state import ContainerState
    from tiffin.store.cachemounts import CacheMount
    from tiffin.store.images import ImageRecord

VOLUME, LEFTOVER, NAME, NETWORK, CACHE = "volume", "leftover", "name", "network", "cache"
_CONTAINER_KEYS = frozenset({"label", "label!", "until", "unused-for"})
_NETWORK_KEYS = frozenset({"label", "label!", "until"})
_VOLUME_KEYS = frozenset({"all", "label", "label!"})
_CACHE_KEYS = frozenset({"until", "unused-for"})


class Doomed(Value):
    """One thing that would go.

    `kind`: image, name (of one that stays), container, volume, network, step, cache (mount), leftover.

    `size` are the bytes that its going frees, after those before it in the plan; `names` are what it is
    called, `last_used` is nanoseconds since 1970 (0: never, or not known), `mark` is what must still be so.
    """

    kind: str
    id: str
    size: int
    why: str
    names: tuple[str, ...] = ()
    last_used: int = 0
    mark: str = ""


class Plan(Value):
    """What a prune would do; `present` are the bytes of everything of the kinds that it looked at.

    `refused` are the errors that a removal by name would meet.
    """

    items: tuple[Doomed, ...]
    present: int = 0
    refused: tuple[TiffinError, ...] = ()

    @property
    def size(self) -> int:
        """The bytes that would be free."""
        return sum(item.size for item in self.items)


class Carried(Value):
    """What was done of a plan, and the bytes that this freed."""

    done: tuple[Doomed, ...]
    reclaimed: int

    def of(self, kind: str) -> tuple[Doomed, ...]:
        """Return what went of one kind."""
        return tuple(item for item in self.done if item.kind == kind)


class Planner:
    """Collects what would go; what an earlier step takes away counts as gone for the next."""

    def __init__(self, engine: Engine) -> None:
        """Look at the store, once."""
        self._store = engine.store
        self._usage = Usage(engine.store)
        self._now = time.time_ns()
        self._gone: set[str] = set()
        self._items: list[Doomed] = []
        self._present = 0

    def plan(self, *, leftovers: bool = True) -> Plan:
        """Return the plan, with what a sweep takes along because nothing refers to it."""
        if not leftovers:
            return Plan(items=tuple(self._items), present=self._present)
        left = [
            Doomed(kind=LEFTOVER, id=item.key, size=item.size, why=f"{item.kind} that nothing refers to")
            for item in gc.plan(self._store)
            if item.size
        ]
        return Plan(items=(*self._items, *left), present=self._present + sum(item.size for item in left))

    def containers(self, filters: Filters) -> None:
        """Add the containers that do not run."""
        self._check(filters, _CONTAINER_KEYS)
        for record in self._store.containers.list():
            state = self._store.containers.state(record.id)
            folder = atomic.tree_size(self._store.layout.container(record.id))
            self._present += folder
            used = max(moment(record.created), moment(state.finished_at))
            created = moment(record.created)
            if state.running or not self._passes(filters, record.config.labels, created, used):
                continue
            self._gone.add(record.id)
            why = "it was never started" if state.status == "created" else f"it {state.status}"
            size = folder + self._usage.release(CONTAINER, record.id)
            self._items.append(
                Doomed(
                    kind=CONTAINER,
                    id=record.id,
                    size=size,
                    why=why,
                    names=(record.name,),
                    last_used=used,
                    mark=_run_of(state),
                )
            )

    def volumes(self, *, every: bool, filters: Filters) -> None:
        """Add the volumes that no container has: anonymous ones, or `every` one."""
        self._check(filters, _VOLUME_KEYS)
        every = every or any(filtering.boolean(value, "all") for value in filters.get("all", ()))
        for record in self._store.volumes.list():
            size = self._store.volumes.usage(record.name)
            self._present += size
            users = set(self._store.volumes.users(record.name)) - self._gone
            if users or not (every or record.anonymous) or not self._passes(filters, record.labels, 0, 0):
                continue
            kind = "anonymous, and no" if record.anonymous else "no"
            self._items.append(
                Doomed(
                    kind=VOLUME,
                    id=record.name,
                    size=size,
                    why=f"{kind} container has it",
                    mark=record.created,
                )
            )

    def networks(self, filters: Filters) -> None:
        """Add the networks that no container has, running or not."""
        self._check(filters, _NETWORK_KEYS)
        used = {i for c in self._store.containers.list() if c.id not in self._gone for i in c.networks}
        for record in self._store.networks.list():
            created = moment(record.created)
            if record.predefined or record.id in used or not self._passes(filters, record.labels, created, 0):
                continue
            self._items.append(
                Doomed(kind=NETWORK, id=record.id, size=0, why="no container has it", names=(record.name,))
            )

    def images(self, *, every: bool, filters: Filters) -> None:
        """Add the images without a name, or `every` one that no container uses."""
        self._check(filters, filtering.PRUNE_KEYS)
        for value in filters.get("dangling", ()):
            every = every or not filtering.boolean(value, "dangling")
        store = self._store
        containers = store.containers.list()
        used = {record.image_id for record in containers if record.id not in self._gone}
        freed = {record.image_id for record in containers if record.id in self._gone}
        self._present += self._usage.held_by(IMAGE)
        for record in store.images.list():
            if record.id in used or (record.tags and not every):
                continue
            labels = store.images.config(record).config.labels
            created = filtering.created_ns(image_view(record))
            if not self._passes(filters, labels, created, record.last_used):
                continue
            self._items.append(
                Doomed(
                    kind=IMAGE,
                    id=record.id,
                    size=self._usage.release(IMAGE, record.id),
                    why="no container uses it" if record.tags else "it has no name",
                    names=(*record.tags, *record.digests),
                    last_used=record.last_used,
                    # The going of the plan's own containers is a use too.
                    mark=f"{'' if record.id in freed else record.last_used}\n{_names_of(record)}",
                )
            )

    def steps(self, *, every: bool, filters: Filters, keep: int = 0) -> None:
        """Add results of build steps, the longest unused first: those of no image, or `every` one.

        With `keep`, only until the build cache (what nothing else holds) has at most so many bytes.
        """
        self._check(filters, _CACHE_KEYS)
        present = self._usage.held_by(STEP, beside=(IMAGE, CONTAINER))
        caches = CacheMounts(self._store.layout.cache_mounts).list()
        present += sum(cache.size for cache in caches)
        self._present += present
        present = self._caches(caches, filters, present, keep)
        in_images = {chain for record in self._store.images.list() for chain in record.layers}
        for step in reversed(self._store.buildcache.list()):
            if keep and present <= keep:
                break
            shared = step.result.get("chain_id") in in_images
            if (shared and not every) or not self._passes(filters, EMPTY, step.last_used, step.last_used):
                continue
            size = self._usage.release(STEP, step.key)
            present -= size
            why = "all were asked for" if shared else "no image has it"
            self._items.append(
                Doomed(
                    kind=STEP,
                    id=step.key,
                    size=size,
                    why=why,
                    names=(text_of(step.ingredients),),
                    last_used=step.last_used,
                    mark=str(step.last_used),
                )
            )

    def _caches(self, caches: Sequence[CacheMount], filters: Filters, present: int, keep: int) -> int:
        """Add cache mounts, the longest unused first; return how much of the build cache stays."""
        for cache in caches:
            if keep and present <= keep:
                break
            if not self._passes(filters, EMPTY, cache.last_used, cache.last_used):
                continue
            present -= cache.size
            self._items.append(
                Doomed(
                    kind=CACHE,
                    id=cache.key,
                    size=cache.size,
                    why="builds make it anew",
                    names=(cache.name,),
                    last_used=cache.last_used,
                    mark=str(cache.last_used),
                )
            )
        return present

    def _check(self, filters: Filters, known: frozenset[str]) -> None:
        """Refuse filters that mean nothing, also where there is nothing to filter."""
        filtering.check(filters, known)
        for text in filters.get("until", ()):
            filtering.moment(text, self._now)
        for text in filters.get("unused-for", ()):
            filtering.span(text)

    def _passes(self, filters: Filters, labels: Mapping[str, str], created: int, used: int) -> bool:
        if not filtering.labels_match(labels, filters.get("label", ())):
            return False
        if any(filtering.labels_match(labels, [text]) for text in filters.get("label!", ())):
            return False
        if any(created >= filtering.moment(text, self._now) for text in filters.get("until", ())):
            return False
        return all(used <= self._now - filtering.span(text) for text in filters.get("unused-for", ()))


def moment(text: str) -> int:
    """Return a moment as nanoseconds since 1970, 0 for one that never was."""
    try:
        return max(0, clock.to_ns(text))
    except ValueError:
        return 0


def _run_of(state: ContainerState) -> str:
    return f"{state.status} {state.started_at} {state.finished_at}"


def _names_of(record: ImageRecord) -> str:
    return "\n".join((*record.tags, *record.digests))


def _is_as_it_was(record: ImageRecord, item: Doomed) -> bool:
    """Tell whether an image has the names, and the last use, that it had when the plan was made."""
    used, _, names = item.mark.partition("\n")
    return names == _names_of(record) and used in {"", str(record.last_used)}


def text_of(ingredients: Mapping[str, object]) -> str:
    """Return what a build step did, as far as its ingredients say."""
    if ingredients.get("kind") == "FAILED":
        return f"failed: {ingredients.get('text')}"
    argv = ingredients.get("argv")
    words = [str(ingredients.get("kind", "config"))]
    if isinstance(argv, list):
        words += map(str, argv)
    elif ingredients.get("destination"):
        words.append(str(ingredients["destination"]))
    return " ".join(words)


def carry_out(engine: Engine, plan: Plan) -> Carried:
    """Remove what a plan lists, as far as it is as it was; then sweep."""
    done, freed = _remove_all(engine, plan)
    return Carried(done=tuple(done), reclaimed=freed + sum(item.size for item in gc.sweep(engine.store)))


def remove_items(engine: Engine, plan: Plan) -> list[Doomed]:
    """Remove what a plan lists, as far as it is as it was, without a sweep; return what went."""
    return _remove_all(engine, plan)[0]


def _remove_all(engine: Engine, plan: Plan) -> tuple[list[Doomed], int]:
    done = []
    freed = 0
    for item in plan.items:
        remove = _REMOVALS.get(item.kind)  # leftovers are the sweep's
        size = remove(engine, item) if remove else None
        if size is not None:
            done.append(item)
            freed += size
    return done, freed


# Each removes one item and returns the bytes that it freed itself (the sweep counts the rest), or None if
# the item stays.


def _remove_container(engine: Engine, item: Doomed) -> int | None:
    from tiffin.engine.remove import remove

    store = engine.store
    try:
        record = store.containers.get(item.id)
        if _run_of(store.containers.state(item.id)) != item.mark:
            return None
        size = atomic.tree_size(store.layout.container(item.id))
        remove(engine, record, force=False, volumes=False)
    except (Conflict, NotFound):
        return None  # it was started, or removed, meanwhile
    return size


def _remove_volume(engine: Engine, item: Doomed) -> int | None:
    volumes = engine.store.volumes
    try:
        if volumes.get(item.id).created != item.mark:
            return None
        size = volumes.usage(item.id)
        volumes.remove(item.id)
    except (Conflict, NotFound):
        return None
    engine.store.events.append("volume", "destroy", item.id, {"driver": "local"})
    return size


def _remove_network(engine: Engine, item: Doomed) -> int | None:
    if any(item.id in record.networks for record in engine.store.containers.list()):
        return None  # a container was made meanwhile
    try:
        engine.networks.remove(item.id)
    except (Forbidden, NotFound):
        return None
    return 0


def _remove_image(engine: Engine, item: Doomed) -> int | None:
    store = engine.store
    try:
        store.images.remove_if(item.id, lambda record: _is_as_it_was(record, item))
    except (Conflict, NotFound):
        return None
    for name in item.names:
        store.events.append("image", "untag", item.id, {"name": familiar(name)})
    store.events.append("image", "delete", item.id, {})
    return 0


def _remove_step(engine: Engine, item: Doomed) -> int | None:
    return 0 if engine.store.buildcache.forget_unused(item.id, int(item.mark)) else None


def _remove_cache(engine: Engine, item: Doomed) -> int | None:
    caches = CacheMounts(engine.store.layout.cache_mounts)
    return item.size if caches.remove(item.id, int(item.mark)) else None


_REMOVALS = {
    CACHE: _remove_cache,
    CONTAINER: _remove_container,
    VOLUME: _remove_volume,
    NETWORK: _remove_network,
    IMAGE: _remove_image,
    STEP: _remove_step,
}


def system(engine: Engine, *, every: bool, volumes: bool, filters: Filters) -> Plan:
    """Plan a prune of everything: containers first, so that what only they used goes with them."""
    labels = {key: values for key, values in filters.items() if key.startswith("label")}
    if volumes and (filters.keys() - labels.keys()):
        key = min(filters.keys() - labels.keys())
        message = f'the "{key}" filter is not supported with "--volumes"'
        raise InvalidArgument(message)
    planner = Planner(engine)
    planner.containers(filters)
    if volumes:
        planner.volumes(every=False, filters=labels)
    planner.networks({key: values for key, values in filters.items() if key in _NETWORK_KEYS})
    planner.images(every=every, filters=filters)
    if not labels:  # a step has none
        planner.steps(every=every, filters=filters)
    return planner.plan()


def shown_name(item: Doomed) -> str:
    """Return what people call an item."""
    if item.kind in {IMAGE, NAME}:
        tags = [name for name in item.names if not Reference.parse(name).digest]
        return ", ".join(map(familiar, tags or item.names)) or "<none>"
    return ", ".join(item.names) or os.path.basename(item.id)
