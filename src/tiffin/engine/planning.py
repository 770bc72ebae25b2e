"""What a pull would fetch, told before it is: nothing is written."""

from __future__ import annotations

import os
from contextlib import closing

from tiffin.engine.layers import checked_config, image_manifest
from tiffin.engine.pull import choose
from tiffin.errors import TiffinError
from tiffin.registry.mirrors import Mirrored
from tiffin.spec import digest as digests
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.spec.descriptor import Descriptor


class PlannedLayer(Value):
    """A layer's digest and size, and how many of its bytes (as it travels) are to be fetched."""

    digest: str
    size: int
    fetch: int


class PullPlan(Value):
    """What a pull would do. `rate_limit` is "" where the registry announces none."""

    reference: str
    digest: str
    platform: str
    layers: tuple[PlannedLayer, ...]
    rate_limit: str = ""

    @property
    def fetch(self) -> int:
        """Bytes of layers that are to be fetched."""
        return sum(layer.fetch for layer in self.layers)


def plan(engine: Engine, name: str, *, platform: str = "") -> PullPlan:
    """Ask a registry what an image consists of, and compare it with what is here."""
    reference = Reference.parse(name).tagged()
    wanted = Platform.parse(platform) if platform else Platform.here()
    try:
        with Mirrored(reference, engine.settings) as repository:
            top, raw = repository.resolve(reference.digest or reference.tag)
            entry, manifest_raw = choose(
                lambda chosen: repository.resolve(chosen.digest), top, raw, wanted, reference.familiar
            )
            manifest = image_manifest(manifest_raw, entry.media_type)
            with closing(repository.open_blob(manifest.config)) as reader:
                config = checked_config(manifest, reader.read())
            rate = str(repository.rate_limit or "")
    except TiffinError as error:
        raise error.at(f"pull {reference.familiar}") if engine.settings.debug else error from None
    chain = digests.chain_ids(config.diff_ids)
    layers = tuple(_layer(engine, *pair) for pair in zip(manifest.layers, chain, strict=True))
    return PullPlan(
        reference=reference.familiar,
        digest=top.digest,
        platform=str(config.platform),
        layers=layers,
        rate_limit=rate,
    )


def _layer(engine: Engine, layer: Descriptor, chain_id: str) -> PlannedLayer:
    store, discards = engine.store, engine.settings.discard_blobs
    fetch = 0
    if not (store.content.has_blob(layer) or (discards and store.snapshots.has(chain_id))):
        try:
            have = os.stat(store.content.partial_path(layer.digest)).st_size
        except OSError:
            have = 0
        fetch = layer.size - have if have <= layer.size else layer.size
    return PlannedLayer(digest=layer.digest, size=layer.size, fetch=fetch)
