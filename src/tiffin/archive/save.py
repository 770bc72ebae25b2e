"""Writing image archives: one tar that is an OCI layout and a docker-archive at once, as Docker 25 and later.

Blobs are written as their descriptors have them, so digests survive the journey. The same images give
the same bytes: no times, a fixed order, what describes the images first.
"""

from __future__ import annotations

from tiffin.archive import docker, oci
from tiffin.errors import Corrupt
from tiffin.layer import tar
from tiffin.spec import digest as digests
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from tiffin.spec.blob import BlobSource
    from tiffin.spec.manifest import Index, Manifest
    from tiffin.spec.reference import Reference

    class Out(Protocol):
        """Where the tar goes: a file or a pipe."""

        def write(self, data: bytes, /) -> object:
            """Take all of the data."""


_PIECE = 1 << 20


class SavedImage(Value):
    """One image to write: its manifest, its names (() if saved by id), and its index, if that is kept."""

    manifest: Manifest
    tags: tuple[Reference, ...] = ()
    index: Index | None = None


def write(
    images: Iterable[SavedImage],
    source: BlobSource,
    out: Out,
    progress: Callable[[int], object] = lambda _count: None,
) -> None:
    """Write images as one tar, streaming; configs and layers are read from `source`, each blob once.

    An image that comes twice is written once, with the names of both. Layers are written as the
    manifest describes them: give it uncompressed layers where old readers must understand it.
    """
    merged = _merge(images)
    pairs = [(image.manifest, image.tags) for image in merged]
    small, large = _blobs(merged)
    paths = {digest: oci.blob_path(digest) for digest in (*small, *large)}
    writer = _TarWriter(out, progress)
    writer.file(oci.LAYOUT, oci.LAYOUT_BYTES)
    writer.file(oci.INDEX, oci.index_bytes(_tops(merged)))
    writer.file(docker.MANIFEST, docker.manifest_bytes(pairs, paths))
    repositories = docker.repositories_bytes(pairs)
    if repositories:
        writer.file(docker.REPOSITORIES, repositories)
    writer.folder("blobs")
    writer.folder("blobs/sha256")
    for digest in sorted(small):
        writer.file(paths[digest], small[digest])
    for digest, descriptor in large.items():
        writer.blob(paths[digest], descriptor, source)
    writer.end()


def _merge(images: Iterable[SavedImage]) -> list[SavedImage]:
    """Return each image once, with all of its names, in the order of first mention."""
    found: dict[bytes, SavedImage] = {}
    for image in images:
        known = found.get(image.manifest.raw)
        if known is not None:
            tags = tuple(dict.fromkeys((*known.tags, *image.tags)))
            image = known.replace(tags=tags, index=known.index or image.index)  # noqa: PLW2901 - the merged one
        found[image.manifest.raw] = image
    return list(found.values())


def _described(document: Manifest | Index) -> Descriptor:
    raw = document.raw
    return Descriptor(media_type=document.media_type, digest=digests.of(raw), size=len(raw))


def _tops(images: Sequence[SavedImage]) -> list[tuple[Descriptor, Reference | None]]:
    entries: list[tuple[Descriptor, Reference | None]] = []
    for image in images:
        top = _described(image.index or image.manifest)
        entries += [(top, tag) for tag in image.tags] or [(top, None)]
    return entries


def _blobs(images: Sequence[SavedImage]) -> tuple[dict[str, bytes], dict[str, Descriptor]]:
    """Return manifests and indexes by digest, and descriptors of what is streamed: configs, then layers."""
    small: dict[str, bytes] = {}
    large: dict[str, Descriptor] = {}
    for image in images:
        small[digests.of(image.manifest.raw)] = image.manifest.raw
        if image.index is not None:
            small[digests.of(image.index.raw)] = image.index.raw
        large[image.manifest.config.digest] = image.manifest.config
    for image in images:
        for layer in image.manifest.layers:
            large.setdefault(layer.digest, layer)
    return small, large


class _TarWriter:
    """A tar as it is written; every member is root's, of 1970."""

    def __init__(self, out: Out, progress: Callable[[int], object]) -> None:
        self._out = out
        self._progress = progress

    def file(self, path: str, data: bytes) -> None:
        self._put(tar.encode(tar.Entry(path.encode(), size=len(data))))
        self._put(data + bytes(-len(data) % tar.BLOCK))

    def folder(self, path: str) -> None:
        self._put(tar.encode(tar.Entry(path.encode(), tar.FOLDER, name=path.encode() + b"/", mode=0o755)))

    def blob(self, path: str, descriptor: Descriptor, source: BlobSource) -> None:
        self._put(tar.encode(tar.Entry(path.encode(), size=descriptor.size)))
        left = descriptor.size
        reader = source.open_blob(descriptor)
        try:
            while piece := reader.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    break
                self._put(piece)
        finally:
            reader.close()
        if left:
            message = f"save {descriptor.digest}: the blob is not of {descriptor.size} bytes"
            raise Corrupt(message)
        self._put(bytes(-descriptor.size % tar.BLOCK))

    def end(self) -> None:
        self._put(tar.END)

    def _put(self, data: bytes) -> None:
        if data:
            self._out.write(data)
            self._progress(len(data))
