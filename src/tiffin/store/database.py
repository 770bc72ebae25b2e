"""state.db: what is intended, in SQLite (WAL). Opening it costs under a millisecond.

One connection serves all threads of a process, under a lock that a transaction holds from its first
to its last statement. Commands never close it (the WAL stays, which is fine); the library does.
"""

from __future__ import annotations

import _sqlite3
import os
import posix
import time
from _thread import RLock

from tiffin.errors import Conflict, Corrupt, InvalidArgument, StorageFull, Unavailable
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any

    from tiffin.errors import TiffinError

    Row = tuple[Any, ...]

SCHEMA_VERSION = 3
"""Raised together with a step in `schema.MIGRATIONS`."""
RESERVE, RESERVE_SIZE = "reserve", 4 << 20
"""See store.reserve. It is as long as the WAL grows before SQLite begins it again (1,000 pages)."""
_BUSY_SECONDS = 60.0
_SHORT_WAL = "PRAGMA wal_autocheckpoint=50"
"""On a full disk the WAL begins again after 200 kB, not 4 MB: a long prune must fit into the reserve."""


class Database:
    """An open state.db. `make` is called where there is none yet, to make what surrounds it."""

    def __init__(self, path: str, *, make: Callable[[], None] | None = None) -> None:
        """Open it, making or migrating it where needed.

        Raises Unsupported for a newer schema, InvalidArgument where the path cannot be one of ours,
        StorageFull where it cannot be written, Corrupt where it is no database.
        """
        self.path = path
        self._lock = RLock()
        self._depth = 0
        self._in_durable = False
        self._connection: Any = None
        self.rebooted = False
        """Whether the machine has been started anew since anybody last had this open."""
        self.meta: dict[str, str] = {}
        if not os.path.exists(path):
            self._make(make)
        try:
            version = self._first_look()
            if version != (SCHEMA_VERSION,):
                self._migrate()
            self.meta = dict(self.query("SELECT key, value FROM meta"))
        except BaseException:
            self.close()
            raise
        if self.meta.get("boot") != atomic.boot_id():
            self._begin_boot()

    def _first_look(self) -> Row | None:
        """Open it and return its schema version; on a full disk, which has no room to open it, make some."""
        try:
            self._open()
            return self.one("PRAGMA user_version")
        except StorageFull:
            try:
                given_up = atomic.remove_file(f"{os.path.dirname(self.path)}/{RESERVE}")
            except OSError:
                given_up = False
            if not given_up:
                raise
        self.close()
        self._open()
        return self.one("PRAGMA user_version")

    def _open(self) -> None:
        try:
            self._connection = _sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous=NORMAL")
        except _sqlite3.Error as error:
            raise self._translated(error) from error

    def _make(self, make: Callable[[], None] | None) -> None:
        """Make the file under another name and link it into place: two makers cannot meet."""
        from tiffin.store import reserve, schema

        try:
            if make:
                make()
            temporary = atomic.temporary_name(self.path)
            try:
                schema.create(temporary)
                posix.link(temporary, self.path)
            except FileExistsError:
                pass
            finally:
                for suffix in ("", "-wal", "-shm", "-journal"):
                    atomic.remove_file(temporary + suffix)
            reserve.settle(f"{os.path.dirname(self.path)}/{RESERVE}")
        except OSError as error:
            raise atomic.storage_error(error, f"make {error.filename or self.path}") from error
        except _sqlite3.Error as error:
            raise self._translated(error) from error

    def _migrate(self) -> None:
        from tiffin.store import schema

        try:
            with self.durable():
                schema.migrate(self)
        except _sqlite3.Error as error:
            raise self._translated(error) from error

    def _begin_boot(self) -> None:
        from tiffin.store import schema

        with self.transaction():
            schema.begin_boot(self, atomic.boot_id())
        self.rebooted = True
        self.meta["boot"] = atomic.boot_id()

    def close(self) -> None:
        """Close the connection; SQLite then folds the WAL in if nobody else has it open."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def query(self, sql: str, args: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return all its rows."""
        with self._lock:
            cursor = self._run(sql, args)
            try:
                return cursor.fetchall()  # type: ignore[no-any-return]
            except _sqlite3.Error as error:  # a RETURNING writes while it is read
                raise self._translated(error) from error

    def one(self, sql: str, args: Sequence[Any] = ()) -> Row | None:
        """Run one statement and return its first row, or None."""
        with self._lock:
            return self._run(sql, args).fetchone()  # type: ignore[no-any-return]

    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run one statement and return how many rows it changed."""
        with self._lock:
            return self._run(sql, args).rowcount  # type: ignore[no-any-return]

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of many rows; call it inside a transaction."""
        with self._lock:
            try:
                self._connection.executemany(sql, rows)
            except _sqlite3.Error as error:
                raise self._translated(error) from error

    def _run(self, sql: str, args: Sequence[Any]) -> Any:
        if self._connection is None:
            message = f"{self.path} is closed"
            raise Conflict(message, hint="the engine was closed before this call")
        try:
            return self._connection.execute(sql, args)
        except _sqlite3.IntegrityError:
            raise
        except _sqlite3.Error as error:
            raise self._translated(error) from error

    def transaction(self) -> Transaction:
        """Return a context in which statements happen together or not at all.

        Writers queue for it across processes. One inside another of the same thread joins it.
        """
        return Transaction(self, durable=False)

    def removing(self, *, durable: bool = False) -> Transaction:
        """Return a transaction that removes something: it has room on a full disk, too (see `reserve`)."""
        path = f"{os.path.dirname(self.path)}/{RESERVE}"
        info = posix.statvfs(os.path.dirname(path))
        if info.f_bavail * info.f_frsize < RESERVE_SIZE or not os.path.exists(path):
            from tiffin.store import reserve  # which a removal seldom needs

            if reserve.settle(path):
                self.execute(_SHORT_WAL)
        return Transaction(self, durable=durable)

    def durable(self) -> Transaction:
        """Return a transaction whose end survives a power cut (synchronous=FULL)."""
        return Transaction(self, durable=True)

    def _begin(self, *, durable: bool) -> None:
        self._lock.acquire()
        try:
            if self._depth == 0:
                if durable:
                    self._run("PRAGMA synchronous=FULL", ())
                self._run("BEGIN IMMEDIATE", ())
                self._in_durable = durable
            elif durable and not self._in_durable:
                message = "a durable transaction cannot join one that is not"
                raise RuntimeError(message)
            self._depth += 1
        except BaseException:
            self._lock.release()
            raise

    def _end(self, *, commit: bool, durable: bool) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                try:
                    if commit:
                        self._run("COMMIT", ())
                finally:
                    if self._connection.in_transaction:
                        self._run("ROLLBACK", ())
                    if durable:
                        self._run("PRAGMA synchronous=NORMAL", ())
        finally:
            self._lock.release()

    def _translated(self, error: Exception) -> TiffinError:
        """Say what an SQLite error means to whoever asked (its primary result code decides)."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text = f"{self.path}: {error}"
        if code == _sqlite3.SQLITE_FULL:
            return StorageFull(text, hint=atomic.MAKE_ROOM)
        if code in {_sqlite3.SQLITE_READONLY, _sqlite3.SQLITE_IOERR}:
            return StorageFull(text, hint="the store must lie on a file system that can be written")
        if code == _sqlite3.SQLITE_BUSY:
            return Unavailable(text, hint="another tiffin process has held the store for a minute")
        if code in {_sqlite3.SQLITE_CORRUPT, _sqlite3.SQLITE_NOTADB}:
            return Corrupt(text, hint="`tiffin fsck` tells what can be saved")
        if code in {_sqlite3.SQLITE_CANTOPEN, _sqlite3.SQLITE_PERM}:
            return self._cannot_open(text)
        return Corrupt(text)

    def _cannot_open(self, text: str) -> TiffinError:
        folder = os.path.dirname(self.path)
        if os.path.exists(folder) and not os.path.isdir(folder):
            return InvalidArgument(f"{folder} is not a folder", hint="name another root for the store")
        try:
            if os.path.isdir(folder) and posix.statvfs(folder).f_flag & os.ST_RDONLY:
                return StorageFull(text, hint="the store must lie on a file system that can be written")
        except OSError:
            pass
        return InvalidArgument(text, hint="this user may not use that store")


class Transaction:
    """See `Database.transaction`."""

    def __init__(self, database: Database, *, durable: bool) -> None:
        """Nothing happens before the context is entered."""
        self._database = database
        self._durable = durable

    def __enter__(self) -> Database:
        """Begin; wait for other writers."""
        self._database._begin(durable=self._durable)  # noqa: SLF001 - two halves of one thing
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Commit, or take everything back where an exception passes through."""
        self._database._end(commit=kind is None, durable=self._durable)  # noqa: SLF001 - two halves of one thing


def is_taken(error: BaseException) -> bool:
    """Tell whether an exception says that a unique name is in use already."""
    return isinstance(error, _sqlite3.IntegrityError)


def now_ns() -> int:
    """Return this moment as rows keep it."""
    return time.time_ns()
