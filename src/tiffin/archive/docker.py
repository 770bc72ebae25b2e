"""docker's archives: manifest.json of `docker save`, old (ID/layer.tar) and new (beside an OCI layout).

An image of an old archive has a config and layers, but no manifest: it gets one here, an OCI manifest
over the same bytes, so that every image is read the same way.
"""

from __future__ import annotations

import hashlib

from tiffin.archive.members import SMALL, read_small
from tiffin.errors import Corrupt, InvalidArgument
from tiffin.layer.compression import HEAD, sniff
from tiffin.spec import digest as digests
from tiffin.spec import jsontext, mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.image import ImageConfig
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.archive.members import Members

MANIFEST = "manifest.json"
REPOSITORIES = "repositories"
_PIECE = 1 << 20
_TYPES = {"": mediatype.OCI_LAYER, "gzip": mediatype.OCI_LAYER_GZIP, "zstd": mediatype.OCI_LAYER_ZSTD}


class DockerImage(Value):
    """One entry of manifest.json, made into a manifest; `places` maps digests to members of the archive."""

    manifest: Manifest
    config: bytes
    tags: tuple[Reference, ...]
    places: Mapping[str, str]


class Entry(Value):
    """One entry of manifest.json as it stands: paths of config and layers, bottom first, and names."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[Reference, ...]


def entries(members: Members) -> list[Entry]:
    """Return what manifest.json names; [] if there is none. Raises Corrupt for junk."""
    if members.size(MANIFEST) < 0:
        return []
    value = jsontext.loads(read_small(members, MANIFEST))
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        message = "manifest.json: must be a list of objects"
        raise Corrupt(message)
    found = []
    for item in value:
        config, layers, tags = item.get("Config"), item.get("Layers") or [], item.get("RepoTags") or []
        if not isinstance(config, str) or not _strings(layers) or not _strings(tags):
            message = "manifest.json: Config, Layers and RepoTags are required"
            raise Corrupt(message)
        found.append(Entry(config=config, layers=tuple(layers), tags=tuple(map(_tag, tags))))
    return found


def image(members: Members, entry: Entry) -> DockerImage:
    """Make a manifest for an entry; a compressed layer is read once for its digest, others not at all.

    Raises Corrupt, with docker's sentence where it has one, for an entry that does not fit its files.
    """
    config = read_small(members, entry.config, SMALL)
    parsed = ImageConfig.parse(config)
    if len(parsed.diff_ids) != len(entry.layers):
        message = (
            f"invalid manifest, layers length mismatch: expected {len(entry.layers)}, "
            f"got {len(parsed.diff_ids)}"
        )
        raise Corrupt(message)
    places: dict[str, str] = {}
    layers = []
    for path, diff_id in zip(entry.layers, parsed.diff_ids, strict=True):
        descriptor = _layer(members, path, diff_id)
        places[descriptor.digest] = path
        layers.append(descriptor)
    described = Descriptor(media_type=mediatype.OCI_CONFIG, digest=digests.of(config), size=len(config))
    return DockerImage(
        manifest=Manifest.build(described, layers), config=config, tags=entry.tags, places=places
    )


def _layer(members: Members, path: str, diff_id: str) -> Descriptor:
    """Describe a layer file: an uncompressed one has its diff_id as digest, which its reader verifies."""
    reader = members.open(path)
    try:
        size = members.size(path)
        head = reader.read(HEAD)
        kind = sniff(head)
        if not kind:
            return Descriptor(media_type=mediatype.OCI_LAYER, digest=diff_id, size=size)
        sha = hashlib.sha256(head)
        while piece := reader.read(_PIECE):
            sha.update(piece)
    finally:
        reader.close()
    # xz and bzip2 have no media type: extraction goes by the bytes, not by this word.
    media_type = _TYPES.get(kind, mediatype.OCI_LAYER)
    return Descriptor(media_type=media_type, digest=f"sha256:{sha.hexdigest()}", size=size)


def _tag(text: str) -> Reference:
    try:
        reference = Reference.parse(text)
    except InvalidArgument as error:
        message = f"invalid tag {text[:300]!r}"
        raise Corrupt(message) from error
    if not reference.tag or reference.digest:
        message = f"invalid tag {text[:300]!r}"
        raise Corrupt(message)
    return reference


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def manifest_bytes(images: Sequence[tuple[Manifest, Sequence[Reference]]], paths: Mapping[str, str]) -> bytes:
    """Write a manifest.json; `paths` maps digests to members. An image without names has null tags."""
    body = [
        {
            "Config": paths[manifest.config.digest],
            "RepoTags": [tag.familiar for tag in tags] or None,
            "Layers": [paths[layer.digest] for layer in manifest.layers],
        }
        for manifest, tags in images
    ]
    return jsontext.dumps_bytes(body)


def repositories_bytes(images: Sequence[tuple[Manifest, Sequence[Reference]]]) -> bytes:
    """Write the `repositories` file that tools of before 2016 look for; b"" when nothing has a name."""
    body: dict[str, dict[str, str]] = {}
    for manifest, tags in images:
        for tag in tags if manifest.layers else ():
            top = digests.hex_of(manifest.layers[-1].digest)
            body.setdefault(tag.familiar_name, {})[tag.tag] = top
    return jsontext.dumps_bytes(body) if body else b""
