"""Manifests and indexes, parsed with their raw bytes kept (OCI image-spec manifest.md, image-index.md)."""

from __future__ import annotations

from tiffin.errors import Corrupt, Unsupported
from tiffin.spec import jsontext, mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tiffin.spec.platform import Platform


class Manifest(Value):
    """One image: its config and its layers, bottom first. `raw` is what the digest was made of."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = EMPTY

    @staticmethod
    def build(
        config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str] = EMPTY
    ) -> Manifest:
        """Make an OCI manifest (docker's media types where the config has docker's) and its bytes."""
        docker = config.media_type == mediatype.DOCKER_CONFIG
        media_type = mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST
        body = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        if annotations:
            body["annotations"] = dict(annotations)
        raw = jsontext.dumps_bytes(body)
        return Manifest(
            raw=raw, media_type=media_type, config=config, layers=tuple(layers), annotations=annotations
        )


class Index(Value):
    """Several manifests, usually one a platform. `raw` is what the digest was made of."""

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = EMPTY

    def images(self) -> tuple[Descriptor, ...]:
        """Return the entries that are images for some platform (attestations are none)."""
        return tuple(m for m in self.manifests if not _is_attestation(m))

    def choose(self, platform: Platform) -> Descriptor | None:
        """Return the entry that fits the platform best, or None.

        An index whose single entry names no platform is taken as that entry (as docker does).
        """
        images = self.images()
        best = platform.best(m.platform for m in images if m.platform)
        for entry in images:
            if best is not None and entry.platform == best:
                return entry
        if len(images) == 1 and images[0].platform is None:
            return images[0]
        return None


def _is_attestation(entry: Descriptor) -> bool:
    if entry.annotations.get("vnd.docker.reference.type") == "attestation-manifest":
        return True
    return entry.platform is not None and entry.platform.os == "unknown"


def parse(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Parse a manifest or an index.

    `media_type` is what the registry's header or the descriptor said; the document's own
    `mediaType` wins where both stand, and the shape decides where neither does. Raises Corrupt for
    junk, Unsupported for schema 1 and for artifacts that are no container image.
    """
    body = jsontext.load_object(raw)
    own = body.get("mediaType")
    media_type = own if isinstance(own, str) and own else media_type.partition(";")[0].strip()
    if body.get("schemaVersion") == 1 or media_type in {
        mediatype.DOCKER_SCHEMA1,
        mediatype.DOCKER_SCHEMA1_SIGNED,
    }:
        message = "manifest schema version 1 is not supported: it has no content-addressed config"
        raise Unsupported(message, hint="push the image again with any tool of the last years")
    is_index = "manifests" in body
    contrary = mediatype.MANIFESTS if is_index else mediatype.INDEXES
    if (is_index and ("layers" in body or "config" in body)) or media_type in contrary:
        # Whoever reads it as the one and whoever reads it as the other would run different images.
        message = "manifest: it is both an image and an index"
        raise Corrupt(message)
    if is_index:
        entries = _list(body, "manifests")
        return Index(
            raw=raw,
            media_type=media_type if media_type in mediatype.INDEXES else mediatype.OCI_INDEX,
            manifests=tuple(map(Descriptor.from_json, entries)),
            annotations=_mapping(body, "annotations"),
        )
    config = Descriptor.from_json(body.get("config"))
    return Manifest(
        raw=raw,
        media_type=media_type if media_type in mediatype.MANIFESTS else mediatype.OCI_MANIFEST,
        config=config,
        layers=tuple(map(Descriptor.from_json, _list(body, "layers"))),
        annotations=_mapping(body, "annotations"),
    )


def check_is_image(manifest: Manifest) -> None:
    """Raise Unsupported for an artifact (helm chart, signature, model...) that is no container image."""
    kind = manifest.config.media_type
    if kind not in mediatype.CONFIGS:
        message = f"this is an artifact of type {kind}, not a container image"
        raise Unsupported(message, hint="fetch it with the tool that made it")
    for layer in manifest.layers:
        if layer.media_type not in mediatype.LAYERS:
            message = f"unsupported layer media type {layer.media_type}"
            raise Unsupported(message)


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if not isinstance(value, list):
        message = f"manifest: {key} must be a list"
        raise Corrupt(message)
    return value


def _mapping(body: dict[str, Any], key: str) -> Mapping[str, str]:
    value = body.get(key)
    return {k: str(v) for k, v in value.items()} if isinstance(value, dict) else EMPTY
