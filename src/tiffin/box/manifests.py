"""Manifests of a repository: read by tag or digest, checked and stored, deleted."""

from __future__ import annotations

from tiffin.box.catalogue import Kept
from tiffin.box.refused import Refused
from tiffin.errors import Corrupt
from tiffin.http.message import Response
from tiffin.spec import jsontext, mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.reference import valid_tag
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.box.catalogue import Catalogue
    from tiffin.box.route import Route
    from tiffin.http.message import Request
    from tiffin.store.content import Content

LARGEST = 4 << 20
"""The specification's least limit, and the one that clients have."""
_MOST_TAGS = 100
_TOKEN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&^_.+-")
_FOREIGN = "nondistributable"


class Examined(Value):
    """What a pushed manifest says: what it needs, what it is about, how the referrers API lists it."""

    media_type: str
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: str
    artifact_type: str
    annotations: dict[str, Any]


def examine(raw: bytes, content_type: str) -> Examined:
    """Read a manifest of whatever type as it was pushed; raise Refused (MANIFEST_INVALID) for a bad one."""
    try:
        body = jsontext.load_object(raw)
        media_type = _media_type(body, content_type)
        config = [Descriptor.from_json(body["config"])] if body.get("config") is not None else []
        blobs = (*config, *_descriptors(body, "layers"), *_descriptors(body, "blobs"))
        manifests = _descriptors(body, "manifests")
        subject = body.get("subject")
        about = Descriptor.from_json(subject).digest if subject is not None else ""
    except Corrupt as error:
        raise _invalid(error.message) from None
    if media_type in mediatype.MANIFESTS and (not config or "layers" not in body):
        raise _invalid("an image manifest needs config and layers")
    if media_type in mediatype.INDEXES and "manifests" not in body:
        raise _invalid("an index needs manifests")
    if "manifests" in body and ("layers" in body or config):
        # Whoever reads it as the one and whoever reads it as the other would run different images.
        raise _invalid("it is both an image and an index")
    kind = body.get("artifactType") or (config[0].media_type if config else "")
    annotations = body.get("annotations")
    return Examined(
        media_type=media_type,
        blobs=tuple(blob for blob in blobs if not _is_foreign(blob)),
        manifests=manifests,
        subject=about,
        artifact_type=str(kind),
        annotations=annotations if isinstance(annotations, dict) else {},
    )


def _media_type(body: dict[str, Any], content_type: str) -> str:
    said = content_type.partition(";")[0].strip()
    own = body.get("mediaType") or said
    if own != said and said:
        raise _invalid(f"Content-Type is {said}, mediaType says {own}")
    if body.get("schemaVersion") != 2 or own in {mediatype.DOCKER_SCHEMA1, mediatype.DOCKER_SCHEMA1_SIGNED}:
        raise _invalid("schemaVersion must be 2")
    kind, slash, rest = own.partition("/") if isinstance(own, str) else ("", "", "")
    if not (kind and slash and rest) or len(own) > 255 or not _TOKEN.issuperset(kind + rest):
        raise _invalid("neither Content-Type nor mediaType says what it is")
    return str(own)


def _descriptors(body: dict[str, Any], member: str) -> tuple[Descriptor, ...]:
    values = body.get(member)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise _invalid(f"{member} must be a list")
    return tuple(map(Descriptor.from_json, values))


def _is_foreign(blob: Descriptor) -> bool:
    """Tell whether a layer lies elsewhere and may not be pushed."""
    return bool(blob.urls) and (
        _FOREIGN in blob.media_type or blob.media_type == mediatype.DOCKER_LAYER_FOREIGN
    )


def _invalid(why: str) -> Refused:
    return Refused("MANIFEST_INVALID", why)


