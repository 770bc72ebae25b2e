"""How layers are packed on their way to a registry: as they are, by gzip if they are not, or as asked for."""

from __future__ import annotations

from contextlib import closing

from tiffin.engine.again import Kept
from tiffin.errors import InvalidArgument
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.manifest import Manifest
from tiffin.spec.value import Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.layer.compression import Compressor
    from tiffin.spec.blob import BlobReader
    from tiffin.store.images import ImageRecord

_LEVEL = 1
"""gzip level for layers: isal's level 1 writes 500 MB/s and is about as small as zlib's."""
_PIECE = 1 << 20
_LEVELS = {"gzip": range(1, 10), "zstd": range(1, 23)}
_OCI = {"gzip": mediatype.OCI_LAYER_GZIP, "zstd": mediatype.OCI_LAYER_ZSTD}


class Packing(Value):
    """What every layer is to be packed by: `kind` gzip or zstd, `level` 0 for the kind's own default."""

    kind: str
    level: int = 0

    @staticmethod
    def parse(kind: str, level: int | None) -> Packing | None:
        """Return what two flags say, None if they say nothing; raises InvalidArgument."""
        if not kind and level is None:
            return None
        if kind not in _LEVELS:
            message = f"unknown compression {kind!r}" if kind else "--compression-level needs --compression"
            raise InvalidArgument(message, hint="known are gzip and zstd")
        levels = _LEVELS[kind]
        if level is not None and level not in levels:
            message = f"invalid compression level {level}"
            raise InvalidArgument(message, hint=f"{kind} has the levels {levels[0]} to {levels[-1]}")
        return Packing(kind=kind, level=level or 0)


def repacked(manifest: Manifest, layers: Sequence[Descriptor]) -> Manifest:
    """Return a manifest with other forms of the same layers, its own bytes where nothing is another.

    Docker's types know no zstd, so a manifest that has any becomes OCI's.
    """
    if tuple(layers) == manifest.layers:
        return manifest
    config = manifest.config
    if any(layer.media_type in _OCI.values() for layer in layers):
        config = config.replace(media_type=mediatype.OCI_CONFIG)
        layers = [layer.replace(media_type=_oci_type(layer)) for layer in layers]
    return Manifest.build(config, layers, manifest.annotations)


def _oci_type(layer: Descriptor) -> str:
    kind = mediatype.layer_compression(layer.media_type)
    return _OCI.get(kind, mediatype.OCI_LAYER)


def adopt(engine: Engine, record: ImageRecord, manifest: Manifest) -> None:
    """Make a manifest with packed layers the image's own: a second push then sends the same digest."""
    store = engine.store
    descriptor = store.content.put_bytes(manifest.raw, manifest.media_type)
    config = store.images.config(record)
    store.images.commit(config=config, manifest=descriptor, top=descriptor, size=record.size)


def packed_layer(engine: Engine, layer: Descriptor, packing: Packing | None) -> Descriptor:
    """Return a layer as it is to be sent, made now if it is not here yet.

    What is packed stays as it is, unless `packing` asks for another kind or says a level.
    """
    kind = mediatype.layer_compression(layer.media_type)
    if packing is None:
        return layer if kind else _gzipped(engine, layer)
    if kind == packing.kind and not packing.level:
        return layer
    if not kind and packing == Packing(kind="gzip"):
        return _gzipped(engine, layer)
    return _pack(engine, layer, _OCI[packing.kind], packing.kind, packing.level or None)


def _gzipped(engine: Engine, layer: Descriptor) -> Descriptor:
    """Return the usual gzip form of an uncompressed layer."""
    docker = layer.media_type == mediatype.DOCKER_LAYER
    media_type = mediatype.DOCKER_LAYER_GZIP if docker else mediatype.OCI_LAYER_GZIP
    known = engine.store.content.compressed(layer.digest, media_type)
    if known is not None:
        return known
    descriptor = _pack(engine, layer, media_type, "gzip", _LEVEL)
    engine.store.content.remember_compressed(layer.digest, descriptor)
    return descriptor


def _pack(engine: Engine, layer: Descriptor, media_type: str, kind: str, level: int | None) -> Descriptor:
    """Write another form of a layer to the store."""
    from tiffin.layer.compression import Compressor

    content = engine.store.content
    path = content.private_path()
    try:
        with closing(Kept(engine).open_blob(layer)) as reader:
            digest, size = _write(_unpacked(reader), Compressor(kind, level), path)
        content.adopt(path, digest, size)
    except OSError as error:
        raise atomic.storage_error(error, f"compress {layer.digest}") from error
    finally:
        atomic.remove_file(path)
    return Descriptor(media_type=media_type, digest=digest, size=size)


def _unpacked(reader: BlobReader) -> Callable[[], bytes]:
    """Return what gives the next bytes of the tar in a blob, b"" at its verified end."""
    from tiffin.layer.compression import HEAD, Decompressor, sniff

    head = b""
    while len(head) < HEAD and (more := reader.read(_PIECE)):
        head += more
    decompressor = Decompressor(sniff(head))

    def pieces() -> Iterator[bytes]:
        data = head
        while data:
            yield from decompressor.pieces(data)
            data = reader.read(_PIECE)
        if head:
            decompressor.finish()

    waiting = pieces()
    return lambda: next(filter(None, waiting), b"")


def _write(pieces: Callable[[], bytes], squeezer: Compressor, path: str) -> tuple[str, int]:
    """Write pieces, packed, to a new file; return its digest and size."""
    from hashlib import sha256

    hashed, size = sha256(), 0
    with open(path, "xb", buffering=0) as out:
        while True:
            piece = pieces()
            data = squeezer.feed(piece) if piece else squeezer.finish()
            hashed.update(data)
            atomic.write_all(out.fileno(), data)
            size += len(data)
            if not piece:
                return f"sha256:{hashed.hexdigest()}", size
