"""fork: new containers whose files start as another's are now, copy on write."""

from __future__ import annotations

import os

from tiffin.engine import lost
from tiffin.engine.commit import standing_still
from tiffin.engine.views import event_attributes
from tiffin.engine.volumes import clone
from tiffin.errors import Conflict, InvalidArgument
from tiffin.layer import tar
from tiffin.layer.diff import measure
from tiffin.spec import clock
from tiffin.spec.mount import MountPoint
from tiffin.spec.network import EndpointConfig
from tiffin.store import forks
from tiffin.store.containers import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.store import Store


def fork(engine: Engine, record: ContainerRecord, *, n: int, name: str) -> tuple[str, ...]:
    """Make `n` containers like this one and return their ids; all of them, or none where one cannot be.

    What a stopped one wrote becomes a layer that it shares with them; of one that runs it is copied once,
    while it stands still. Named volumes and folders of the host are shared, anonymous volumes are copied.
    Addresses that the source was promised (`--ip`, `--mac-address`) stay its own.
    """
    if n < 1:
        raise InvalidArgument("a container is forked at least once")
    names = [name] if n == 1 or not name else [f"{name}-{number}" for number in range(1, n + 1)]
    for chosen in filter(None, names):
        check_name(chosen)
        engine.store.containers.check_free(chosen)
    names += [""] * (n - len(names))
    made: list[str] = []
    with engine.store.lease("fork"):
        start = _start(engine, record)
        try:
            made.extend(_make(engine, start, chosen) for chosen in names)
        except BaseException:
            for container_id in made:
                engine.containers.remove(container_id, volumes=True)
            raise
    engine.store.events.append("container", "fork", record.id, event_attributes(record))
    return tuple(made)


def _start(engine: Engine, record: ContainerRecord) -> ContainerRecord:
    """Return a record with the layers that hold all that the container shows now."""
    store = engine.store
    with store.containers.lock(record.id):
        record = store.containers.get(record.id)
        state = store.containers.state(record.id)
        if state.status == "restarting":
            message = f"Container {record.id} is restarting, wait until the container is running"
            raise Conflict(message)
        if state.running:
            with standing_still(engine, record, wanted=True):
                return _copied(store, record)
        lost.await_end(engine, record.id)
        if store.snapshots.is_copied(record.id):
            return _copied(store, record)
        store.snapshots.prepare(record.id, record.layers)
        upper = f"{store.layout.container(record.id)}/upper"
        measured = measure(upper, xattr=engine.settings.privilege.xattr)
        return record if measured.tar_size <= len(tar.END) else forks.settle(store, record, measured)


def _copied(store: Store, record: ContainerRecord) -> ContainerRecord:
    """Copy what the container wrote into a layer that only its forks have."""
    with store.snapshots.begin() as draft:
        store.snapshots.copy_upper(record.id, draft)
        chain_id = store.snapshots.commit_written(draft, parent=record.layers[-1] if record.layers else "")
    if not chain_id:
        return record
    forks.keep(store, chain_id)
    extra = {**record.extra, "own_layers": record.own_layers + 1}
    return record.replace(layers=(*record.layers, chain_id), extra=extra)


def _make(engine: Engine, source: ContainerRecord, name: str) -> str:
    store = engine.store
    container_id = store.containers.new_id()
    config = source.config
    if config.hostname == source.id[:12]:
        config = config.replace(hostname=container_id[:12])
    points = tuple(map(MountPoint.from_json, source.mounts))
    twins = tuple(_own(store, point) for point in points)
    record = source.replace(
        id=container_id,
        name=name,
        created=clock.now(),
        config=config,
        host=source.host.replace(container_id_file=""),
        mounts=tuple(point.to_json() for point in twins),
        networks={key: _elsewhere(endpoint) for key, endpoint in source.networks.items()},
    )
    try:
        store.snapshots.prepare(container_id, record.layers)
        record = store.containers.create(record)
    except BaseException:
        store.snapshots.remove(container_id)
        raise
    try:
        for old, new in zip(points, twins, strict=True):
            if old != new:
                clone(engine, old.name, new.name, anonymous=True)
    except BaseException:
        engine.containers.remove(container_id, volumes=True)
        raise
    store.events.append("container", "create", container_id, event_attributes(record))
    return container_id


def _elsewhere(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return an endpoint for a fork: addresses that only one can have are given anew."""
    wanted = EndpointConfig.from_json(dict(endpoint)).replace(ip4="", ip6="", link_local=(), mac="")
    return {**endpoint, **wanted.to_json()}


def _own(store: Store, point: MountPoint) -> MountPoint:
    """Return a mount point for a fork: a volume that only the source has is one that only the fork has."""
    if point.type != "volume" or not store.volumes.get(point.name).anonymous:
        return point
    name = os.urandom(32).hex()
    return point.replace(name=name, source=store.layout.volume_data(name))
