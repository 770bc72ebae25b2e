"""What refers to what, kept by the client where the registry does not: an index under a tag of the subject.

Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

from __future__ import annotations

from tiffin.errors import Corrupt, NotFound
from tiffin.spec import digest as digests
from tiffin.spec import jsontext, mediatype
from tiffin.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.registry.client import Repository

_ALGORITHM, _ENCODED = 32, 64


def subject_of(raw: bytes) -> str:
    """Return the digest of what a manifest says it is about, "" for nothing."""
    if b'"subject"' not in raw:
        return ""
    subject = jsontext.load_object(raw).get("subject")
    return Descriptor.from_json(subject).digest if subject is not None else ""


def tag_of(subject: str) -> str:
    """Return the tag under which the referrers of a digest are listed."""
    algorithm, _, encoded = subject.partition(":")
    return f"{algorithm[:_ALGORITHM]}-{encoded[:_ENCODED]}"


def add(repository: Repository, subject: str, raw: bytes, media_type: str) -> None:
    """Put a manifest that was pushed into its subject's list; one that is there already stays as it is.

    Raises Corrupt where the tag is taken by something else.
    """
    tag = tag_of(subject)
    index: dict[str, Any] = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}
    try:
        top, listed = repository.resolve(tag)
    except NotFound:
        pass
    else:
        if top.media_type != mediatype.OCI_INDEX:
            message = f"tag {tag} is no list of what refers to {subject}"
            raise Corrupt(message, hint="the manifest itself was pushed; remove that tag and push again")
        index = jsontext.load_object(listed)
    digest = digests.of(raw)
    if all(Descriptor.from_json(entry).digest != digest for entry in index["manifests"]):
        index["manifests"].append(_described(raw, media_type, digest))
        repository.put_manifest(jsontext.dumps_bytes(index), mediatype.OCI_INDEX, tag)


def _described(raw: bytes, media_type: str, digest: str) -> dict[str, Any]:
    body = jsontext.load_object(raw)
    config = body.get("config")
    kind = body.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "")
    entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(raw)}
    if kind:
        entry["artifactType"] = kind
    if body.get("annotations"):
        entry["annotations"] = body["annotations"]
    return entry
