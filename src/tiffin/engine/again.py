"""Blobs that were not kept after a pull (the setting `discard_blobs`) are fetched again for a push or a save.

They come from a repository that the image was pulled from or pushed to, byte for byte: a layer's folder
alone could not give back what somebody else's tar looked like, so digests would change.
"""

from __future__ import annotations

from tiffin.errors import NotFound, TiffinError
from tiffin.registry.mirrors import Mirrored
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.spec.blob import BlobReader
    from tiffin.spec.descriptor import Descriptor


class Kept:
    """The store's blobs, and those that can be fetched again. Plays BlobSource."""

    def __init__(self, engine: Engine) -> None:
        """Read from an engine's store."""
        self._engine = engine

    def open_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open a blob; raises NotFound, with the reason why it could not be fetched again."""
        try:
            return self._engine.store.content.open_blob(descriptor)
        except NotFound as error:
            missing = error
        for name in self._places(descriptor):
            try:
                return _Fetched(Mirrored(Reference.parse(name), self._engine.settings), descriptor)
            except TiffinError as error:
                missing.hint = f"it was not kept after the pull, and cannot be fetched again: {error.message}"
        raise missing

    def _places(self, descriptor: Descriptor) -> Iterator[str]:
        """Yield names of images with this layer, as registries know them."""
        images = self._engine.store.images
        for record in images.list():
            if record.digests and descriptor.digest in {b.digest for b in images.manifest(record).layers}:
                yield from record.digests


class _Fetched:
    """A blob on its way from a registry, with the connection that is its own."""

    def __init__(self, repository: Mirrored, descriptor: Descriptor) -> None:
        self._repository = repository
        try:
            self._reader = repository.open_blob(descriptor)
        except BaseException:
            repository.close()
            raise

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` verified bytes, b"" at the end."""
        return self._reader.read(size)

    def close(self) -> None:
        """End the conversation."""
        self._reader.close()
        self._repository.close()
