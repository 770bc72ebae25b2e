"""Reading image archives: whatever `docker save`, podman, skopeo, buildx or tiffin wrote, as a BlobSource.

Every image comes as a descriptor of its manifest or index, so an archive is read as a registry is.
"""

from __future__ import annotations

from io import BytesIO

from tiffin.archive import docker, oci
from tiffin.archive.members import FolderMembers, Verified, open_tar
from tiffin.errors import Corrupt, InvalidArgument, NotFound, TiffinError
from tiffin.layer.limits import Limits
from tiffin.spec import digest as digests
from tiffin.spec import manifest as manifests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Self

    from tiffin.archive.members import Members
    from tiffin.spec.blob import BlobReader
    from tiffin.spec.manifest import Manifest
    from tiffin.spec.reference import Reference

_MANIFEST_LIMIT = 4 << 20
_DEPTH = 4


class ArchivedImage(Value):
    """One image of an archive: its top (a manifest or an index) and the names it has there, often none."""

    top: Descriptor
    tags: tuple[Reference, ...]


class Archive:
    """An open archive. A BlobSource for everything that `images` reach; close it, or use it as a context."""

    def __init__(self, members: Members) -> None:
        """Understand what is there; raise Corrupt or InvalidArgument for what is no image archive."""
        self._members = members
        self._own: dict[str, bytes] = {}
        self._places: dict[str, str] = {}
        try:
            self.images = self._read()
        except BaseException:
            members.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file; readers that are open end with it."""
        self._members.close()

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is in the archive: an index may name platforms that are not."""
        if descriptor.digest in self._own:
            return len(self._own[descriptor.digest]) == descriptor.size
        return self._members.size(self._place(descriptor.digest)) == descriptor.size

    def open_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open a blob, verified while it is read; raise NotFound if it is not here, Corrupt if damaged."""
        return Verified(self.fetch_blob(descriptor), descriptor)

    def fetch_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open a blob, of the right size, for somebody who verifies its digest himself."""
        own = self._own.get(descriptor.digest)
        if own is not None:
            return BytesIO(own)
        place = self._place(descriptor.digest)
        size = self._members.size(place)
        if size < 0:
            message = f"archive: content {descriptor.digest} not found"
            raise NotFound(message)
        if size != descriptor.size:
            message = f"archive: {descriptor.digest} has {size} bytes, not {descriptor.size}"
            raise Corrupt(message, hint="the archive is damaged; save or download it again")
        return self._members.open(place)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a whole manifest, index or config, verified."""
        if descriptor.size > _MANIFEST_LIMIT:
            message = f"archive: {descriptor.digest} of {descriptor.size} bytes is too long"
            raise Corrupt(message)
        reader = self.open_blob(descriptor)
        try:
            return reader.read()
        finally:
            reader.close()

    def _place(self, digest: str) -> str:
        return self._places.get(digest) or oci.blob_path(digest)

    def _read(self) -> tuple[ArchivedImage, ...]:
        """Return the images, each once, with its names from index.json and manifest.json together."""
        tops: dict[str, Descriptor] = {}
        tags: dict[str, dict[Reference, None]] = {}
        by_config: dict[str, str] = {}
        for top, name in oci.named(self._members):
            tops[top.digest] = top
            tags.setdefault(top.digest, {}).update({name: None} if name else {})
            for manifest in self._manifests(top):
                by_config.setdefault(manifest.config.digest, top.digest)
        for entry in docker.entries(self._members):
            known = by_config.get(_digest_named(entry.config))
            if known is None:
                top = self._synthesise(entry)
                known = by_config.setdefault(self._config_of(top), top.digest)
                tops.setdefault(known, top)
            tags.setdefault(known, {}).update(dict.fromkeys(entry.tags))
        if not tops:
            message = "unrecognized image format"
            hint = "expected what `docker save` writes, or an OCI image layout"
            raise InvalidArgument(message, hint=hint)
        return tuple(ArchivedImage(top=top, tags=tuple(tags[key])) for key, top in tops.items())

    def _synthesise(self, entry: docker.Entry) -> Descriptor:
        """Give an image of an old archive a manifest, kept in memory; return its descriptor."""
        image = docker.image(self._members, entry)
        raw = image.manifest.raw
        top = Descriptor(media_type=image.manifest.media_type, digest=digests.of(raw), size=len(raw))
        self._own[top.digest] = raw
        self._own[image.manifest.config.digest] = image.config
        self._places.update(image.places)
        return top

    def _config_of(self, top: Descriptor) -> str:
        parsed = manifests.parse(self._own[top.digest], top.media_type)
        return parsed.config.digest if isinstance(parsed, manifests.Manifest) else ""

    def _manifests(self, top: Descriptor, depth: int = 0) -> list[Manifest]:
        """Return the image manifests below a top that are in the archive and can be read."""
        if depth > _DEPTH:
            message = "archive: indexes nested too deep"
            raise Corrupt(message)
        try:
            parsed = manifests.parse(self.read(top), top.media_type)
        except NotFound:
            return []
        if isinstance(parsed, manifests.Manifest):
            return [parsed]
        found = []
        for entry in parsed.images():
            if entry.media_type in mediatype.MANIFESTS | mediatype.INDEXES:
                found += self._manifests(entry, depth + 1)
        return found


def _digest_named(path: str) -> str:
    """Return the digest that a config's path claims: `blobs/sha256/HEX` or `HEX.json`."""
    return "sha256:" + path.rpartition("/")[2].removesuffix(".json")


def read(stream: BinaryIO, spool: str, limits: Limits | None = None) -> Archive:
    """Open an archive from a file or a pipe, packed by gzip, zstd, xz, bzip2 or not at all.

    `spool` is a path that does not exist yet, used (and unlinked at once) where the stream cannot be
    read in place. Raises InvalidArgument for what is no image archive, Corrupt for a damaged one.
    """
    try:
        return Archive(open_tar(stream, spool, limits or Limits()))
    except TiffinError as error:
        if isinstance(error, Corrupt) and not error.hint:
            error.hint = "expected what `docker save` writes, or an OCI image layout"
        raise


def read_folder(path: str) -> Archive:
    """Open an OCI image layout (or an unpacked `docker save`) in a folder."""
    return Archive(FolderMembers(path))
