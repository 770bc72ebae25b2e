"""The two roles for bytes: where blobs come from and where they go. Store, registry and archive play both."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from tiffin.spec.descriptor import Descriptor

    # Called with the number of bytes just moved.
    Progress = Callable[[int], None]
else:
    Protocol = object


class BlobReader(Protocol):
    """A verified stream: the read that reaches the end raises Corrupt if size or digest differ."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the (verified) end."""

    def close(self) -> None:
        """Give the stream back; a half-read one is simply dropped."""


class BlobSource(Protocol):
    """Where blobs can be read from by descriptor."""

    def open_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open a blob for reading; raise NotFound if it is not here."""


class BlobSink(Protocol):
    """Where blobs can be put."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether it is there already, whole."""

    def put_blob(self, descriptor: Descriptor, source: BlobReader, progress: Progress) -> None:
        """Store the whole stream, verified; an unfinished one leaves nothing visible."""