class Manifests:
    """What `/v2/NAME/manifests/REFERENCE` does."""

    def __init__(self, catalogue: Catalogue, content: Content) -> None:
        """Keep bytes in that content, exactly as they come."""
        self._catalogue = catalogue
        self._content = content

    def get(self, _request: Request, route: Route) -> Response:
        """Send a manifest as it was pushed."""
        kept = self._catalogue.manifest(route.name, route.argument)
        if kept is None:
            raise Refused("MANIFEST_UNKNOWN", {"name": route.name, "reference": route.argument})
        return Response(
            status=200,
            headers=(
                ("Content-Type", kept.media_type),
                ("Docker-Content-Digest", kept.digest),
                ("ETag", f'"{kept.digest}"'),
            ),
            body=self._content.read(kept.digest),
        )

    def put(self, request: Request, route: Route) -> Response:
        """Check a manifest and what it needs, store it, and let its tags point to it."""
        tags = self._tags(request, route)
        raw = request.body.read_all(LARGEST)
        algorithm = route.argument.partition(":")[0] if ":" in route.argument else "sha256"
        digest = _digest(algorithm, raw)
        if ":" in route.argument and digest != route.argument:
            raise Refused("DIGEST_INVALID", {"digest": route.argument})
        found = examine(raw, request.header("content-type"))
        self._check_whole(route.name, found)
        descriptor = Descriptor(media_type=found.media_type, digest=digest, size=len(raw))
        if not self._content.has(digest, len(raw)):
            with self._content.ingest(descriptor, resume=False) as writer:
                writer.write(raw)
                writer.commit()
        listed = descriptor.to_json()
        listed |= {"artifactType": found.artifact_type} if found.artifact_type else {}
        listed |= {"annotations": found.annotations} if found.annotations else {}
        kept = Kept(digest=digest, media_type=found.media_type, size=len(raw))
        self._catalogue.put_manifest(
            route.name,
            kept,
            needed=[needed.digest for needed in (*found.blobs, *found.manifests)],
            tags=tags,
            subject=found.subject,
            referrer=listed,
        )
        headers = [
            ("Location", f"/v2/{route.name}/manifests/{digest}"),
            ("Docker-Content-Digest", digest),
        ]
        headers += [("OCI-Subject", found.subject)] if found.subject else []
        headers += [("OCI-Tag", ", ".join(tags))] if request.bears("tag") else []
        return Response(status=201, headers=tuple(headers))

    @staticmethod
    def _tags(request: Request, route: Route) -> list[str]:
        if ":" not in route.argument:
            return [route.argument]
        tags = request.parameters("tag")
        if len(tags) > _MOST_TAGS:
            raise Refused("UNSUPPORTED", f"at most {_MOST_TAGS} tags at once", status=414)
        for tag in tags:
            if not valid_tag(tag):
                raise Refused("MANIFEST_INVALID", {"tag": tag[:200]}, status=400)
        return tags

    def _check_whole(self, name: str, found: Examined) -> None:
        """Refuse a manifest that needs what the repository does not have, or has in another size."""
        for blob in found.blobs:
            self._check_size(blob, self._catalogue.blob_size(name, blob.digest))
        for entry in found.manifests:
            kept = self._catalogue.manifest(name, entry.digest)
            # Build caches list plain blobs in an index.
            self._check_size(entry, kept.size if kept else self._catalogue.blob_size(name, entry.digest))

    @staticmethod
    def _check_size(descriptor: Descriptor, size: int | None) -> None:
        if size is None:
            raise Refused("MANIFEST_BLOB_UNKNOWN", {"digest": descriptor.digest})
        if size != descriptor.size:
            raise _invalid(f"{descriptor.digest} has {size} bytes, not {descriptor.size}")

    def delete(self, _request: Request, route: Route) -> Response:
        """Delete a tag, or a manifest together with its tags."""
        by_digest = ":" in route.argument
        delete = self._catalogue.delete_manifest if by_digest else self._catalogue.delete_tag
        if not delete(route.name, route.argument):
            raise Refused("MANIFEST_UNKNOWN", {"name": route.name, "reference": route.argument})
        return Response(status=202)


def _digest(algorithm: str, raw: bytes) -> str:
    import hashlib

    return f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
