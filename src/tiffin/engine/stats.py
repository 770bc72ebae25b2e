"""stats: what containers use at this moment."""

from __future__ import annotations

import os
import time

from tiffin.engine import cgroups, descendants
from tiffin.engine.patience import ready
from tiffin.errors import NotFound
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.engine.engine import Engine


class Stats(Value):
    """One container's use. Bytes; `cpu_percent` is of one cpu, so that two busy ones are 200."""

    id: str
    name: str
    cpu_percent: float
    usage: cgroups.Usage
    memory_limit: int
    network_received: int
    network_sent: int
    running: bool


def watch(
    engine: Engine, names: Sequence[str], *, every: bool, seconds: float = 1.0, gone: int = -1
) -> Iterator[list[Stats]]:
    """Yield what the named containers use (all that run, or all with `every`), each time after a pause.

    Ends when the other side of the socket `gone` has left. Raises NotFound for a name that is not there.
    """
    wanted = [engine.containers.get(name).id for name in names]
    before: dict[str, tuple[int, int]] = {}
    while True:
        found = _look(engine, wanted, every=every, before=before)
        if before or not found:
            yield found
        before = {s.id: (s.usage.cpu, time.monotonic_ns()) for s in found} or {"": (0, 0)}
        if ready(gone=gone, seconds=seconds):
            return


def _look(
    engine: Engine, wanted: list[str], *, every: bool, before: dict[str, tuple[int, int]]
) -> list[Stats]:
    found = []
    if wanted:
        views = [v for v in engine.containers.list(all=True) if v.id in wanted]
        if len(views) < len(set(wanted)):
            gone = next(i for i in wanted if i not in {v.id for v in views})
            raise NotFound(f"No such container: {gone}")
        views.sort(key=lambda view: wanted.index(view.id))
    else:
        views = list(engine.containers.list(all=every))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for view in views:
        usage = _usage(engine, view.id, view.state.pid)
        then = before.get(view.id)
        busy = 100.0 * (usage.cpu - then[0]) / (time.monotonic_ns() - then[1]) if then else 0.0
        received, sent = _network(view.state.pid)
        found.append(
            Stats(
                id=view.id,
                name=view.name,
                cpu_percent=max(0.0, busy),
                usage=usage,
                memory_limit=(usage.memory_limit or memory) if view.state.pid else 0,
                network_received=received,
                network_sent=sent,
                running=view.state.running,
            )
        )
    return found


def _usage(engine: Engine, container_id: str, pid: int) -> cgroups.Usage:
    if not pid:
        return cgroups.Usage()
    if engine.settings.privilege.cgroups:
        return cgroups.usage(container_id, pid)
    return descendants.usage(pid)


def _network(pid: int) -> tuple[int, int]:
    """Return bytes received and sent by all but the loopback of a process's network namespace."""
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as stream:
            lines = stream.read().splitlines()[2:]
    except OSError:
        return 0, 0
    for line in lines:
        name, _, counts = line.partition(":")
        numbers = counts.split()
        if name.strip() != "lo" and len(numbers) > 8:
            received += int(numbers[0])
            sent += int(numbers[8])
    return received, sent
