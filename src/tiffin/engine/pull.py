"""pull: name -> manifest -> platform -> config and layers, side by side -> one durable commit."""

from __future__ import annotations

from tiffin.engine.flight import in_flight
from tiffin.engine.layers import commit_image
from tiffin.engine.progress import Progress, silent
from tiffin.errors import NotFound, TiffinError
from tiffin.registry.client import Repository
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
    from tiffin.store.store import Store


class Pulled(Value):
    """What came: its familiar name, the digest of what the name points to, and whether it was new."""

    reference: str
    digest: str
    image_id: str
    updated: bool


def pull(engine: Engine, name: str, *, platform: str = "", report: Report | None = None) -> Pulled:
    """Fetch one image by tag or digest; what is here already is not fetched again."""
    say = silent if report is None else report
    reference = Reference.parse(name).tagged()
    wanted = Platform.parse(platform) if platform else Platform.here()
    repository = Repository(reference, engine.settings)
    try:
        with repository:
            top, raw = repository.resolve(reference.digest or reference.tag)
            say(Progress(status=f"Pulling from {reference.path}", id=reference.digest or reference.tag))
            entry, manifest_raw = choose(
                lambda chosen: repository.resolve(chosen.digest), top, raw, wanted, reference.familiar
            )
            with in_flight(engine, "pull") as lease:
                lease.hold((top.digest, entry.digest))
                before = _known(engine.store, reference)
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
    except TiffinError as error:
        raise error.at(f"pull {reference.familiar}") if engine.settings.debug else error from None
    updated = before != (image_id, top.digest)
    if platform:
        _warn_of_platform(engine, reference, image_id, wanted, say)
    say(Progress(status=f"Digest: {top.digest}"))
    newer = "Downloaded newer image for" if updated else "Image is up to date for"
    say(Progress(status=f"Status: {newer} {reference.familiar}"))
    return Pulled(reference=reference.familiar, digest=top.digest, image_id=image_id, updated=updated)


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


def _known(store: Store, reference: Reference) -> tuple[str, str] | None:
    try:
        record = store.images.resolve(str(reference))
    except NotFound:
        return None
    return record.id, record.top.digest


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
