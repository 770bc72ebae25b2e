"""Networks: their records. What is up, and who is on it, are facts (see `network.living`)."""

from __future__ import annotations

import posix

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec import clock, jsontext
from tiffin.spec.network import Pool
from tiffin.spec.value import EMPTY, Value
from tiffin.store.database import is_taken, now_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.store.database import Database

_HEX = frozenset("0123456789abcdef")
_NAME_FIRST = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NAME_REST = _NAME_FIRST | frozenset("_.-")
PREDEFINED = ("bridge", "host", "none")
"""The networks that every store has."""


class NetworkRecord(Value):
    """What a network was made as. With `automatic` nobody chose its IPv4 subnet.

    `options` are docker's driver options; `only_config` is one that others copy (`from_config`).
    """

    id: str
    name: str
    created: str
    driver: str = "bridge"
    pools: tuple[Pool, ...] = ()
    automatic: bool = False
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    only_config: bool = False
    from_config: str = ""
    options: Mapping[str, str] = EMPTY
    labels: Mapping[str, str] = EMPTY

    @property
    def predefined(self) -> bool:
        """Whether it is one of those that every store has."""
        return self.name in PREDEFINED

    @property
    def bridge(self) -> str:
        """The name of its bridge on the host."""
        return self.options.get("com.docker.network.bridge.name") or f"tf-{self.id[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return what the row keeps beside id and name."""
        return {
            **{k: v for k, v in self.as_dict().items() if k not in {"id", "name"}},
            "pools": [pool.to_json() for pool in self.pools],
            "options": dict(self.options),
            "labels": dict(self.labels),
        }

    @staticmethod
    def from_json(value: dict[str, Any], *, network_id: str, name: str) -> NetworkRecord:
        """Read what `to_json` wrote; members that a newer tiffin added are ignored."""
        fields = {k: v for k, v in value.items() if k in NetworkRecord._fields}
        pools = tuple(map(Pool.from_json, fields.pop("pools", ())))
        return NetworkRecord(id=network_id, name=name, pools=pools, **fields)


class Networks:
    """The networks of a store."""

    def __init__(self, database: Database) -> None:
        """Keep the records in that database."""
        self._database = database

    @staticmethod
    def new_id() -> str:
        """Return an unused id."""
        return posix.urandom(32).hex()

    def create(self, record: NetworkRecord) -> NetworkRecord:
        """Keep a new record; raise Conflict with docker's sentence if the name is taken."""
        check_name(record.name)
        with self._database.transaction():
            self._insert(record)
        return record

    def _insert(self, record: NetworkRecord) -> None:
        row = (record.id, record.name, now_ns(), jsontext.dumps(record.to_json()))
        try:
            self._database.execute("INSERT INTO networks VALUES (?, ?, ?, ?)", row)
        except Exception as error:
            if is_taken(error):
                message = f"network with name {record.name} already exists"
                raise Conflict(message, hint=f"tiffin network rm {record.name}") from None
            raise

    def _prepare(self) -> None:
        """Make the networks that every store has, the first time that somebody asks for one."""
        if self._one("name=?", "bridge"):
            return
        from tiffin.store.predefined import records  # once in a store's life

        with self._database.transaction():
            if not self._one("name=?", "bridge"):
                for record in records(self.new_id, clock.now()):
                    self._insert(record)

    def resolve(self, text: str) -> NetworkRecord:
        """Find a network by full id, name or unique prefix of its id; raise NotFound, InvalidArgument."""
        found = self._one("id=?", text) or self._one("name=?", text)
        if found is None:
            self._prepare()
            found = self._one("name=?", text)
        if found is None and text and _HEX.issuperset(text):
            rows = self._database.query(
                "SELECT id, name, record FROM networks WHERE id>=? AND id<? LIMIT 2", (text, text + "g")
            )
            if len(rows) > 1:
                message = f"network {text} is ambiguous (2 matches found based on ID prefix)"
                raise InvalidArgument(message, hint="give more characters of the id")
            found = _record(rows[0]) if rows else None
        if found is None:
            message = f"network {text} not found"
            raise NotFound(message, hint="`tiffin network ls` shows all that there are")
        return found

    def list(self) -> tuple[NetworkRecord, ...]:
        """Return every network, by name."""
        self._prepare()
        return tuple(
            map(_record, self._database.query("SELECT id, name, record FROM networks ORDER BY name"))
        )

    def remove(self, network_id: str) -> None:
        """Forget a network; raise NotFound if somebody else was faster."""
        if not self._database.execute("DELETE FROM networks WHERE id=?", (network_id,)):
            message = f"network {network_id} not found"
            raise NotFound(message)

    def _one(self, condition: str, value: str) -> NetworkRecord | None:
        row = self._database.one(f"SELECT id, name, record FROM networks WHERE {condition}", (value,))  # noqa: S608 - the condition is ours
        return _record(row) if row else None


def _record(row: tuple[Any, ...]) -> NetworkRecord:
    network_id, name, text = row
    return NetworkRecord.from_json(jsontext.loads(text), network_id=network_id, name=name)


def check_name(name: str) -> str:
    """Return a network's name, or raise InvalidArgument with docker's sentence."""
    if not name or name[0] not in _NAME_FIRST or not _NAME_REST.issuperset(name):
        message = f"invalid network name {name}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        raise InvalidArgument(message)
    return name
