"""A repository in a registry: manifests, blobs and tags, as a source and as a sink of bytes.

Source: OCI distribution-spec 1.1. `Repository` plays `BlobSource` and `BlobSink` (spec/blob.py); a
descriptor of a manifest or an index goes to and comes from `/manifests/`, everything else `/blobs/`.
"""

from __future__ import annotations

import difflib
from io import BytesIO
from urllib.parse import quote

from tiffin.errors import Corrupt, InvalidArgument, NotFound, TiffinError, Unauthorized, Unsupported
from tiffin.registry import address, answers, auth, referrers
from tiffin.registry.credentials import Credential, Credentials
from tiffin.registry.download import BlobStream
from tiffin.registry.session import Session, read_body
from tiffin.registry.upload import Outgoing, Upload
from tiffin.spec import digest as digests
from tiffin.spec import jsontext, manifest, mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.reference import Reference, valid_tag
from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from urllib3 import BaseHTTPResponse

    from tiffin.registry.session import Reply
    from tiffin.registry.transport import Limits
    from tiffin.settings import Settings
    from tiffin.spec.blob import BlobReader, BlobSource, Progress

MANIFEST_LIMIT = 4 << 20
"""Bytes of a manifest; what the specification asks everyone to support."""
_TAGS_LIMIT = 4 << 20
_TAG_PAGES = 500
_TAGS = 200_000
_TAGS_SHOWN = 8
_ACCEPT = (
    f"{mediatype.OCI_INDEX}, {mediatype.DOCKER_INDEX}, "
    f"{mediatype.OCI_MANIFEST}, {mediatype.DOCKER_MANIFEST}, "
    f"{mediatype.DOCKER_SCHEMA1_SIGNED}, {mediatype.DOCKER_SCHEMA1}, */*;q=0.1"
)
_DOCUMENTS = mediatype.INDEXES | mediatype.MANIFESTS


