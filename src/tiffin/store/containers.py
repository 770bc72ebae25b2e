"""Containers: their records (rows), their names, their locks, and their state from facts.

What is wanted stands in the row. What is so stands in small files that the keeper writes: `state` in
`layout.live(id)` while it lives, `state` in `layout.container(id)` once a run has ended (written
first, atomically). Both are the JSON of `ContainerState` with these members beside it:

    boot          the boot id under which it was written
    keeper        the keeper's pid
    keeper_start  its start time (field 22 of /proc/PID/stat)
    pid_start     the start time of the container's first process
"""

from __future__ import annotations

import posix

from tiffin.errors import Conflict, Corrupt, InvalidArgument, NotFound
from tiffin.spec import clock, jsontext
from tiffin.spec.state import NEVER, ContainerState
from tiffin.spec.value import EMPTY, Value
from tiffin.store import atomic
from tiffin.store.database import is_taken, now_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Any

    from tiffin.spec.container import ContainerConfig, HostConfig
    from tiffin.store.database import Database
    from tiffin.store.layout import Layout
    from tiffin.store.snapshots import Snapshots

KEEPER_LOST = "keeper lost"
CUT_OFF = "cut off by a reboot"
_STARTED = "config.json"
"""Written into a container's folder whenever it is started."""
_HEX = frozenset("0123456789abcdef")
_NAME_FIRST = _HEX | frozenset("ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NAME_REST = _NAME_FIRST | frozenset("_.-")
_FACTS = 1 << 16
"""More than a state file ever has (bytes); it is replaced whole, so one read sees all of it."""
_LOST = 255
"""The exit code of a container whose end nobody saw."""


class ContainerRecord(Value):
    """What a container was made as. `created` is RFC 3339; `name` has no slash.

    `layers` are chain ids, bottom first (kept by gc for as long as the record is there); `mounts` are
    the engine's resolved mounts as JSON objects, those of type `volume` with the volume's `name`;
    `networks` are the bridge networks that it is on, by id, as the API's EndpointSettings;
    `extra` is for what the engine wants to keep beside (JSON).
    """

    id: str
    name: str
    created: str
    image_id: str
    layers: tuple[str, ...]
    config: ContainerConfig
    host: HostConfig
    image_name: str = ""
    path: str = ""
    args: tuple[str, ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    networks: Mapping[str, Mapping[str, Any]] = EMPTY
    extra: Mapping[str, Any] = EMPTY

    @property
    def own_layers(self) -> int:
        """How many of the topmost layers are no image's: what it wrote before it was forked."""
        return int(self.extra.get("own_layers", 0))

    def to_json(self) -> dict[str, Any]:
        """Return what the row keeps (id, name, image and layers have columns of their own)."""
        return {
            "created": self.created,
            "config": self.config.stored(),
            "host": self.host.stored(),
            "image_name": self.image_name,
            "path": self.path,
            "args": self.args,
            "mounts": [dict(mount) for mount in self.mounts],
            "networks": {name: dict(endpoint) for name, endpoint in self.networks.items()},
            "extra": dict(self.extra),
        }

    @staticmethod
    def from_json(
        value: dict[str, Any], *, container_id: str, name: str, image_id: str, layers: tuple[str, ...]
    ) -> ContainerRecord:
        """Read what `to_json` wrote; members that a newer tiffin added are ignored."""
        from tiffin.spec.container import ContainerConfig, HostConfig  # lists do without

        return ContainerRecord(
            id=container_id,
            name=name,
            image_id=image_id,
            layers=layers,
            created=value["created"],
            config=ContainerConfig.from_json(value["config"]),
            host=HostConfig.from_json(value["host"]),
            image_name=value.get("image_name", ""),
            path=value.get("path", ""),
            args=tuple(value.get("args", ())),
            mounts=tuple(value.get("mounts", ())),
            networks=value.get("networks") or EMPTY,
            extra=value.get("extra") or EMPTY,
        )


class Containers:
    """The containers of a store."""

    def __init__(self, layout: Layout, database: Database, snapshots: Callable[[], Snapshots]) -> None:
        """Keep the records in that database and the folders below that layout."""
        self._layout = layout
        self._database = database
        self._snapshots = snapshots

    @staticmethod
    def new_id() -> str:
        """Return an unused id: 64 hex digits, the first twelve not all decimal (they would be a number)."""
        while True:
            text = posix.urandom(32).hex()
            if not text[:12].isdigit():
                return text

    # Changing

    def create(self, record: ContainerRecord) -> ContainerRecord:
        """Keep a new record, its name reserved and its image checked in the same transaction.

        A record without a name gets one. Returns the record as kept. Raises Conflict with docker's
        sentence if the name is taken, NotFound if the image went away meanwhile.
        """
        if record.name:
            check_name(record.name)
        with self._database.transaction():
            if record.image_id:
                self._use_image(record.image_id)
            if not record.name:
                record = record.replace(name=self._free_name())
            row = (
                *(record.id, record.name, now_ns(), record.image_id, "\n".join(record.layers)),
                jsontext.dumps(record.to_json()),
            )
            try:
                self._database.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?)", row)
            except Exception as error:
                if is_taken(error):
                    raise self._taken(record.name) from None
                raise
            self._note_volumes(record)
        return record

    def _use_image(self, image_id: str) -> None:
        changed = self._database.execute("UPDATE images SET last_used=? WHERE id=?", (now_ns(), image_id))
        if not changed:
            message = f"No such image: {image_id}"
            raise NotFound(message, hint="it was removed meanwhile")

    def _free_name(self) -> str:
        from tiffin.store.names import random_name

        for attempt in range(100):
            name = random_name(attempt)
            if self._database.one("SELECT 1 FROM containers WHERE name=?", (name,)) is None:
                return name
        return posix.urandom(16).hex()

    def check_free(self, name: str) -> None:
        """Raise Conflict with docker's sentence for a name that a container has."""
        if self._database.one("SELECT 1 FROM containers WHERE name=?", (name,)):
            raise self._taken(name)

    def _taken(self, name: str) -> Conflict:
        row = self._database.one("SELECT id FROM containers WHERE name=?", (name,))
        owner = row[0] if row else ""
        message = (
            f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )
        return Conflict(message, hint=f"tiffin rm {name}, or choose another --name")

    def _note_volumes(self, record: ContainerRecord) -> None:
        used = {mount.get("name") for mount in record.mounts if mount.get("type") == "volume"}
        for volume in used - {None, ""}:
            self._database.execute("INSERT OR IGNORE INTO volume_uses VALUES (?, ?)", (volume, record.id))

    def rename(self, container_id: str, name: str) -> None:
        """Give a container another name; raise Conflict with docker's sentence if it is taken."""
        check_name(name)
        with self._database.transaction():
            if self.get(container_id).name == name:
                message = "Renaming a container with the same name as its current name"
                raise InvalidArgument(message)
            try:
                self._database.execute("UPDATE containers SET name=? WHERE id=?", (name, container_id))
            except Exception as error:
                if is_taken(error):
                    raise self._taken(name) from None
                raise

    def update(self, record: ContainerRecord) -> None:
        """Keep a changed record (not its name: see `rename`); raise NotFound if it is gone."""
        with self._database.transaction():
            changed = self._database.execute(
                "UPDATE containers SET record=? WHERE id=?", (jsontext.dumps(record.to_json()), record.id)
            )
            if not changed:
                raise no_such_container(record.id)
            self._database.execute("DELETE FROM volume_uses WHERE container=?", (record.id,))
            self._note_volumes(record)

    def remove(self, container_id: str) -> None:
        """Forget a container, then remove its folder; raise NotFound if somebody else was faster.

        The row goes first: what a kill leaves after that is a folder without a row, which gc removes.
        """
        self.forget(container_id)
        atomic.delete_tree(self._layout.live(container_id))
        self._snapshots().remove(container_id)

    def forget(self, container_id: str) -> None:
        """Forget a container only: somebody else removes its folder. Raises NotFound."""
        self._snapshots().claim(container_id)
        with self._database.removing():
            self._database.execute(  # an image is in use for as long as it has containers
                "UPDATE images SET last_used=? WHERE id=(SELECT image FROM containers WHERE id=?)",
                (now_ns(), container_id),
            )
            if not self._database.execute("DELETE FROM containers WHERE id=?", (container_id,)):
                raise no_such_container(container_id)
            self._database.execute("DELETE FROM volume_uses WHERE container=?", (container_id,))

    # Finding

    def resolve(self, text: str) -> ContainerRecord:
        """Find a container by full id, name (with or without "/") or unique prefix of its id.

        Raises NotFound with docker's sentence, InvalidArgument if several ids start so.
        """
        columns = "SELECT id, name, image, layers, record FROM containers WHERE"
        row = self._database.one(f"{columns} id=?", (text,))
        if row is None:
            row = self._database.one(f"{columns} name=?", (text.removeprefix("/"),))
        if row is None and text and _HEX.issuperset(text):
            rows = self._database.query(f"{columns} id>=? AND id<? LIMIT 2", (text, text + "g"))
            if len(rows) > 1:
                message = f"multiple IDs found with provided prefix: {text}"
                raise InvalidArgument(message, hint="give more characters of the id")
            row = rows[0] if rows else None
        if row is None:
            raise no_such_container(text)
        return _record(row)

    def get(self, container_id: str) -> ContainerRecord:
        """Return the container of a full id; raise NotFound if it is not here."""
        row = self._database.one(
            "SELECT id, name, image, layers, record FROM containers WHERE id=?", (container_id,)
        )
        if row is None:
            raise no_such_container(container_id)
        return _record(row)

    def list(self) -> tuple[ContainerRecord, ...]:
        """Return every container, the newest first."""
        rows = self._database.query(
            "SELECT id, name, image, layers, record FROM containers ORDER BY created DESC, rowid DESC"
        )
        return tuple(map(_record, rows))

    def list_json(
        self, only: Collection[str] | None = None
    ) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Yield (id, name, image id, what `ContainerRecord.to_json` wrote), the newest first.

        For lists, which need little of each: whole records cost four times as much. With `only`, just
        those ids.
        """
        rows = self._database.query(
            "SELECT id, name, image, record FROM containers ORDER BY created DESC, rowid DESC"
        )
        for container_id, name, image_id, text in rows:
            if only is None or container_id in only:
                yield container_id, name, image_id, jsontext.load_object(text)

    def living(self) -> set[str]:
        """Return the ids that have a folder of facts: those that run, and some that just ended."""
        try:
            return set(posix.listdir(self._layout.living))
        except FileNotFoundError:
            return set()

    # Locks and facts

    def lock(self, container_id: str, *, blocking: bool = True) -> atomic.Lock:
        """Return the one lock under which a container's state changes, to be used as a context."""
        busy = f"container {container_id[:12]} is being changed by another command"
        return atomic.Lock(f"{self._layout.locks}/{container_id}", blocking=blocking, busy=busy)

    def keeper_lock(self, container_id: str, *, blocking: bool = True) -> atomic.Lock:
        """Return the lock that a keeper holds until mounts and folders are given back."""
        return atomic.Lock(self._layout.keeper_lock(container_id), blocking=blocking, busy="a keeper lives")

    def state(self, container_id: str, *, living: bool = True) -> ContainerState:
        """Return where a container is in its life, from the keeper's facts.

        `living` False says that its folder of the living was just seen to be missing: one look less. A
        run whose keeper is gone without a word, or that was cut off by a reboot, has exited with 255.
        """
        live = _facts(f"{self._layout.live(container_id)}/state") if living else None
        if live is not None and _keeper_lives(live):
            return _state(live)
        past = _facts(f"{self._layout.container(container_id)}/state")
        if live is not None and (past is None or past.get("started_at") != live.get("started_at")):
            return _lost(live)
        if past is None:
            return ContainerState()
        state = _state(past)
        if state.status in {"running", "paused", "restarting"} and not _keeper_lives(past):
            return _lost(past)
        return state

    def settle_reboot(self) -> None:
        """Record the end of every run that the last boot's end has cut off.

        A run that began after the last exit was recorded has not ended by itself. What a shutdown ended in
        good order has its record.
        """
        for (container_id,) in self._database.query("SELECT id FROM containers"):
            folder = self._layout.container(container_id)
            try:
                began = posix.stat(f"{folder}/{_STARTED}").st_mtime_ns
            except FileNotFoundError:
                continue  # it was never started
            past = _facts(f"{folder}/state")
            if past and past["written"] >= began and not _state(past).running:
                continue
            last = _facts(f"{self._layout.live(container_id)}/state") or past or {}
            if _keeper_lives(last):
                continue  # a command that came in between has started it already
            state = ContainerState(
                status="exited",
                exit_code=_LOST,
                error=CUT_OFF,
                started_at=clock.from_ns(began),
                finished_at=clock.now(),
            )
            atomic.write_file(f"{folder}/state", jsontext.dumps_bytes(state.to_json()))
            atomic.delete_tree(self._layout.live(container_id))


def check_name(name: str) -> str:
    """Return a container's name, or raise InvalidArgument with docker's sentence."""
    if len(name) < 2 or name[0] not in _NAME_FIRST or not _NAME_REST.issuperset(name):
        message = f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        raise InvalidArgument(message)
    return name


def no_such_container(text: str) -> NotFound:
    """Return docker's error for a name or id that is not here."""
    return NotFound(f"No such container: {text}", hint="`tiffin ps -a` shows all that there are")


def _record(row: tuple[Any, ...]) -> ContainerRecord:
    container_id, name, image_id, layers, text = row
    return ContainerRecord.from_json(
        jsontext.loads(text),
        container_id=container_id,
        name=name,
        image_id=image_id,
        layers=tuple(layers.split("\n")) if layers else (),
    )


def _facts(path: str) -> dict[str, Any] | None:
    """Read a keeper's state file; the moment of its last change is put beside as `written`."""
    # A list does this for each container: the bare calls cost a third of a file object's.
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        raw = posix.read(descriptor, _FACTS)
        written = posix.fstat(descriptor).st_mtime_ns
    finally:
        posix.close(descriptor)
    try:
        facts = jsontext.load_object(raw)
    except Corrupt:
        facts = {"status": "running"}  # a power cut emptied it: that run ended then, unseen
    facts["written"] = written
    return facts


def _keeper_lives(facts: dict[str, Any]) -> bool:
    keeper, start = facts.get("keeper"), facts.get("keeper_start")
    if facts.get("boot") != atomic.boot_id() or not isinstance(keeper, int) or not isinstance(start, int):
        return False
    return atomic.start_time(keeper) == start != 0


def _state(facts: dict[str, Any]) -> ContainerState:
    return ContainerState.from_json(facts)


def _lost(facts: dict[str, Any]) -> ContainerState:
    """Return how a run ended whose keeper could not say so; its last word's moment stands for the end."""
    state = _state(facts)
    if state.status in {"exited", "dead", "created"}:
        return state
    return state.replace(
        status="exited",
        pid=0,
        exit_code=_LOST,
        error=KEEPER_LOST,
        finished_at=clock.from_ns(facts["written"]) if state.finished_at == NEVER else state.finished_at,
    )
