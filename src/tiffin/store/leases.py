"""Leases: what work in flight (a pull, a build, a load) needs, so that gc leaves it alone.

A lease names its process by boot, pid and start time; when that is gone, so is the lease. While one is
open, everything that the process asks for and finds is held by it in the same transaction, and gc
also spares whatever came into being after the oldest living lease began.
"""

from __future__ import annotations

import time

from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from tiffin.store.database import Database


class Lease:
    """An open lease, as a context manager; `release` ends it."""

    def __init__(self, leases: Leases, number: int) -> None:
        """Belong to the row of that number."""
        self._leases = leases
        self.number = number

    def hold(self, digests: Iterable[str]) -> None:
        """Keep these blobs, layers (chain ids) and images from gc until the lease ends."""
        self._leases.hold(self.number, digests)

    def release(self) -> None:
        """End the lease; a second call does nothing."""
        self._leases.release(self.number)

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End it."""
        self.release()


class Leases:
    """The leases of one store; `open` numbers are those of this process."""

    def __init__(self, database: Database) -> None:
        """Read and write that database."""
        self._database = database
        self._open: set[int] = set()

    def begin(self, purpose: str) -> Lease:
        """Open a lease for work of this process; `purpose` is a word for whoever looks (pull, build...)."""
        rows = self._database.query(
            "INSERT INTO leases (owner, purpose, created) VALUES (?, ?, ?) RETURNING id",
            (atomic.owner_tag(), purpose, time.time_ns()),
        )
        number = int(rows[0][0])
        self._open.add(number)
        return Lease(self, number)

    @property
    def any_open(self) -> bool:
        """Whether work is in flight in this process."""
        return bool(self._open)

    def hold(self, number: int, digests: Iterable[str]) -> None:
        """See `Lease.hold`."""
        with self._database.transaction():
            self._database.execute_many(
                "INSERT OR IGNORE INTO held VALUES (?, ?)", [(number, digest) for digest in digests]
            )

    def hold_found(self, digest: str) -> None:
        """Let every open lease of this process hold what was just found; call it in that transaction."""
        for number in tuple(self._open):
            self._database.execute("INSERT OR IGNORE INTO held VALUES (?, ?)", (number, digest))

    def release(self, number: int) -> None:
        """See `Lease.release`."""
        self._open.discard(number)
        with self._database.removing():
            self._database.execute("DELETE FROM held WHERE lease=?", (number,))
            self._database.execute("DELETE FROM leases WHERE id=?", (number,))

    def living(self) -> tuple[set[str], int]:
        """Return what living leases hold and when the oldest began (ns, a huge number if there is none).

        Call it in the transaction that decides what may go.
        """
        oldest, alive = 1 << 62, set()
        for number, owner, created in self._database.query("SELECT id, owner, created FROM leases"):
            if atomic.owner_lives(owner):
                oldest = min(oldest, created)
                alive.add(number)
        held = self._database.query("SELECT lease, digest FROM held")
        return {digest for number, digest in held if number in alive}, oldest

    def dead(self) -> list[int]:
        """Return the leases of processes that were killed in the middle of their work."""
        rows = self._database.query("SELECT id, owner FROM leases")
        return [number for number, owner in rows if not atomic.owner_lives(owner)]

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget leases of dead processes, once what they left is gone."""
        with self._database.removing():
            for number in numbers:
                self._database.execute("DELETE FROM held WHERE lease=?", (number,))
                self._database.execute("DELETE FROM leases WHERE id=?", (number,))
