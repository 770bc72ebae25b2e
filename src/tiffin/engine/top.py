"""top: the host's `ps`, of which only a container's processes are shown."""

from __future__ import annotations

import subprocess

from tiffin.engine import cgroups, descendants
from tiffin.errors import Conflict, InvalidArgument, Unsupported
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord


class Table(Value):
    """What `ps` said: titles, and one row per process."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def top(engine: Engine, record: ContainerRecord, arguments: Sequence[str]) -> Table:
    """Run `ps` with these arguments (`-ef` without any); raises Conflict if the container does not run."""
    state = engine.store.containers.state(record.id)
    if state.status == "restarting":
        raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
    if not state.running:
        raise Conflict(f"Container {record.id} is not running")
    try:
        done = subprocess.run(
            ["ps", *(arguments or ("-ef",))], capture_output=True, check=False, text=True, errors="replace"
        )
    except FileNotFoundError as error:
        raise Unsupported("ps is not installed on this host", hint="apt-get install procps") from error
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise InvalidArgument(f"Error running ps: exit status {done.returncode}: {said}")
    if engine.settings.privilege.cgroups:
        return parse(done.stdout, cgroups.processes(record.id, state.pid))
    return parse(done.stdout, descendants.processes(state.pid))


def parse(text: str, pids: set[int]) -> Table:
    """Return the rows of these processes; raises InvalidArgument where `ps` was told to leave pids out."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output", hint="for example -o pid,comm")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(tuple(field.strip() for field in fields))
    return Table(titles=tuple(titles), rows=tuple(rows))
