"""save and load: the same commit as a pull's, with an archive as the source."""

from __future__ import annotations

import os

from tiffin.archive import load as archives
from tiffin.archive import save as writing
from tiffin.engine.again import Kept
from tiffin.engine.flight import in_flight
from tiffin.engine.layers import commit_image
from tiffin.engine.progress import silent
from tiffin.engine.pull import choose
from tiffin.errors import InvalidArgument, NotFound
from tiffin.layer.limits import Limits
from tiffin.spec import manifest as manifests
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from tiffin.archive.load import Archive, ArchivedImage
    from tiffin.archive.save import SavedImage
    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Report


def save(engine: Engine, names: Sequence[str], out: BinaryIO) -> None:
    """Write images; a repository without a tag means all its tags, an id an image without names."""
    with engine.store.lease("save"):
        images = [image for name in names for image in _saved(engine, name)]
        writing.write(images, Kept(engine), out)


def _saved(engine: Engine, name: str) -> list[SavedImage]:
    images = engine.store.images
    try:
        reference = Reference.parse(name)
    except InvalidArgument:
        reference = None
    if reference and not reference.tag and not reference.digest:
        tagged = [
            writing.SavedImage(manifest=images.manifest(record), tags=(Reference.parse(tag),))
            for record in images.list()
            for tag in record.tags
            if Reference.parse(tag).name == reference.name
        ]
        if tagged:
            return tagged
    record = images.resolve(name)
    named = reference is not None and str(reference.tagged()) in record.tags
    tags = (reference.tagged(),) if named and reference else ()
    return [writing.SavedImage(manifest=images.manifest(record), tags=tags)]


def load(engine: Engine, source: BinaryIO | str, *, report: Report | None = None) -> list[str]:
    """Read an archive, or a folder (a path), into the store; return docker's line for each image.

    Raises InvalidArgument for what is no image archive, Corrupt for a damaged one.
    """
    with in_flight(engine, "load"), _open(engine, source) as archive:
        return [line for image in archive.images for line in _load_one(engine, archive, image, report)]


def load_layout(engine: Engine, place: str) -> str:
    """Bring one image of an OCI image layout into the store, without a name; return its id.

    `place` is `FOLDER[:TAG][@DIGEST]`; a layout with one image needs neither.
    """
    path, _, digest = place.partition("@")
    folder, _, tag = path.rpartition(":") if not os.path.isdir(path) else (path, "", "")
    with in_flight(engine, "load"), archives.read_folder(folder) as archive:
        found = [
            image
            for image in archive.images
            if (not digest or image.top.digest == digest)
            and (not tag or any(name.tag == tag for name in image.tags))
        ]
        if len(found) != 1:
            held = ", ".join(image.top.digest for image in archive.images)
            message = f"{place} names {'no image' if not found else f'{len(found)} images'} of the layout"
            raise NotFound(message, hint=f"it holds {held}; write oci-layout://FOLDER:TAG or @DIGEST")
        (line,) = _load_one(engine, archive, found[0].replace(tags=()), None)
    return line.rpartition(" ")[2]


def _open(engine: Engine, source: BinaryIO | str) -> Archive:
    if isinstance(source, str):
        return archives.read_folder(source)
    return archives.read(source, engine.store.content.private_path(), Limits.of(engine.settings))


def _load_one(engine: Engine, archive: Archive, image: ArchivedImage, report: Report | None) -> list[str]:
    raw = archive.read(image.top)
    entry, manifest_raw = choose(
        lambda wanted: (wanted, archive.read(wanted)), image.top, raw, Platform.here(), "the archive"
    )
    # An index whose other platforms are not in the archive cannot be pushed or saved as such again.
    top, top_raw = image.top, raw
    parsed = manifests.parse(raw, image.top.media_type)
    if isinstance(parsed, manifests.Index) and not all(map(archive.has_blob, parsed.manifests)):
        top, top_raw = entry, manifest_raw
    image_id = commit_image(
        engine,
        archive,
        top=top,
        top_raw=top_raw,
        entry=entry,
        manifest_raw=manifest_raw,
        names=(image.tags, ()),
        say=silent if report is None else report,
    )
    engine.store.events.append("image", "load", image_id, {"name": image_id})
    if not image.tags:
        return [f"Loaded image ID: {image_id}"]
    return [f"Loaded image: {tag.familiar}" for tag in image.tags]
