"""What is shown of images: small values for lists, docker's JSON for `inspect`."""

from __future__ import annotations

from tiffin.spec import clock
from tiffin.spec import digest as digests
from tiffin.spec.reference import familiar
from tiffin.spec.state import NEVER
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.spec.container import ContainerConfig
    from tiffin.spec.image import ImageConfig
    from tiffin.spec.manifest import Manifest
    from tiffin.store.images import ImageRecord
    from tiffin.store.layout import Layout


class ImageView(Value):
    """One image of a list. `size` in bytes (unpacked), `created` RFC 3339 or "", names familiar."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    created: str
    size: int
    containers: int = -1
    labels: Mapping[str, str] = EMPTY

    @property
    def dangling(self) -> bool:
        """Whether no tag names it."""
        return not self.tags


class HistoryView(Value):
    """One line of an image's history, newest first. `id` is the image id for the newest, else "".

    `layer` is the digest of the layer that it made, "" for none; `wasted` are the bytes of that which later
    layers hide, -1 where nobody asked.
    """

    id: str
    created: str
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()
    wasted: int = -1
    layer: str = ""


def image_view(record: ImageRecord, *, containers: int = -1, labels: Mapping[str, str] = EMPTY) -> ImageView:
    """Return the list entry of an image."""
    return ImageView(
        id=record.id,
        tags=tuple(map(familiar, record.tags)),
        digests=tuple(map(familiar, record.digests)),
        created=record.created,
        size=record.size,
        containers=containers,
        labels=labels,
    )


def image_inspect(
    record: ImageRecord, config: ImageConfig, manifest: Manifest, layout: Layout, driver: str
) -> dict[str, Any]:
    """Return docker's JSON of an image; `driver` is docker's name of the snapshotter."""
    layers = [layout.layer(chain_id) for chain_id in reversed(record.layers)]
    places = {"UpperDir": layers[0]} if layers else {}
    if len(layers) > 1:
        places["LowerDir"] = ":".join(layers[1:])
    shown: dict[str, Any] = {
        "Id": record.id,
        "RepoTags": [familiar(tag) for tag in record.tags],
        "RepoDigests": [familiar(name) for name in record.digests],
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author,
        "Config": _image_config(config.config),
        "Architecture": config.platform.architecture,
    }
    if config.platform.variant:
        shown["Variant"] = config.platform.variant
    return shown | {
        "Os": config.platform.os,
        "Size": record.size,
        "GraphDriver": {"Data": places, "Name": driver},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": clock.from_ns(record.tagged) if record.tagged else NEVER},
        "Descriptor": {
            "mediaType": record.top.media_type,
            "digest": record.top.digest,
            "size": record.top.size,
        },
        "Manifest": {"digest": record.manifest.digest, "layers": [d.to_json() for d in manifest.layers]},
    }


def _image_config(config: ContainerConfig) -> dict[str, Any]:
    shown = config.to_json()
    for key in ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Image"):
        del shown[key]
    return {k: v for k, v in shown.items() if k not in {"Hostname", "Domainname"}}


def short_id(value: str) -> str:
    """Return the twelve characters that docker shows of an id, with or without `sha256:`."""
    return digests.short(value) if ":" in value else value[:12]
