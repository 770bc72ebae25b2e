"""The last step of whatever makes an image here: config, manifest, one durable commit."""

from __future__ import annotations

from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.manifest import Manifest
from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.spec.image import ImageConfig
    from tiffin.spec.reference import Reference
    from tiffin.store.images import ImageRecord
    from tiffin.store.store import Store


def assemble(
    store: Store,
    config: ImageConfig,
    layers: Sequence[Descriptor],
    *,
    size: int,
    tags: Sequence[Reference] = (),
    annotations: Mapping[str, str] = EMPTY,
) -> ImageRecord:
    """Commit an image of layers that are in the store (a lease holds them); `size` is unpacked bytes."""
    described = store.content.put_bytes(config.raw, mediatype.OCI_CONFIG)
    manifest = Manifest.build(described, layers, annotations)
    descriptor = store.content.put_bytes(manifest.raw, manifest.media_type)
    return store.images.commit(config=config, manifest=descriptor, top=descriptor, size=size, tags=tags)


def built_layer(store: Store, diff_id: str, chain_id: str) -> Descriptor:
    """Describe a layer that was made here: it stays uncompressed until a push wants it otherwise."""
    size = store.snapshots.tar_size(chain_id)
    return Descriptor(media_type=mediatype.OCI_LAYER, digest=diff_id, size=size)
