"""Egress lists of containers: checked, changed while they run, and what was tried under them."""

from __future__ import annotations

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.network import egress
from tiffin.spec import jsontext
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.spec.container import HostConfig
    from tiffin.store.containers import ContainerRecord


class Attempt(Value):
    """What a container has tried to reach: a name that it asked for (`port` ""), or an address.

    An address's `name` is what it was asked for as, if it was. `last` is seconds since the epoch.
    """

    name: str
    address: str
    port: str
    allowed: bool
    times: int
    last: float


def written(texts: Iterable[str]) -> tuple[str, ...]:
    """Return entries in their usual form; raises InvalidArgument."""
    return tuple(map(str, egress.entries(texts)))


def check(host: HostConfig) -> None:
    """Raise InvalidArgument for a list that cannot be read, or a network on which nobody could hold it."""
    written(host.egress or ())
    mode = host.network_mode
    if mode in {"none", "host"} or mode.startswith("container:"):
        whose = "the other container has" if mode.startswith("container:") else "a bridge network has"
        raise InvalidArgument("conflicting options: egress and the network mode", hint=f"{whose} such a list")


def change(
    engine: Engine, record: ContainerRecord, allow: Sequence[str], revoke: Sequence[str]
) -> tuple[str, ...]:
    """Add entries and take others away, at once if it runs; return what counts then.

    Raises InvalidArgument, NotFound for one to revoke that is not there, Conflict without a list.
    """
    more, less = written(allow), written(revoke)
    containers = engine.store.containers
    with containers.lock(record.id):
        record = containers.get(record.id)
        listed = _list_of(record)
        for text in less:
            if text not in listed:
                raise NotFound(f"{text} is not in the egress list of {record.name}", hint=", ".join(listed))
        now = tuple(text for text in dict.fromkeys((*listed, *more)) if text not in less)
        if containers.state(record.id).running:
            _ask(engine, record, allow=now)
        containers.update(record.replace(host=record.host.replace(egress=now)))
    return now


def attempts(engine: Engine, record: ContainerRecord) -> tuple[Attempt, ...]:
    """Return what a container has tried since its last start, the latest last; raises Conflict."""
    _list_of(record)
    if engine.store.containers.state(record.id).running:
        _ask(engine, record)
    try:
        with open(engine.store.layout.egress(record.id), "rb") as stream:
            found = jsontext.load_object(stream.read())["attempts"]
    except FileNotFoundError:
        return ()
    return tuple(sorted((Attempt(**one) for one in found), key=lambda one: one.last))


def _list_of(record: ContainerRecord) -> tuple[str, ...]:
    if record.host.egress is None:
        message = f"container {record.name} has no egress list: it may reach everything"
        raise Conflict(message, hint="make it with --egress allow=..., or --egress none")
    return record.host.egress


def _ask(engine: Engine, record: ContainerRecord, **words: object) -> None:
    from tiffin.engine.start import connect

    with connect(engine.store, record) as connection:
        connection.network("egress", **words)
