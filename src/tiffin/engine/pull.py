"""pull: name -> manifest -> platform -> config and layers, side by side -> one durable commit."""

from __future__ import annotations

from tiffin.engine.flight import in_flight
from tiffin.engine.layers import commit_image
from tiffin.engine.progress import Progress, silent
from tiffin.errors import Corrupt, InvalidArgument, NotFound, TiffinError, Unavailable, Unsupported
from tiffin.registry.mirrors import Mirrored
from tiffin.spec import manifest as manifests
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Report
    from tiffin.spec.descriptor import Descriptor
    from tiffin.store.images import ImageRecord
    from tiffin.store.store import Store


class Pulled(Value):
    """What came: its familiar name, the digest of what the name points to, and whether it was new."""

    reference: str
    digest: str
    image_id: str
    updated: bool


def pull(engine: Engine, name: str, *, platform: str = "", report: Report | None = None) -> Pulled:
    """Fetch one image by tag or digest; what is here already is not fetched again.

    Of an unchanged tag only its digest is asked for, and nothing is written.
    """
    say = silent if report is None else report
    reference = Reference.parse(name).tagged()
    wanted = Platform.parse(platform) if platform else Platform.here()
    known = _known(engine.store, reference)
    whole = known if known and _is_whole(engine, known, wanted) else None
    try:
        with Mirrored(reference, engine.settings) as repository:
            if whole and _is_current(engine, repository, reference, whole):
                say(_beginning(reference))
                return _told(reference, whole.top.digest, whole.id, updated=False, say=say)
            if engine.settings.offline:
                raise _missing(reference, known)
            top, image_id = _fetch(engine, repository, wanted, say)
    except TiffinError as error:
        raise error.at(f"pull {reference.familiar}") if engine.settings.debug else error from None
    if platform:
        _warn_of_platform(engine, reference, image_id, wanted, say)
    updated = known is None or (known.id, known.top.digest) != (image_id, top.digest)
    return _told(reference, top.digest, image_id, updated=updated, say=say)


def _fetch(engine: Engine, repository: Mirrored, wanted: Platform, say: Report) -> tuple[Descriptor, str]:
    """Bring an image here; return what its name points to, and its id."""
    reference = repository.reference
    top, raw = repository.resolve(reference.digest or reference.tag)
    say(_beginning(reference))
    entry, manifest_raw = choose(
        lambda chosen: repository.resolve(chosen.digest), top, raw, wanted, reference.familiar
    )
    with in_flight(engine, "pull") as lease:
        lease.hold((top.digest, entry.digest))
        image_id = commit_image(
            engine,
            repository,
            top=top,
            top_raw=raw,
            entry=entry,
            manifest_raw=manifest_raw,
            names=_names(reference, top),
            say=say,
        )
    return top, image_id


def _beginning(reference: Reference) -> Progress:
    return Progress(status=f"Pulling from {reference.path}", id=reference.digest or reference.tag)


def _told(reference: Reference, digest: str, image_id: str, *, updated: bool, say: Report) -> Pulled:
    """Say docker's last two lines and return what they say."""
    say(Progress(status=f"Digest: {digest}"))
    newer = "Downloaded newer image for" if updated else "Image is up to date for"
    say(Progress(status=f"Status: {newer} {reference.familiar}"))
    return Pulled(reference=reference.familiar, digest=digest, image_id=image_id, updated=updated)


def _known(store: Store, reference: Reference) -> ImageRecord | None:
    try:
        return store.images.resolve(str(reference))
    except NotFound:
        return None


def _is_whole(engine: Engine, record: ImageRecord, wanted: Platform) -> bool:
    """Tell whether a name's image is here, with all its parts, as it would be chosen for a platform."""
    store = engine.store
    try:
        top = manifests.parse(store.content.read(record.top.digest), record.top.media_type)
        manifest = store.images.manifest(record)
    except (NotFound, Corrupt):
        return False
    if isinstance(top, manifests.Index):
        entry = top.choose(wanted)
        if entry is None or entry.digest != record.manifest.digest:
            return False
    elif not wanted.runs(record.platform):
        return False
    keeps = not engine.settings.discard_blobs
    return all(map(store.snapshots.has, record.layers)) and not (
        keeps and any(not store.content.has_blob(layer) for layer in manifest.layers)
    )


def _is_current(engine: Engine, repository: Mirrored, reference: Reference, record: ImageRecord) -> bool:
    """Tell whether a name still means what is here; a digest always does, and offline nobody is asked."""
    if reference.digest or engine.settings.offline:
        return True
    try:
        top = repository.head(reference.tag)
    except (NotFound, Unsupported, InvalidArgument):
        return False  # the whole question gets the registry's own words
    return top is not None and top.digest == record.top.digest


def _missing(reference: Reference, known: ImageRecord | None) -> Unavailable:
    """Return the error of a pull that may not ask anybody."""
    what = "is not here" if known is None else "is not here for this platform, or not as a whole"
    message = f"{reference.familiar} {what}, and tiffin is offline"
    return Unavailable(message, hint="leave out --offline, or `tiffin load` it from an archive")


def _warn_of_platform(
    engine: Engine, reference: Reference, image_id: str, wanted: Platform, say: Report
) -> None:
    """Say, as docker does, that a name without an index gave another platform than the one asked for."""
    found = engine.store.images.resolve(image_id).platform
    if not wanted.runs(found):
        text = f"WARNING: image with reference {reference.familiar} was found but its platform ({found})"
        say(Progress(status=f"{text} does not match the specified platform ({wanted})"))


def _names(reference: Reference, top: Descriptor) -> tuple[list[Reference], list[Reference]]:
    """Return the tags and the digest names that the image gets."""
    by_digest = reference.replace(tag="", digest=top.digest)
    return ([] if reference.digest else [reference]), [by_digest]


def choose(
    resolve: Callable[[Descriptor], tuple[Descriptor, bytes]],
    top: Descriptor,
    raw: bytes,
    wanted: Platform,
    name: str,
) -> tuple[Descriptor, bytes]:
    """Return the manifest for a platform and its bytes: the top itself, or the fitting entry of an index."""
    parsed = manifests.parse(raw, top.media_type)
    if isinstance(parsed, manifests.Manifest):
        return top.replace(media_type=parsed.media_type), raw
    entry = parsed.choose(wanted)
    if entry is None:
        offered = sorted({str(m.platform) for m in parsed.images() if m.platform})
        message = f"no matching manifest for {wanted} in the manifest list entries"
        raise NotFound(message, hint=f"{name} is there for {', '.join(offered) or 'no platform'}")
    descriptor, manifest_raw = resolve(entry)
    return descriptor.replace(platform=None), manifest_raw
