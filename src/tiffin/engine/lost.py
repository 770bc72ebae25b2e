"""What to do about a container whose keeper was killed: end what is left of it and record that.

The keeper's mounts went with its namespace. What may be left is the process (nobody reads its output
any more), the runtime's note of it, its cgroups, and the folder of facts.
"""

from __future__ import annotations

import os
import select
import time

from tiffin.errors import NotFound
from tiffin.runtime.specgen import cgroup_path
from tiffin.spec import jsontext
from tiffin.store import atomic
from tiffin.store.containers import KEEPER_LOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.engine.engine import Engine

_CGROUPS = "/sys/fs/cgroup"
_PATIENCE = 10.0
"""Seconds that what was killed may take to be gone."""


def settle(engine: Engine, container_id: str) -> bool:
    """Finish a container whose keeper is lost; tell whether it was. Call it under the container's lock."""
    store = engine.store
    state = store.containers.state(container_id)
    live = store.layout.live(container_id)
    if state.running or not os.path.isdir(live):
        return False
    facts = _facts(f"{live}/state")
    if facts is None:
        return False  # its keeper is just starting or leaving
    _kill(facts)
    atomic.delete_tree(f"{store.layout.runtime_root}/{container_id}")
    remove_cgroups(container_id, _parent(engine, container_id))
    final = {**facts, **state.to_json()}
    atomic.write_file(f"{store.layout.container(container_id)}/state", jsontext.dumps_bytes(final))
    atomic.remove_tree(live)  # its keeper may be doing the same
    return state.error == KEEPER_LOST


def _parent(engine: Engine, container_id: str) -> str:
    """Return the cgroup parent that a container was given."""
    try:
        return engine.store.containers.get(container_id).host.cgroup_parent
    except NotFound:
        return ""


def _facts(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as stream:
            return jsontext.load_object(stream.read())
    except FileNotFoundError:
        return None


def _kill(facts: dict[str, Any]) -> None:
    """Kill the container's first process if it is still that one; the kernel takes the rest with it."""
    if facts.get("boot") != atomic.boot_id() or not facts.get("pid"):
        return
    try:
        descriptor = os.pidfd_open(facts["pid"])
    except ProcessLookupError:
        return
    try:
        # The pidfd pins the process: what is compared now is what is killed.
        if atomic.start_time(facts["pid"]) == facts.get("pid_start"):
            import signal  # and with it enum, 3 ms: only for a keeper that was lost

            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(10_000)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def remove_cgroups(container_id: str, parent: str = "") -> None:
    """Remove a dead container's cgroups in every hierarchy, ending whoever is left in them."""
    own = cgroup_path(container_id, parent)
    try:
        trees = os.listdir(_CGROUPS)
    except FileNotFoundError:
        return
    for tree in ("", *(f"/{name}" for name in trees)):
        path = f"{_CGROUPS}{tree}{own}"
        if os.path.isdir(path):
            _empty(path)
            _remove_tree(path)


def _empty(path: str) -> None:
    """Kill what runs in a cgroup without a pid namespace of its own, until nothing does."""
    deadline = time.monotonic() + _PATIENCE
    while pids := _members(path):
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return  # it hangs in the kernel
        time.sleep(0.001)


def _members(path: str) -> list[int]:
    found = []
    for folder, _folders, _files in os.walk(path):
        try:
            with open(f"{folder}/cgroup.procs", "rb") as stream:
                found += [int(word) for word in stream.read().split()]
        except OSError:
            continue  # it has just been removed
    return found


def _remove_tree(path: str) -> None:
    for folder, _folders, _files in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return
