"""What the server keeps in mind between two requests: attaches that wait for a start, and execs.

It is little, and nobody's life depends on it: a new server knows the containers from the store; a client
whose exec was not started yet asks again.
"""

from __future__ import annotations

import os
import threading

from tiffin.errors import Conflict, NotFound, TiffinError
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.exec import ExecRequest
    from tiffin.keeper.client import Connection

_EXECS = 4096


class Waiting:
    """A client that attached to a container before it was started. `fileno` is readable once it is."""

    def __init__(self, *, stdin: bool) -> None:
        """Wait; `stdin` says that it has input for the container."""
        self.stdin = stdin
        self.connection: Connection | None = None
        self._read, self._write = os.pipe2(os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._read

    def hand(self, connection: Connection | None) -> None:
        """Give it its connection; None where there is none to be had."""
        self.connection = connection
        os.write(self._write, b".")

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._read)
        os.close(self._write)


class ExecState:
    """Where an exec is in its life."""

    def __init__(self) -> None:
        """Be new: not started."""
        self.started = False
        self.running = False
        self.exit_code: int | None = None
        self.pid = 0
        self.size = (0, 0)
        self._connection: Connection | None = None

    def began(self, connection: Connection) -> None:
        """Note that it runs."""
        self._connection, self.running = connection, True
        if self.size != (0, 0):
            connection.resize(*self.size)

    def failed(self, error: TiffinError) -> None:
        """Note that it did not start: clients take an exec without an exit code for one that went well."""
        self.exit_code = getattr(error, "exit_code", 126)

    def ended(self, code: int) -> None:
        """Note how it ended."""
        self._connection, self.running, self.exit_code = None, False, code

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal its size, or remember it for the start."""
        self.size = (rows, columns)
        if self._connection is not None:
            self._connection.resize(rows, columns)


class Exec(Value):
    """A process that was asked for in a container, as a client sees it; `state` changes as it goes on."""

    id: str
    container: str
    request: ExecRequest
    wanted: frozenset[str]
    keys: str
    state: ExecState


class Desk:
    """The notes of one server; every method may be called by any thread."""

    def __init__(self, engine: Engine) -> None:
        """Start with nothing."""
        self.engine = engine
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Waiting]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._execs: dict[str, Exec] = {}

    # --- attaches that wait for a start --------------------------------------------------------

    def wait(self, container: str, *, stdin: bool) -> Waiting:
        """Note that somebody wants to be attached when a container is started."""
        waiting = Waiting(stdin=stdin)
        with self._lock:
            self._waiting.setdefault(container, []).append(waiting)
        return waiting

    def give_up(self, container: str, waiting: Waiting) -> bool:
        """Strike it out; False where a start has claimed it already and will hand it a connection."""
        with self._lock:
            present = self._waiting.get(container, [])
            if waiting not in present:
                return False
            present.remove(waiting)
            if not present:
                del self._waiting[container]
            return True

    def start(self, container: str) -> None:
        """Start a container and hand connections to those who wait for that.

        The one with input gets the first, over which every byte comes.
        """
        with self._lock:
            claimed = self._waiting.pop(container, [])
            size = self._sizes.pop(container, (0, 0))
        claimed.sort(key=lambda waiting: not waiting.stdin)
        left = list(claimed)
        try:
            connection = self.engine.containers.start(
                container, attach=bool(claimed), stdin=any(w.stdin for w in claimed), size=size
            )
            if not claimed:
                connection.close()
                return
            left.pop(0).hand(connection)
            while left:
                left[0].hand(self._attached(container, stdin=left[0].stdin))
                left.pop(0)
        finally:
            for waiting in left:
                waiting.hand(None)

    def _attached(self, container: str, *, stdin: bool) -> Connection | None:
        try:
            return self.engine.containers.attach(container, stdin=stdin)
        except TiffinError:
            return None  # it has ended already

    def resize(self, container: str, rows: int, columns: int) -> None:
        """Give a container's terminal its size, or remember it for the start."""
        try:
            with self.engine.containers.connect(container) as connection:
                connection.resize(rows, columns)
        except Conflict:
            with self._lock:
                self._sizes[container] = (rows, columns)

    # --- execs ---------------------------------------------------------------------------------

    def add_exec(self, container: str, request: ExecRequest, *, wanted: set[str], keys: str) -> Exec:
        """Note an exec; the oldest that do not run are forgotten when there are many."""
        made = Exec(
            id=request.id,
            container=container,
            request=request,
            wanted=frozenset(wanted),
            keys=keys,
            state=ExecState(),
        )
        with self._lock:
            if len(self._execs) >= _EXECS:
                ended = [key for key, one in self._execs.items() if not one.state.running]
                for key in ended[: _EXECS // 4]:
                    del self._execs[key]
            self._execs[made.id] = made
        return made

    def exec(self, name: str) -> Exec:
        """Return an exec by its id; raises NotFound."""
        with self._lock:
            found = self._execs.get(name)
        if found is None:
            raise NotFound(f"No such exec instance: {name}")
        return found

    def begin(self, one: Exec) -> None:
        """Claim the start of an exec; raises Conflict for one that was started already."""
        with self._lock:
            if one.state.started:
                raise Conflict(
                    f"exec {one.id} has already run" if not one.state.running else "exec is running"
                )
            one.state.started = True
