"""The one walk over what points to what: index -> manifests -> config and layers, children first."""

from __future__ import annotations

from tiffin.errors import Corrupt, NotFound
from tiffin.spec import mediatype
from tiffin.spec.manifest import Index, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tiffin.spec.blob import BlobSink, BlobSource, Progress
    from tiffin.spec.descriptor import Descriptor

_MANIFEST_LIMIT = 4 << 20
_DEPTH = 8
"""Indexes may lie in indexes; nobody means it deeper than this."""


def children(source: BlobSource, descriptor: Descriptor) -> list[Descriptor]:
    """Return what a descriptor's blob points to: () for configs, layers and what is not understood.

    Raises NotFound if a manifest or index is not in the source, Corrupt if it is junk.
    """
    if descriptor.media_type not in mediatype.INDEXES | mediatype.MANIFESTS:
        return []
    if descriptor.size > _MANIFEST_LIMIT:
        message = f"manifest {descriptor.digest}: {descriptor.size} bytes are too many"
        raise Corrupt(message)
    reader = source.open_blob(descriptor)
    try:
        document = parse(reader.read(), descriptor.media_type)
    finally:
        reader.close()
    if isinstance(document, Index):
        return list(document.manifests)
    return [document.config, *document.layers]


def walk(
    source: BlobSource, descriptor: Descriptor, *, missing: bool = False, depth: int = 0
) -> Iterator[Descriptor]:
    """Yield everything below a descriptor, then itself: children first, each digest once.

    With `missing`, manifests that are not in the source (other platforms of an index) are yielded
    without children instead of raising NotFound.
    """
    seen: set[str] = set()
    yield from _walk(source, descriptor, seen, missing=missing, depth=depth)


def _walk(
    source: BlobSource, descriptor: Descriptor, seen: set[str], *, missing: bool, depth: int
) -> Iterator[Descriptor]:
    if descriptor.digest in seen:
        return
    seen.add(descriptor.digest)
    if depth > _DEPTH:
        message = f"manifest {descriptor.digest}: indexes nested too deep"
        raise Corrupt(message)
    try:
        below = children(source, descriptor)
    except NotFound:
        if not missing:
            raise
        below = []
    for child in below:
        yield from _walk(source, child, seen, missing=missing, depth=depth + 1)
    yield descriptor


def copy(
    descriptors: Iterable[Descriptor], source: BlobSource, sink: BlobSink, progress: Progress
) -> list[Descriptor]:
    """Copy blobs in order, leaving out those that the sink has; return what was copied."""
    copied = []
    for descriptor in descriptors:
        if sink.has_blob(descriptor):
            continue
        reader = source.open_blob(descriptor)
        try:
            sink.put_blob(descriptor, reader, progress)
        finally:
            reader.close()
        copied.append(descriptor)
    return copied
