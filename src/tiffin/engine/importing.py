"""import: a tar of a file system becomes an image of one layer."""

from __future__ import annotations

from tiffin.build import changes as changing
from tiffin.engine.assemble import assemble, built_layer
from tiffin.engine.commit import image_name
from tiffin.engine.flight import in_flight
from tiffin.layer import apply, diff
from tiffin.layer.limits import Limits
from tiffin.spec import clock
from tiffin.spec.container import ContainerConfig
from tiffin.spec.image import HistoryEntry, ImageConfig
from tiffin.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from tiffin.engine.engine import Engine


def import_image(
    engine: Engine,
    stream: BinaryIO,
    *,
    name: str = "",
    changes: Sequence[str] = (),
    message: str = "",
    platform: str = "",
) -> str:
    """Make an image of a tar (also gzip, zstd, xz, bzip2) and return its id; nothing stays if it fails.

    The layer's digest is that of our own serialiser: the same files give the same layer, however their tar
    was written.
    """
    store = engine.store
    xattr = engine.settings.privilege.xattr
    tags = (image_name(name),) if name else ()
    wanted = Platform.parse(platform) if platform else Platform.here()
    config = changing.apply(ContainerConfig(), changes)
    with in_flight(engine, "import"), store.snapshots.begin() as draft:
        apply.apply_stream(stream.read, draft.path, xattr=xattr, limits=Limits.of(engine.settings))
        measured = diff.measure(draft.path, xattr=xattr)
        chain_id = store.snapshots.commit(
            draft, parent="", diff_id=measured.diff_id, size=measured.size, tar_size=measured.tar_size
        )
        created = clock.now()
        image = ImageConfig.build(
            platform=wanted,
            config=config,
            diff_ids=(measured.diff_id,),
            history=(HistoryEntry(created=created, comment=message or "Imported from -"),),
            created=created,
        )
        layers = (built_layer(store, measured.diff_id, chain_id),)
        made = assemble(store, image, layers, size=measured.size, tags=tags)
    store.events.append("image", "import", made.id, {"name": name or made.id})
    return made.id
