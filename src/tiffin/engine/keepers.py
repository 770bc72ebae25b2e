"""Where keepers come from: one that the command forked as its first act, then freshly spawned ones."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket


class Keepers:
    """Hands out channels to keepers that wait for a request. Unused ones end when they are closed."""

    def __init__(self, first: _socket.socket | None = None) -> None:
        """`first` is the channel of a keeper that is there already (the command line's early fork)."""
        self._first = first

    def take(self) -> _socket.socket:
        """Return the channel of a keeper that nobody else has."""
        first, self._first = self._first, None
        if first is not None:
            return first
        from tiffin.keeper.spawn import spawn

        return spawn()

    def close(self) -> None:
        """Send the unused keeper away."""
        if self._first is not None:
            self._first.close()
            self._first = None
