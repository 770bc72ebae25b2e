"""publish and unpublish: ports of a container that is made already, also while it runs."""

from __future__ import annotations

from tiffin.engine import wiring
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec import port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.engine import Engine
    from tiffin.spec.port import PortBinding
    from tiffin.store.containers import ContainerRecord


def publish(engine: Engine, record: ContainerRecord, texts: Sequence[str]) -> tuple[str, ...]:
    """Add ports to the record, and at once if it runs; return `80/tcp -> 0.0.0.0:8080` of the new ones."""
    fresh = [binding for text in texts for binding in port.parse(text)]
    containers = engine.store.containers
    with containers.lock(record.id):
        record = containers.get(record.id)
        if not record.networks:
            message = f"container {record.name} is on no network on which ports can be published"
            raise Conflict(message, hint="its --network is host, none or another container's")
        again = [b for b in fresh if b in record.host.port_bindings and b.host_port]
        if again:
            raise Conflict(f"port {again[0].port} is published there already")
        state = containers.state(record.id)
        if state.running:
            network = engine.store.networks.resolve(next(iter(record.networks)))
            wanted = [p for binding in fresh for p in wiring.host_ports(engine, binding, network)]
            _ask(engine, record, "publish", [p.pack() for p in wanted])
        bindings = (*record.host.port_bindings, *fresh)
        containers.update(record.replace(host=record.host.replace(port_bindings=bindings)))
    known = [tuple(fact) for fact in state.network.get("ports", ())]
    now = containers.state(record.id).network.get("ports", ())
    return tuple(shown(fact) for fact in now if tuple(fact) not in known)


def unpublish(engine: Engine, record: ContainerRecord, texts: Sequence[str]) -> None:
    """Take ports away: those of a binding as it was given, or all of a container's port (`80`, `80/udp`)."""
    containers = engine.store.containers
    with containers.lock(record.id):
        record = containers.get(record.id)
        kept, gone = list(record.host.port_bindings), []
        for text in texts:
            matching = [b for b in kept if _is(b, text)]
            if not matching:
                raise NotFound(f"no public port '{text}' published for {record.name}")
            gone += matching
            kept = [b for b in kept if b not in matching]
        state = containers.state(record.id)
        if state.running:
            facts = state.network.get("ports", ())
            wanted = [f[:3] for f in facts if any(_made(f, binding) for binding in gone)]
            _ask(engine, record, "unpublish", wanted)
        containers.update(record.replace(host=record.host.replace(port_bindings=tuple(kept))))


def _ask(engine: Engine, record: ContainerRecord, action: str, wanted: object) -> None:
    from tiffin.engine.start import connect

    with connect(engine.store, record) as connection:
        connection.network(action, wanted=wanted)


def _is(binding: PortBinding, text: str) -> bool:
    """Tell whether a text means a binding."""
    try:
        asked = port.parse(text)
    except InvalidArgument:
        return False
    if len(asked) == 1 and not asked[0].host_port and not asked[0].host_ip:
        return binding.port == asked[0].port
    return binding in asked


def _made(fact: Sequence[object], binding: PortBinding) -> bool:
    """Tell whether a published port came of a binding."""
    host, number, protocol, target = fact
    low, _, high = binding.host_port.partition("-")
    in_range = not low or int(low) <= int(str(number)) <= int(high or low)
    same_host = not binding.host_ip or binding.host_ip == host
    return f"{target}/{protocol}" == binding.port and in_range and same_host


def shown(fact: Sequence[object]) -> str:
    """Return docker's line about a published port."""
    host, number, protocol, target = fact
    where = f"[{host}]" if ":" in str(host) else host
    return f"{target}/{protocol} -> {where}:{number}"
