"""A layer whose folder is lost or changed is made again from its blob, where that is still here."""

from __future__ import annotations

import os
from contextlib import suppress

from tiffin.errors import TiffinError
from tiffin.layer.limits import Limits
from tiffin.spec.descriptor import Descriptor
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.store.store import Store


def restore(store: Store, chain_id: str) -> bool:
    """Make a layer's folder again; return whether that was possible. The layers below it must be here."""
    row = store.database.one("SELECT parent, diff_id, size FROM layers WHERE chain_id=?", (chain_id,))
    if row is None:
        return False
    parent, diff_id, _ = row
    for blob in _blobs_of(store, diff_id):
        if store.content.has_blob(blob) and _from_blob(store, blob, parent, diff_id):
            return True
    return False


def _from_blob(store: Store, blob: Descriptor, parent: str, diff_id: str) -> bool:
    from tiffin.layer.apply import apply  # a process is started anyway

    settings, layout = store.settings, store.layout
    below = store.snapshots.chain(parent) if parent else ()
    with store.snapshots.begin() as draft:
        try:
            with open(store.content.path(blob.digest), "rb", buffering=0) as stream:
                made = apply(
                    stream.fileno(),
                    draft.path,
                    xattr=settings.privilege.xattr,
                    limits=Limits.of(settings),
                    lower=[layout.layer(lower) for lower in reversed(below)],
                )
        except (TiffinError, OSError):
            return False
        if made.diff_id != diff_id:
            return False
        chain_id = store.snapshots.commit(
            draft, parent=parent, diff_id=diff_id, size=made.size, foreign=True, implied=made.implied
        )
    atomic.remove_file(layout.index(chain_id))
    return True


def set_aside(store: Store, chain_id: str) -> None:
    """Move a layer's folder that is not what it should be out of the way; a sweep removes it."""
    draft = store.snapshots.begin()
    with suppress(FileNotFoundError):
        atomic.replace(store.layout.layer(chain_id), draft.path)
    draft.discard()


def _blobs_of(store: Store, diff_id: str) -> Iterator[Descriptor]:
    """Yield what images' manifests, and our own pushes, say a layer's blobs are."""
    for digest, media_type, size in store.database.query(
        "SELECT digest, media_type, size FROM compressed WHERE diff_id=?", (diff_id,)
    ):
        yield Descriptor(media_type=media_type, digest=digest, size=size)
    for record in store.images.list():
        with suppress(TiffinError):
            diff_ids = store.images.config(record).diff_ids
            for layer, its in zip(store.images.manifest(record).layers, diff_ids, strict=False):
                # A built layer's own digest is no blob: its bytes would come from the folder itself.
                if its == diff_id and os.path.exists(store.content.path(layer.digest)):
                    yield layer
