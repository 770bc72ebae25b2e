"""OCI image layouts: what index.json names, and the small files that make a folder or a tar a layout.

Source: OCI image-spec, image-layout.md and annotations.md; containerd's annotation for whole names.
"""

from __future__ import annotations

from tiffin.archive.members import read_small
from tiffin.errors import Corrupt, InvalidArgument, Unsupported
from tiffin.spec import jsontext, mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.archive.members import Members

INDEX = "index.json"
LAYOUT = "oci-layout"
LAYOUT_BYTES = b'{"imageLayoutVersion":"1.0.0"}'
NAME = "io.containerd.image.name"
"""A whole name, as containerd and Docker write it."""
REF_NAME = "org.opencontainers.image.ref.name"
"""A tag by the letter of the specification; a whole name as skopeo and podman write it."""
_DOCUMENTS = mediatype.INDEXES | mediatype.MANIFESTS


def blob_path(digest: str) -> str:
    """Return where a layout keeps a blob."""
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def named(members: Members) -> list[tuple[Descriptor, Reference | None]]:
    """Return every image that index.json names, with its tag where it has one; [] if this is no layout."""
    if members.size(LAYOUT) < 0 or members.size(INDEX) < 0:
        return []
    layout = jsontext.load_object(read_small(members, LAYOUT))
    version = layout.get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        message = f"OCI image layout of version {str(version)[:40]!r} is not supported"
        raise Unsupported(message)
    entries = jsontext.load_object(read_small(members, INDEX)).get("manifests")
    if not isinstance(entries, list):
        message = "index.json: manifests must be a list"
        raise Corrupt(message)
    descriptors = map(Descriptor.from_json, entries)
    # Other media types (signatures, metadata) are no error and no image.
    return [(d.replace(annotations={}), _name(d)) for d in descriptors if d.media_type in _DOCUMENTS]


def _name(descriptor: Descriptor) -> Reference | None:
    """Return the whole name of an entry; a bare tag (`latest`) does not say of what, and is none."""
    for key in (NAME, REF_NAME):
        text = descriptor.annotations.get(key)
        if isinstance(text, str) and (key == NAME or "/" in text or ":" in text):
            try:
                found = Reference.parse(text).tagged()
            except InvalidArgument:
                continue
            return found if found.tag else None
    return None


def index_bytes(entries: Iterable[tuple[Descriptor, Reference | None]]) -> bytes:
    """Write an index.json as Docker does: one entry a tag, one without a name for an untagged image."""
    manifests = []
    for descriptor, reference in entries:
        names = {NAME: str(reference), REF_NAME: reference.tag} if reference else {}
        manifests.append(descriptor.replace(annotations=names).to_json())
    body = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": manifests}
    return jsontext.dumps_bytes(body)
