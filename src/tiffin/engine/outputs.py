"""What a build is made into beside an image of the store: files in a folder or a tar, an archive."""

from __future__ import annotations

from tiffin.archive import save as writing
from tiffin.engine import visit
from tiffin.engine.again import Kept
from tiffin.engine.copy import piped
from tiffin.spec.reference import Reference
from tiffin.store import merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from tiffin.engine.engine import Engine


def write_files(engine: Engine, name: str, out: BinaryIO) -> None:
    """Write the files of an image as one tar."""
    record = engine.store.images.resolve(name)
    with engine.store.lease("export") as lease:
        lease.hold(record.layers)
        merged.write_tar(engine.store.stack(record.layers), out.write)


def unpack_files(engine: Engine, name: str, folder: str) -> int:
    """Write the files of an image into a folder of the host; return their bytes."""
    record = engine.store.images.resolve(name)
    with engine.store.lease("export") as lease:
        lease.hold(record.layers)
        stack = engine.store.stack(record.layers)
        return _unpack(engine, folder, lambda write: merged.write_tar(stack, write))


def write_archive(engine: Engine, name: str, tags: Sequence[str], out: BinaryIO) -> None:
    """Write an image as `save` does, under names that it need not have in the store."""
    record = engine.store.images.resolve(name)
    names = tuple(Reference.parse(tag).tagged() for tag in tags)
    with engine.store.lease("save"):
        image = writing.SavedImage(manifest=engine.store.images.manifest(record), tags=names)
        writing.write([image], Kept(engine), out)


def _unpack(engine: Engine, folder: str, produce: Callable[[Callable[[bytes], object]], object]) -> int:
    """Unpack a tar in a folder: no link that is there, or arrives, leads out of it; all is this user's."""
    own = () if engine.settings.privilege.rung == "root" else (0, 0)
    request = {"verb": "take", "path": "/", "name": "", "owner": own, "rename": ()}
    return piped(produce, lambda data: visit.at_home(engine.settings.privilege, folder, request, data))


def forget(engine: Engine, image_id: str, since: int) -> None:
    """Remove the image of a build that was not wanted in the store: nameless, and younger than a moment.

    Its layers stay, as results of the build's steps.
    """
    record = engine.store.images.get(image_id)
    if record.added >= since and not record.tags and not engine.store.images.users(image_id):
        engine.store.images.remove(image_id)
