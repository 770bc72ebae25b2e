"""A visitor: a process that reads or writes a container's files from inside (see `engine.visitor`)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from tiffin import errors
from tiffin.engine import lost
from tiffin.errors import Conflict, Corrupt, Unavailable
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from tiffin.engine.engine import Engine
    from tiffin.settings import Privilege
    from tiffin.store.atomic import Lock
    from tiffin.store.containers import ContainerRecord

_PROGRAM = """
import sys
sys.path += sys.argv[1].split("\\n")
from tiffin.engine.visitor import main
main(sys.argv[2])
"""
_LOOKS = 50
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Visit:
    """A visitor at work. `report` returns the next thing that it says, `close` ends it and lets go.

    As a context manager it is closed with the block.
    """

    def __init__(self, request: dict[str, Any], data: int, lock: Lock | None = None) -> None:
        """Start one; `data` is where its archive comes from or goes to, `lock` is let go of at the end."""
        self._lock = lock
        self._said = b""
        paths = "\n".join([_PACKAGES, *filter(None, sys.path)])
        self._report, writing = os.pipe()
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM, paths, jsontext.dumps(request)],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, data, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
            )
        finally:
            os.close(writing)

    def report(self) -> dict[str, Any]:
        """Return its next line; raise the error that it met, or Unavailable if it has died."""
        while b"\n" not in self._said and (data := os.read(self._report, 1 << 16)):
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        try:
            said = jsontext.load_object(line.decode("utf-8", "surrogateescape"))
        except Corrupt:
            text = (line + self._said).decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
            raise Unavailable("copy: its worker died" + (f": {text}" if text else "")) from None
        if "error" in said:
            raise getattr(errors, said["error"])(said["message"], hint=said["hint"])
        return said

    def close(self) -> None:
        """Wait until it has gone (it goes when nobody reads what it writes) and let go of the container."""
        if self._report < 0:
            return
        os.close(self._report)
        self._report = -1
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        if self._lock:
            self._lock.__exit__(None, None, None)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        self.close()


def in_container(engine: Engine, record: ContainerRecord, request: dict[str, Any], data: int) -> Visit:
    """Start a visitor in a container, running or not; one that does not run cannot start meanwhile.

    Raises Conflict for one that is between two runs.
    """
    volumes = [mount["destination"] for mount in record.mounts if mount["type"] != "tmpfs"]
    known = {**_means(engine.settings.privilege), "volumes": volumes}
    for _ in range(_LOOKS):
        place, lock = _place(engine, record)
        try:
            visit = Visit({**known, **request, "place": place}, data, lock)
        except BaseException:
            if lock:
                lock.__exit__(None, None, None)
            raise
        try:
            visit.report()
        except Conflict:  # it has ended since it was looked at: look again
            visit.close()
        except BaseException:
            visit.close()
            raise
        else:
            return visit
    raise Unavailable(f"copy: container {record.name} starts and stops faster than it can be looked at")


def at_home(privilege: Privilege, folder: str, request: dict[str, Any], data: int) -> Visit:
    """Start a visitor in a folder of this host, where it is what this user is, and nothing else."""
    own = privilege
    if privilege.uid_map and not privilege.inside:
        own = privilege.replace(
            rung="single", uid_map=((0, os.geteuid(), 1),), gid_map=((0, os.getegid(), 1),)
        )
    return in_folder(own, folder, request, data)


def in_folder(privilege: Privilege, folder: str, request: dict[str, Any], data: int) -> Visit:
    """Start a visitor in a folder of this host, with the ids of that privilege."""
    visit = Visit({**_means(privilege), "volumes": (), **request, "place": {"folder": folder}}, data)
    visit.report()
    return visit


def _means(privilege: Privilege) -> dict[str, Any]:
    noted = privilege.records_owners
    return {"privilege": privilege.as_dict(), "xattr": privilege.xattr, "noted": noted}


def _place(engine: Engine, record: ContainerRecord) -> tuple[dict[str, Any], Lock | None]:
    """Return where a container's files are to be seen, and the lock that keeps it so if it stands still."""
    store = engine.store
    running = _process(engine, record)
    if running:
        return running, None
    lock = store.containers.lock(record.id).__enter__()
    try:
        running = _process(engine, record)
        if running:
            lock.__exit__(None, None, None)
            return running, None
        lost.await_end(engine, record.id)
        return _mounts(engine, store.containers.get(record.id)), lock
    except BaseException:
        lock.__exit__(None, None, None)
        raise


def _process(engine: Engine, record: ContainerRecord) -> dict[str, Any] | None:
    """Return which process has the container's files as its root, None if it does not run."""
    state = engine.store.containers.state(record.id)
    if state.status == "restarting":
        message = f"Container {record.id} is restarting, wait until the container is running"
        raise Conflict(message)
    if not state.running:
        return None
    try:
        with open(f"{engine.store.layout.live(record.id)}/state", "rb") as stream:
            facts = jsontext.load_object(stream.read())
    except (FileNotFoundError, Corrupt):
        return None  # it has just ended
    return {"pid": facts["pid"], "start": facts["pid_start"]}


def _mounts(engine: Engine, record: ContainerRecord) -> dict[str, Any]:
    """Return what is to be mounted for a container that does not run."""
    from tiffin.engine.mounts import mounted
    from tiffin.runtime.specgen import Bind

    mount = engine.store.snapshots.prepare(record.id, record.layers)
    found = mounted(engine, record)
    binds = [m for m in found.mounts if isinstance(m, Bind)]
    binds.sort(key=lambda bind: bind.target.count("/"))
    return {
        "overlay": [mount.base, mount.target, mount.data()],
        "binds": [[bind.source, bind.target, bind.read_only, bind.recursive] for bind in binds],
        "before": found.before,
        "read_only": record.host.readonly_rootfs,
    }