class Repository:
    """One repository of one registry. Thread-safe; close it, or use it as a context."""

    def __init__(
        self,
        reference: Reference,
        settings: Settings,
        credentials: Credentials | None = None,
        *,
        limits: Limits | None = None,
        session: Session | None = None,
    ) -> None:
        """Prepare for the reference's repository; nothing is asked yet.

        `session` shares connections and tokens with another repository of the same registry.
        """
        found = credentials or Credentials(settings)
        self.reference = reference
        self.session = session or Session(
            reference.domain, settings, lambda: found.lookup(reference.domain), limits=limits
        )
        self._pull = auth.pull_scope(reference.path)
        self._push = auth.push_scope(reference.path)
        self._opened: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self.session.close()

    def stop(self) -> None:
        """Have transfers of other threads end where they would be tried again (Interrupted)."""
        self.session.transport.stop()

    # Manifests

    def resolve(self, wanted: str = "") -> tuple[Descriptor, bytes]:
        """Return descriptor and bytes of a manifest or index, by tag or digest.

        "" means what the reference says (its digest, else its tag, else `latest`). Raises NotFound
        with docker's sentences, and a hint that names existing tags where the registry tells them.
        """
        wanted = wanted or self._wanted()
        reply = self._manifest("GET", wanted)
        raw = reply.body
        claimed = reply.headers.get("docker-content-digest", "")
        digest = _verified(raw, wanted if digests.valid(wanted) else "", claimed)
        header = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        parsed = manifest.parse(raw, header)
        if header in _DOCUMENTS and isinstance(parsed, manifest.Index) != (header in mediatype.INDEXES):
            message = f"{digest}: its media type is {header}, its content another"
            raise Corrupt(message)
        return Descriptor(media_type=parsed.media_type, digest=digest, size=len(raw)), raw

    def head(self, wanted: str = "") -> Descriptor | None:
        """Return the descriptor of a tag or digest without fetching it; None if the registry cannot tell.

        Costs nothing of Docker Hub's pull limit. Raises NotFound as `resolve` does.
        """
        wanted = wanted or self._wanted()
        reply = self._manifest("HEAD", wanted)
        digest = reply.headers.get("docker-content-digest", "")
        length = reply.headers.get("content-length", "")
        media_type = reply.headers.get("content-type", "").partition(";")[0].strip()
        if not digests.valid(digest) or not length.isdecimal() or media_type not in _DOCUMENTS:
            return None
        if digests.valid(wanted) and wanted != digest:
            return None
        return Descriptor(media_type=media_type, digest=digest, size=int(length))

    def put_manifest(self, raw: bytes, media_type: str, reference: str = "") -> str:
        """Store a manifest under a tag (or its digest, with ""), byte for byte; return its digest.

        One that has a subject is listed with that, by us where the registry does not say that it did.
        """
        digest = digests.of(raw)
        name = reference or digest
        if not digests.valid(name) and not valid_tag(name):
            message = f"invalid tag {name!r}"
            raise InvalidArgument(message)
        path = f"/v2/{self.reference.path}/manifests/{name}"
        reply = self.session.ask(
            "PUT", path, scope=self._push, headers={"Content-Type": media_type}, body=raw
        )
        if reply.status >= 300:
            raise self._failure(reply, what="manifest", push=True)
        stored = reply.headers.get("docker-content-digest", digest)
        if stored.startswith("sha256:") and stored != digest:
            message = f"push {digest}: the registry stored {answers.clean(stored)}"
            raise Corrupt(message, hint="it rewrites manifests; the image there is not the one pushed")
        if (subject := referrers.subject_of(raw)) and "oci-subject" not in reply.headers:
            referrers.add(self, subject, raw, media_type)
        return digest

    def tags(self) -> list[str]:
        """Return every tag, sorted; fetched page by page (Link headers)."""
        found: dict[str, None] = {}
        path = f"/v2/{self.reference.path}/tags/list"
        seen: set[str] = set()
        for _ in range(_TAG_PAGES):
            page, following = self._tag_page(path)
            found.update(dict.fromkeys(page))
            if not following or following in seen or len(found) >= _TAGS:
                break
            seen.add(following)
            path = following
        return sorted(found)[:_TAGS]

    # Blobs

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the repository has a blob or a manifest, by HEAD."""
        kind = "manifests" if descriptor.media_type in _DOCUMENTS else "blobs"
        path = f"/v2/{self.reference.path}/{kind}/{descriptor.digest}"
        reply = self.session.ask("HEAD", path, scope=self._push, headers={"Accept": _ACCEPT})
        if reply.status == 404:
            return False
        if reply.status >= 300:
            raise self._failure(reply, what="blob", push=True)
        length = reply.headers.get("content-length", "")
        return not length.isdecimal() or int(length) == descriptor.size

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob from an offset on; the reader verifies (see BlobStream). Raises NotFound."""
        if descriptor.media_type in _DOCUMENTS:
            _, raw = self.resolve(descriptor.digest)
            if len(raw) != descriptor.size:
                message = f"{descriptor.digest}: has {len(raw)} bytes, not {descriptor.size}"
                raise Corrupt(message)
            return BytesIO(raw[offset:])
        return self.fetch_blob(descriptor, offset, verify=True)

    def fetch_blob(self, descriptor: Descriptor, offset: int = 0, *, verify: bool = False) -> BlobReader:
        """Open a blob (not a manifest) from an offset on, for somebody who verifies its digest himself."""
        return BlobStream(
            lambda at: self._get_blob(descriptor, at),
            descriptor,
            offset,
            self.session.transport,
            verify=verify,
        )

    def put_blob(self, descriptor: Descriptor, source: BlobReader, progress: Progress) -> None:
        """Upload a blob or a manifest from a stream.

        A broken upload starts anew if the stream has `seek`; else use `upload`, which can open its
        source again. Bytes sent twice are taken back from `progress` by a negative number.
        """
        opened = False

        def reopen() -> BlobReader | None:
            nonlocal opened
            if opened:
                seek = getattr(source, "seek", None)
                if seek is None:
                    return None
                seek(0)
            opened = True
            return source

        self._send(descriptor, Outgoing(descriptor, reopen, progress))

    def upload(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Progress,
        *,
        mount_from: tuple[str, ...] = (),
    ) -> str:
        """Make sure that the repository has a blob; return how: "exists", "mounted" or "pushed".

        `mount_from` names repositories of the same registry that probably have it.
        """
        if self.has_blob(descriptor):
            return "exists"
        if any(self.mount_blob(descriptor, name) for name in mount_from[:3]):
            return "mounted"
        body = Outgoing(descriptor, lambda: source.open_blob(descriptor), progress)
        try:
            self._send(descriptor, body)
        finally:
            body.close()
        return "pushed"

    def mount_blob(self, descriptor: Descriptor, from_name: str) -> bool:
        """Have the registry link a blob from another repository of its own; tell whether it did.

        `from_name` is that repository's canonical name (`localhost:5000/team/base`).
        """
        other = Reference.parse(from_name)
        if other.domain != self.reference.domain or other.path == self.reference.path:
            return False
        scope = self._push | auth.pull_scope(other.path)
        query = f"?mount={quote(descriptor.digest, safe='')}&from={quote(other.path, safe='')}"
        upload = Upload(self.session, self.reference, scope, descriptor)
        try:
            location = upload.start(query)
        except (Unauthorized, NotFound, Unsupported, InvalidArgument):
            # Mounting is an offer: a registry that does not know or allow it gets the bytes.
            return False
        if location:
            self._opened[descriptor.digest] = location
        return not location

    # Inside

    def _wanted(self) -> str:
        return self.reference.digest or self.reference.tag or "latest"

    def _named(self, wanted: str) -> Reference:
        plain = self.reference.replace(tag="", digest="")
        return plain.replace(digest=wanted) if digests.valid(wanted) else plain.replace(tag=wanted)

    def _manifest(self, method: str, wanted: str) -> Reply:
        if not digests.valid(wanted) and not valid_tag(wanted):
            message = "invalid reference format"
            raise InvalidArgument(message)
        path = f"/v2/{self.reference.path}/manifests/{wanted}"
        reply = self.session.ask(
            method, path, scope=self._pull, headers={"Accept": _ACCEPT}, limit=MANIFEST_LIMIT
        )
        if reply.status == 200:
            return reply
        failure = self.session.failure(
            reply.status,
            reply.body,
            what="manifest",
            reference=self._named(wanted),
            challenge=reply.headers.get("www-authenticate", ""),
        )
        if reply.status == 404 and isinstance(failure, NotFound) and not failure.hint:
            failure.hint = self._tags_hint(wanted)
        raise failure

    def _tags_hint(self, wanted: str) -> str:
        """Name a few tags that exist, the likeliest first; whatever goes wrong here says nothing."""
        try:
            page, following = self._tag_page(f"/v2/{self.reference.path}/tags/list", retry=False)
        except TiffinError:
            return "check the name and the tag"
        page.sort()
        if not page:
            return "the repository has no tags"
        near = difflib.get_close_matches(wanted, page[:2000], n=3, cutoff=0.5)
        shown = list(dict.fromkeys(near + page))[:_TAGS_SHOWN]
        rest = ", ..." if following or len(page) > len(shown) else ""
        return f"the repository has {'tag' if len(page) == 1 else 'tags'} {', '.join(shown)}{rest}"

    def _tag_page(self, path: str, *, retry: bool = True) -> tuple[list[str], str]:
        """Return one page's tags and the path of the next page, "" after the last."""
        reply = self.session.ask("GET", path, scope=self._pull, limit=_TAGS_LIMIT, retry=retry)
        if reply.status != 200:
            raise self._failure(reply, what="tags")
        listed = jsontext.load_object(reply.body).get("tags") or []
        if not isinstance(listed, list):
            message = "tags: not a list"
            raise Corrupt(message)
        tags = [tag for tag in listed if isinstance(tag, str) and valid_tag(tag)]
        following = _next_link(reply.headers.get("link", ""))
        if not following:
            return tags, ""
        target = address.join(reply.url, following)
        if address.origin_of(target) != address.origin_of(reply.url):
            message = f"tags: the next page is elsewhere, at {address.shown(target)}"
            raise Corrupt(message)
        return tags, target

    def _get_blob(self, descriptor: Descriptor, offset: int) -> BaseHTTPResponse:
        path = f"/v2/{self.reference.path}/blobs/{descriptor.digest}"
        headers = {"Range": f"bytes={offset}-"} if offset else EMPTY
        answer = self.session.send("GET", path, scope=self._pull, headers=headers)
        if answer.status in {200, 206}:
            return answer
        body = read_body(answer, answers.BODY_LIMIT, cut=True)
        failure = self.session.failure(answer.status, body, what="blob")
        raise failure.at(f"fetch {descriptor.digest}")

    def _send(self, descriptor: Descriptor, body: Outgoing) -> None:
        if descriptor.media_type in _DOCUMENTS:
            if descriptor.size > MANIFEST_LIMIT:
                message = f"{descriptor.digest}: a manifest of {descriptor.size} bytes is too long"
                raise InvalidArgument(message)
            raw = b"".join(iter(body.read, b""))
            self.put_manifest(raw, descriptor.media_type, descriptor.digest)
            return
        upload = Upload(self.session, self.reference, self._push, descriptor)
        upload.send(body, self._opened.pop(descriptor.digest, ""))

    def _failure(self, reply: Reply, *, what: str, push: bool = False) -> TiffinError:
        return self.session.failure(
            reply.status,
            reply.body,
            what=what,
            reference=self.reference,
            push=push,
            challenge=reply.headers.get("www-authenticate", ""),
        )


