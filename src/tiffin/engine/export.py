"""export: a container's file system as one tar."""

from __future__ import annotations

from tiffin.store import merged, mountpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord


def export(engine: Engine, record: ContainerRecord, out: BinaryIO) -> None:
    """Write what the container sees of its own files: not what is mounted into it.

    The mount points that the engine adds (`/dev`, `/proc`, `/etc/hosts`, `/.dockerenv`...) are there, empty,
    as with docker.
    """
    store = engine.store
    mountpoints.ensure(store.layout, record.layers, engine.settings.privilege.xattr)
    merged.write_tar(store.snapshots.view(record.id, record.layers, points=True), out.write)
    store.events.append("container", "export", record.id, {"name": record.name})
