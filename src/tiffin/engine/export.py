"""export: a container's file system as one tar."""

from __future__ import annotations

from tiffin.store import merged, mountpoints
from tiffin.store.overlay import Stack

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
    layout, xattr = store.layout, engine.settings.privilege.xattr
    names = [mountpoints.ensure(layout, record.layers, xattr)]
    names += [layout.layer_name(chain_id) for chain_id in reversed(record.layers)]
    upper = f"{layout.container(record.id)}/upper"
    merged.write_tar(Stack([upper, *(f"{layout.layers}/{name}" for name in names)], xattr), out.write)
    store.events.append("container", "export", record.id, {"name": record.name})
