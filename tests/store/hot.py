"""What `run` asks of the store, for tests that look at what it imports."""

from __future__ import annotations

from tiffin.settings import ROOT, Settings
from tiffin.spec.container import HostConfig
from tiffin.store.containers import ContainerRecord
from tiffin.store.store import Store


def run(base: str) -> None:
    """Open, resolve, read the config, create, prepare, look at the state, remove."""
    store = Store(Settings(root=f"{base}/root", run=f"{base}/run", privilege=ROOT))
    image = store.images.resolve("x")
    config = store.images.config(image)
    record = ContainerRecord(
        id=store.containers.new_id(),
        name="",
        created=image.created,
        image_id=image.id,
        layers=image.layers,
        config=config.config,
        host=HostConfig(),
    )
    record = store.containers.create(record)
    store.snapshots.prepare(record.id, record.layers).data()
    store.events.append("container", "create", record.id)
    with store.containers.lock(record.id):
        assert store.containers.state(record.id).status == "created"
        store.containers.remove(record.id)
