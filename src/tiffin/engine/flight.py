"""Work in flight (a pull, a load): its lease, and what becomes of what it brought when it fails."""

from __future__ import annotations

from contextlib import contextmanager, suppress

from tiffin.engine.rmi import sweep
from tiffin.errors import Interrupted, TiffinError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.store.leases import Lease

_WORTH_ANOTHER_TRY = (Unavailable, Interrupted, KeyboardInterrupt)
"""After these the next try goes on with what is here; after others it would fail again."""


@contextmanager
def in_flight(engine: Engine, purpose: str) -> Iterator[Lease]:
    """Hold a lease; sweep the store after a failure that another try would meet again.

    It is also swept where an earlier command was killed: what that one left may be large, and what
    could be gone on with has been by then.
    """
    interrupted = bool(engine.store.leases.dead())
    try:
        with engine.store.lease(purpose) as lease:
            yield lease
    except _WORTH_ANOTHER_TRY:
        raise
    except BaseException:
        with suppress(TiffinError, OSError):
            sweep(engine)
        raise
    if interrupted:
        sweep(engine)
