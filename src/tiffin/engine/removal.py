"""What rm, rmi and volume rm would do, as a plan: what goes in their order, and the bytes that this frees.

The decisions are those of the removals themselves (`rmi.decide`, `remove.check`); what an earlier name of
the same command takes counts as gone for the next, and a name that is refused does not end it.
"""

from __future__ import annotations

from tiffin.engine import remove, rmi
from tiffin.engine.prune import NAME, VOLUME, Doomed, Plan, moment
from tiffin.errors import Conflict, InvalidArgument, NotFound, TiffinError
from tiffin.spec.reference import Reference
from tiffin.store import atomic
from tiffin.store.images import no_such_image
from tiffin.store.usage import CONTAINER, IMAGE, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.store.images import ImageRecord


class Removal:
    """Collects what a command would remove, name after name; `each` keeps the errors that it would meet."""

    def __init__(self, engine: Engine) -> None:
        """Look at the store, once."""
        self._engine = engine
        self._store = engine.store
        self._usage = Usage(engine.store)
        self._gone: set[str] = set()
        self._items: list[Doomed] = []

    def each(self, names: Iterable[str], add: Callable[[str], object]) -> Plan:
        """Return the plan that `add` makes of these names."""
        refused = []
        for name in names:
            try:
                add(name)
            except TiffinError as error:
                refused.append(error)
        return Plan(items=tuple(self._items), refused=tuple(refused))

    def container(self, name: str, *, force: bool, volumes: bool) -> None:
        """Add a container, and its anonymous volumes where they go with it."""
        store = self._store
        record = self._engine.containers.get(name)
        if record.id in self._gone:
            return
        state = store.containers.state(record.id)
        remove.check(record, state, force=force)
        self._gone.add(record.id)
        folder = atomic.tree_size(store.layout.container(record.id))
        self._items.append(
            Doomed(
                kind=CONTAINER,
                id=record.id,
                size=folder + self._usage.release(CONTAINER, record.id),
                why="it is killed first" if state.running else "it was named",
                names=(record.name,),
                last_used=max(moment(record.created), moment(state.finished_at)),
            )
        )
        if volumes or record.host.auto_remove:
            for mount in record.mounts:
                if mount["type"] == "volume":
                    self._anonymous(mount["name"])

    def _anonymous(self, name: str) -> None:
        users = set(self._store.volumes.users(name)) - self._gone
        if not users and name not in self._gone and self._store.volumes.get(name).anonymous:
            self._volume(name, "anonymous, and its container goes")

    def volume(self, name: str, *, force: bool) -> None:
        """Add a volume; with `force` a missing one is fine."""
        try:
            self._store.volumes.get(name)
        except NotFound:
            if force:
                return
            raise
        if users := self._store.volumes.users(name):
            message = f"remove {name}: volume is in use - [{', '.join(users)}]"
            raise Conflict(message, hint="remove these containers first")
        if name not in self._gone:
            self._volume(name, "it was named")

    def _volume(self, name: str, why: str) -> None:
        self._gone.add(name)
        self._items.append(Doomed(kind=VOLUME, id=name, size=self._store.volumes.usage(name), why=why))

    def image(self, name: str, *, force: bool, prune: bool) -> None:
        """Add names of an image, and the image if they are its last and nothing holds it."""
        record = self._left_of(self._store.images.resolve(name))
        if record.id in self._gone or self._was_named(name):
            raise no_such_image(name)
        decision = rmi.decide(self._engine, record, name, force=force)
        self._gone.update(decision.names)
        if not decision.deletes:
            self._items += [
                Doomed(
                    kind=NAME,
                    id=record.id,
                    size=0,
                    why=f"the image stays: {decision.stays}",
                    names=(gone,),
                    last_used=record.last_used,
                )
                for gone in decision.names
            ]
            return
        self._gone.add(record.id)
        self._items.append(
            Doomed(
                kind=IMAGE,
                id=record.id,
                size=self._usage.release(IMAGE, record.id) if prune else 0,
                why="it was named" if prune else "it was named; its layers stay until a prune",
                names=decision.names,
                last_used=record.last_used,
            )
        )

    def _left_of(self, record: ImageRecord) -> ImageRecord:
        def left(names: Sequence[str]) -> tuple[str, ...]:
            return tuple(name for name in names if name not in self._gone)

        return record.replace(tags=left(record.tags), digests=left(record.digests))

    def _was_named(self, name: str) -> bool:
        """Tell whether this is a name that an earlier word of the command takes away."""
        try:
            return str(Reference.parse(name).tagged()) in self._gone
        except InvalidArgument:
            return False