def login(
    server: str, username: str, password: str, settings: Settings, *, limits: Limits | None = None
) -> str:
    """Try name and password on a registry ("" is Docker Hub) and keep them; return where they are kept.

    Raises Unauthorized, with docker's sentence, when the registry refuses them; nothing is kept then.
    """
    domain = address.domain_of(server)
    credential = Credential(username=username, password=password)
    kept = check_login(domain, credential, settings, limits=limits)
    return Credentials(settings).store(domain, kept)


def check_login(
    domain: str, credential: Credential, settings: Settings, *, limits: Limits | None = None
) -> Credential:
    """Try a credential on a registry; return what to store (an identity token where it gives one).

    Raises Unauthorized with docker's sentence when the registry refuses it.
    """
    session = Session(domain, settings, lambda: credential, limits=limits, offline=True)
    try:
        reply = session.ask("GET", "/v2/")
        if reply.status == 401 or reply.status >= 400:
            phrase = answers.unexpected(reply.status).partition(": ")[2]
            url = f"{session.transport.base()}/v2/"
            message = f"login attempt to {url} failed with status: {phrase}"
            kind = Unauthorized if reply.status in {401, 403} else NotFound
            raise kind(message, hint="check the user name and the password")
        token = session.authorizer.identity_token
    finally:
        session.close()
    return Credential(username=credential.username, identity_token=token) if token else credential


def _verified(raw: bytes, wanted: str, claimed: str) -> str:
    """Return the digest of a manifest's bytes: the one asked for, which they must have, else sha256."""
    import hashlib

    for digest in filter(digests.valid, (wanted, claimed)):
        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, raw).hexdigest() != encoded:
            message = f"manifest verification failed for digest {digest}"
            raise Corrupt(message, hint="the registry or a proxy on the way holds damaged data")
    return wanted or digests.of(raw)


def _next_link(header: str) -> str:
    """Return the target of `<...>; rel="next"` (RFC 8288), "" if there is none."""
    for link in header.split(",<" if ",<" in header else ", <"):
        target, bracket, parameters = link.strip().lstrip("<").partition(">")
        words = parameters.lower().replace('"', "").replace(" ", "").split(";")
        if bracket and "rel=next" in words:
            return target
    return ""
