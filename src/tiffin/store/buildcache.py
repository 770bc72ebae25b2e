"""The build cache: results of steps by the hash of what went into them, with what went in kept beside.

Keeping the ingredients is what lets a miss be explained: compare them with those of the last step of
the same place. Every digest that a result mentions (layers by chain id, blobs) is kept by gc.
"""

from __future__ import annotations

import time

from tiffin.spec import jsontext
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from tiffin.store.database import Database, Row

_LOOK_BACK = 2000
"""How many of the latest steps are searched for an explanation."""
_COLUMNS = "key, ingredients, result, created, last_used, uses"


class Cached(Value):
    """One remembered step; `ingredients` and `result` are the JSON objects of whoever put them."""

    key: str
    ingredients: Mapping[str, Any]
    result: Mapping[str, Any]
    created: int
    last_used: int
    uses: int


class BuildCache:
    """The remembered steps of a store, and small memos of whoever builds."""

    def __init__(self, database: Database) -> None:
        """Keep them in that database."""
        self._database = database

    def find(self, key: str) -> Cached | None:
        """Return the step of a key and note that it was used."""
        row = self._database.one(f"SELECT {_COLUMNS} FROM steps WHERE key=?", (key,))  # noqa: S608 - a constant
        if row is None:
            return None
        self._database.execute("UPDATE steps SET last_used=?, uses=uses+1 WHERE key=?", (time.time_ns(), key))
        return _cached(row)

    def latest(self, prefix: str) -> Cached | None:
        """Return the step that was put last of those whose keys begin so."""
        row = self._database.one(
            f"SELECT {_COLUMNS} FROM steps WHERE substr(key, 1, ?)=? ORDER BY created DESC LIMIT 1",  # noqa: S608 - a constant
            (len(prefix), prefix),
        )
        return None if row is None else _cached(row)

    def put(self, key: str, ingredients: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Remember a step; one of the same key is replaced."""
        now = time.time_ns()
        texts = jsontext.dumps(dict(ingredients)), jsontext.dumps(dict(result))
        self._database.execute(
            "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, 0)", (key, *texts, now, now)
        )

    def last_with(self, **wanted: object) -> Cached | None:
        """Return the latest used step that has these ingredients, whatever the others are."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM steps ORDER BY last_used DESC LIMIT ?",  # noqa: S608 - a constant
            (_LOOK_BACK,),
        )
        for row in rows:
            step = _cached(row)
            if all(name in step.ingredients and step.ingredients[name] == v for name, v in wanted.items()):
                return step
        return None

    def list(self) -> tuple[Cached, ...]:
        """Return every remembered step, the latest used first."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM steps ORDER BY last_used DESC")  # noqa: S608 - a constant
        return tuple(map(_cached, rows))

    def prune(self, *, unused_since: int = 1 << 62) -> tuple[str, ...]:
        """Forget steps that were last used before a moment (ns), all by default; return their keys.

        What only they kept goes with the next sweep of gc.
        """
        with self._database.removing():
            rows = self._database.query("SELECT key FROM steps WHERE last_used<?", (unused_since,))
            self._database.execute("DELETE FROM steps WHERE last_used<?", (unused_since,))
            self._database.execute("DELETE FROM memos WHERE last_used<?", (unused_since,))
        return tuple(row[0] for row in rows)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget some steps."""
        with self._database.removing():
            self._database.execute_many("DELETE FROM steps WHERE key=?", [(key,) for key in keys])

    def forget_unused(self, key: str, last_used: int) -> bool:
        """Forget a step unless it was used after that moment (ns); tell whether it went."""
        with self._database.removing():
            return bool(
                self._database.execute("DELETE FROM steps WHERE key=? AND last_used<=?", (key, last_used))
            )

    def forget_memos(self, unused_since: int) -> None:
        """Forget memos that were last written before a moment (ns); they only save time and explain."""
        with self._database.removing():
            self._database.execute("DELETE FROM memos WHERE last_used<?", (unused_since,))

    def recall(self, key: str) -> bytes | None:
        """Return a memo (for example the known digests of a context's files)."""
        row = self._database.one("SELECT value FROM memos WHERE key=?", (key,))
        return row[0] if row else None

    def remember(self, key: str, value: bytes) -> None:
        """Keep a memo until it is replaced or pruned; what it says must be checkable by its reader."""
        self._database.execute("INSERT OR REPLACE INTO memos VALUES (?, ?, ?)", (key, value, time.time_ns()))


def _cached(row: Row) -> Cached:
    key, ingredients, result, created, last_used, uses = row
    return Cached(
        key=key,
        ingredients=jsontext.load_object(ingredients),
        result=jsontext.load_object(result),
        created=created,
        last_used=last_used,
        uses=uses,
    )
