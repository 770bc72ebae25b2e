"""Where keepers come from: one that the command forked as its first act, then the zygote's."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from tiffin.keeper.zygote import Zygote
    from tiffin.settings import Privilege


class Keepers:
    """Hands out channels to keepers that wait for a request. Unused ones end when they are closed."""

    def __init__(self, first: _socket.socket | None = None, *, privilege: Privilege) -> None:
        """`first` is the channel of a keeper that is there already (the command line's early fork).

        `privilege` is what keepers that are started later must have too.
        """
        self._privilege = privilege
        self._waiting = [] if first is None else [first]
        self._zygote: Zygote | None = None
        self._lock = _thread.allocate_lock()

    def take(self) -> _socket.socket:
        """Return the channel of a keeper that nobody else has."""
        try:
            return self._waiting.pop()
        except IndexError:
            return self.fresh()

    def prepare(self) -> None:
        """Have one ready that is probably needed soon, so that its start costs nobody time."""
        if not self._waiting:
            self._waiting.append(self.fresh())

    def fresh(self) -> _socket.socket:
        """Return the channel of a keeper that is started now."""
        with self._lock:
            if self._zygote is None:
                from tiffin.keeper.zygote import Zygote

                self._zygote = Zygote(self._privilege)
        return self._zygote.take()

    def close(self) -> None:
        """Send unused keepers and the zygote away."""
        while self._waiting:
            self._waiting.pop().close()
        if self._zygote is not None:
            self._zygote.close()
