"""Cgroups as far as the keeper is concerned: leaving the caller's, and kills for want of memory."""

from __future__ import annotations

import _thread
import os
import time

_ROOT = "/sys/fs/cgroup"
_OWN = "tiffin/keepers"
_PATIENCE = 10.0
"""Seconds that what was killed may take to be gone; a process may hang in the kernel."""
# What a service manager tracks processes by: the v2 tree, on a hybrid host that one and its own.
_TREES = (_ROOT, f"{_ROOT}/unified", f"{_ROOT}/systemd")


def leave() -> None:
    """Move this process out of its caller's cgroup, so that stopping a service spares its containers.

    The first write to any cgroup.procs waits for a grace period of the kernel (6 to 17 ms without work);
    one that follows within some 12 ms does not. So a thread does it while the command is still parsing,
    and the runtime's write comes cheap. It is one write, to the new place: a second one to where we were
    would move us back. Where cgroups are not ours to write (an ordinary user), nothing happens.
    """
    targets = []
    for tree in _TREES:
        if os.path.exists(f"{tree}/cgroup.procs"):
            try:
                os.makedirs(f"{tree}/{_OWN}", 0o755, exist_ok=True)
                targets.append(os.open(f"{tree}/{_OWN}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
            except OSError:
                continue
    if targets:
        # A raw thread: it opened its files before the mount namespace changes, and only writes.
        _thread.start_new_thread(_move, (targets,))


def _move(targets: list[int]) -> None:
    for target in targets:
        try:
            os.write(target, b"0")
        except OSError:
            pass
        finally:
            os.close(target)


def out_of_memory(path: str) -> bool:
    """Tell whether the kernel killed something in a container's cgroup for want of memory."""
    if not path:
        return False
    for name, key in (
        (f"{_ROOT}/memory{path}/memory.oom_control", b"oom_kill "),
        (f"{_ROOT}{path}/memory.events", b"oom_kill "),
    ):
        try:
            with open(name, "rb") as stream:
                lines = stream.read().splitlines()
        except OSError:
            continue
        return any(line.startswith(key) and line[len(key) :].strip() != b"0" for line in lines)
    return False


def remove(path: str) -> None:
    """Remove a container's cgroup from every tree, ending whoever is left in it; nothing if it has gone.

    The runtime does that, but for what it made before it was killed, and for what was busy just then.
    """
    try:
        trees = os.listdir(_ROOT)
    except FileNotFoundError:
        return
    for tree in ("", *(f"/{name}" for name in trees)):
        top = f"{_ROOT}{tree}"
        # A covered tree (see `kernel.hide_unified_cgroups`) is none.
        if os.access(f"{top}{path}", os.F_OK) and os.access(f"{top}/cgroup.procs", os.F_OK):
            _remove(f"{_ROOT}{tree}{path}")


def _remove(path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        folders = [folder for folder, _below, _files in os.walk(path, topdown=False)]
        for folder in folders:
            _kill_members(folder)
        try:
            for folder in folders:
                os.rmdir(folder)
        except FileNotFoundError:
            return  # somebody else is at it
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.002)  # who was killed is still leaving: there is nothing to wait on
        else:
            return


def _kill_members(folder: str) -> None:
    try:
        with open(f"{folder}/cgroup.procs", "rb") as stream:
            pids = stream.read().split()
        for pid in pids:
            os.kill(int(pid), 9)
    except OSError:
        return  # the next look shows who is left
