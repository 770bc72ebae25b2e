"""What to do about a container whose keeper was killed: end what is left of it and record that.

The keeper's mounts went with its namespace. What may be left is the runtime at its work, the process
(nobody reads its output any more), the runtime's note of it, its cgroups, and the folder of facts.
"""

from __future__ import annotations

import os
import select

from tiffin.errors import Conflict, Corrupt, NotFound
from tiffin.keeper import cgroup
from tiffin.runtime.specgen import cgroup_path
from tiffin.spec import jsontext
from tiffin.store import atomic
from tiffin.store.containers import KEEPER_LOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.engine.engine import Engine

_PATIENCE_MS = 10_000
_NOTES = {"status": ("pid", "process-start-time"), "state.json": ("init_process_pid", "init_process_start")}
"""The runtimes' own files with a container's first process: crun's, runc's."""


def await_end(engine: Engine, container_id: str) -> None:
    """Wait until the last keeper of a container that does not run has given everything back.

    Call it under the container's lock.
    """
    if container_id in engine.store.containers.living():
        with engine.store.containers.keeper_lock(container_id):
            settle(engine, container_id, alone=True)


def settle_all(engine: Engine) -> None:
    """Finish every container whose keeper is lost and whom nobody else is busy with."""
    for container_id in engine.store.containers.living():
        if not engine.store.containers.state(container_id).running:
            settle_idle(engine, container_id)


def settle_idle(engine: Engine, container_id: str) -> None:
    """Finish a container whose keeper is lost, unless somebody else is busy with it."""
    try:
        with engine.store.containers.lock(container_id, blocking=False):
            settle(engine, container_id)
    except Conflict:
        return


def settle(engine: Engine, container_id: str, *, alone: bool = False) -> bool:
    """Finish a container whose keeper is lost, under the container's lock; tell whether that was to do.

    `alone` says that the keeper's lock is held as well, so that there is no keeper.
    """
    store = engine.store
    if not os.path.isdir(store.layout.live(container_id)):
        return False
    if alone:
        _finish(engine, container_id)
        return True
    if store.containers.state(container_id).running:
        return False
    try:
        with store.containers.keeper_lock(container_id, blocking=False) as lock:
            _finish(engine, container_id)
            lock.remove()
    except Conflict:
        return False  # its keeper is just starting or leaving
    return True


def _finish(engine: Engine, container_id: str) -> None:
    store = engine.store
    live = store.layout.live(container_id)
    facts = _read(f"{live}/state") or {}
    _await_runtime(container_id)
    if isinstance(facts.get("keeper"), int) and atomic.start_time(facts["keeper"]) == facts["keeper_start"]:
        _await_end(facts["keeper"])  # it has let go of its lock, but the kernel is not done with it
    if facts.get("boot") in {None, atomic.boot_id()}:
        _kill(facts.get("pid"), facts.get("pid_start"))
        for name, (pid, start) in _NOTES.items():
            note = _read(f"{store.layout.runtime_root}/{container_id}/{name}") or {}
            _kill(note.get(pid), note.get(start))
    atomic.delete_tree(f"{store.layout.runtime_root}/{container_id}")
    if engine.settings.privilege.cgroups:
        cgroup.remove(cgroup_path(container_id, _parent(engine, container_id)))
    state = store.containers.state(container_id)
    folder = store.layout.container(container_id)
    if facts and os.path.isdir(folder):
        final = {**facts, **state.to_json()}
        atomic.write_file(f"{folder}/state", jsontext.dumps_bytes(final))
    atomic.remove_tree(live)
    if os.path.isdir(store.layout.networks):
        engine.networks.settle()
    if state.error == KEEPER_LOST:
        _tell(engine, container_id, state.exit_code)


def _tell(engine: Engine, container_id: str, exit_code: int) -> None:
    """Say that it has ended, as its keeper could not."""
    from tiffin.engine.views import event_attributes

    try:
        attributes = event_attributes(engine.store.containers.get(container_id))
    except NotFound:
        return
    engine.store.events.append("container", "die", container_id, attributes | {"exitCode": str(exit_code)})


def _parent(engine: Engine, container_id: str) -> str:
    """Return the cgroup parent that a container was given."""
    try:
        return engine.store.containers.get(container_id).host.cgroup_parent
    except NotFound:
        return ""


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as stream:
            return jsontext.load_object(stream.read())
    except (OSError, Corrupt):
        return None


def _await_runtime(container_id: str) -> None:
    """Wait for the runtimes that the keeper had called and that go on without it."""
    word = container_id.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if word in words and b"--root" in words and int(name) != os.getpid():
            _await_end(int(name))


def _await_end(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    _poll(handle)
    os.close(handle)


def _poll(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(_PATIENCE_MS)


def _kill(pid: object, start: object) -> None:
    """Kill the container's first process if it is still that one; the kernel takes the rest with it."""
    if not isinstance(pid, int) or pid <= 0:
        return
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # The pidfd pins the process: what is compared now is what is killed.
        if atomic.start_time(pid) == start:
            import signal  # and with it enum, 3 ms: only for a keeper that was lost

            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _poll(handle)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
