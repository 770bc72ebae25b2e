"""The database: transactions join, roll back and queue; threads share one connection."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import add_image, mounted
from tiffin.errors import Corrupt
from tiffin.spec.reference import Reference
from tiffin.store import schema
from tiffin.store.database import RESERVE_SIZE, Database
from tiffin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.settings import Settings


class Stop(Exception):
    """Raised in the middle of things."""


def memos(store: Store) -> list[str]:
    """Return the keys that are kept."""
    return [row[0] for row in store.database.query("SELECT key FROM memos ORDER BY key")]


def fail_after_two(store: Store) -> None:
    """Write twice, the second time in a transaction inside the other, and fail."""
    with store.database.transaction():
        store.buildcache.remember("a", b"")
        with store.database.transaction():
            store.buildcache.remember("b", b"")
        raise Stop


def test_what_an_exception_leaves_is_nothing(store: Store) -> None:
    """A failed transaction takes all its statements back, those of joined ones too; the next one works."""
    with pytest.raises(Stop):
        fail_after_two(store)
    assert memos(store) == []
    with store.database.durable():
        store.buildcache.remember("c", b"")
    assert memos(store) == ["c"]


def test_durable_never_joins_what_is_not(store: Store) -> None:
    """A promise to survive a power cut cannot be kept inside a transaction that made none."""
    with (
        pytest.raises(RuntimeError, match="cannot join"),
        store.database.transaction(),
        store.database.durable(),
    ):
        pass
    with store.database.durable(), store.database.transaction():
        store.buildcache.remember("ok", b"")
    assert memos(store) == ["ok"]


def test_synchronous_is_full_only_where_it_was_asked_for(store: Store) -> None:
    """A durable transaction has synchronous=FULL (2), all else has NORMAL (1), after errors too."""
    level = "PRAGMA synchronous"
    with store.database.durable():
        assert store.database.one(level) == (2,)
    assert store.database.one(level) == (1,)
    with pytest.raises(Corrupt), store.database.durable():
        store.database.execute("no sql")
    assert store.database.one(level) == (1,)


def test_threads_share_a_store(store: Store) -> None:
    """Threads of one process can read and write at once; no statement lands in another's transaction."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(25):
                with store.database.transaction():
                    store.buildcache.remember(f"{number} {turn}", b"")
                    store.buildcache.remember(f"{number} {turn} again", b"")
                add_image(store, {"t": str(number)}, command=f"{number}", tags=[f"t{number}"])
                store.images.resolve(f"t{number}")
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(memos(store)) == 200
    assert len(store.images.list()) == 4


def test_older_schema_is_migrated_in_one_step(settings: Settings) -> None:
    """Every version below the newest has a way up, and a store that lacks one is refused, unchanged."""
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.SCHEMA_VERSION))
    with contextlib.closing(Store(settings)) as store:
        image = add_image(store, tags=["x:1"])
        # As the second version had it.
        store.database.execute("ALTER TABLE images DROP COLUMN tagged")
        store.database.execute("PRAGMA user_version=2")
    with contextlib.closing(Store(settings)) as store:
        assert store.images.get(image.id) == image.replace(tagged=0)
        store.images.tag(image.id, Reference.parse("x:2"))
        assert store.images.get(image.id).tagged
    Store(settings).close()


def test_many_removals_fit_into_the_reserve(tmp_path: Path) -> None:
    """On a full disk the WAL begins again early: a thousand transactions need no more room than a few."""
    with (
        mounted("tmpfs", str(tmp_path / "disk"), f"size={8 * RESERVE_SIZE}") as disk,
        contextlib.closing(Database(f"{disk}/state.db")) as database,
    ):
        with database.transaction():
            rows = [(f"{number:09}", b"x" * 3000, number) for number in range(1000)]
            database.execute_many("INSERT INTO memos VALUES (?, ?, ?)", rows)
        with open(f"{disk}/filler", "wb", buffering=0) as stream, contextlib.suppress(OSError):
            while stream.write(bytes(1 << 12)) == 1 << 12:
                pass
        for key, _, _ in rows:
            with database.removing():
                database.execute("DELETE FROM memos WHERE key=?", (key,))
        assert database.one("SELECT count(*) FROM memos") == (0,)
        assert not os.path.exists(f"{disk}/reserve")
        os.unlink(f"{disk}/filler")
        with database.removing():
            assert os.path.getsize(f"{disk}/reserve") == RESERVE_SIZE
