"""Blobs of a repository: read (whole, from an offset, in part), looked for, deleted."""

from __future__ import annotations

from tiffin.box.refused import Refused
from tiffin.http.message import NotSatisfiable, Response, byte_range
from tiffin.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.box.catalogue import Catalogue
    from tiffin.box.route import Route
    from tiffin.http.message import Request
    from tiffin.spec.blob import BlobReader
    from tiffin.store.content import Content

_CHUNK = 256 << 10
OCTETS = "application/octet-stream"


class Blobs:
    """What `/v2/NAME/blobs/DIGEST` does."""

    def __init__(self, catalogue: Catalogue, content: Content) -> None:
        """Serve from that content."""
        self._catalogue = catalogue
        self._content = content

    def get(self, request: Request, route: Route) -> Response:
        """Send a blob, or the range of it that was asked for; the whole is verified on the way out."""
        digest = route.argument
        size = self._catalogue.blob_size(route.name, digest)
        if size is None:
            raise Refused("BLOB_UNKNOWN", {"digest": digest})
        tag = f'"{digest}"'
        headers = (
            ("Content-Type", OCTETS),
            ("Docker-Content-Digest", digest),
            ("ETag", tag),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "max-age=31536000"),
        )
        # If-Range names another version: there is only one, so the whole (RFC 9110, 13.1.5).
        wanted = request.header("range") if request.header("if-range") in {"", tag} else ""
        try:
            part = byte_range(wanted, size)
        except NotSatisfiable:
            beyond = (("Content-Range", f"bytes */{size}"),)
            raise Refused("SIZE_INVALID", {"range": wanted}, status=416, headers=beyond) from None
        if request.method == "HEAD":
            self._catalogue.want(route.name, digest)
            return Response(status=200, headers=headers, length=size)
        reader = self._content.open_blob(Descriptor(media_type=OCTETS, digest=digest, size=size))
        if part is None:
            return Response(status=200, headers=headers, body=Pieces(reader), length=size)
        reader.close()
        first, behind = part
        shown = (("Content-Range", f"bytes {first}-{behind - 1}/{size}"),)
        body = PartOfFile(self._content.path(digest), first, behind)
        return Response(status=206, headers=headers + shown, body=body, length=behind - first)

    def delete(self, _request: Request, route: Route) -> Response:
        """Take a blob from the repository."""
        if not self._catalogue.delete_blob(route.name, route.argument):
            raise Refused("BLOB_UNKNOWN", {"digest": route.argument})
        return Response(status=202)


class Pieces:
    """A reader as a response's body."""

    def __init__(self, reader: BlobReader) -> None:
        """Read to its verified end."""
        self._reader = reader

    def __iter__(self) -> Iterator[bytes]:
        """Yield what is read; the error of a damaged blob comes instead of its last piece."""
        while data := self._reader.read(_CHUNK):
            yield data

    def close(self) -> None:
        """Give the reader back."""
        self._reader.close()


class PartOfFile:
    """A part of a file as a response's body. What is only a part cannot be verified here: its reader does."""

    def __init__(self, path: str, first: int, behind: int) -> None:
        """Read from `first` up to `behind`."""
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._file.seek(first)
        self._left = behind - first

    def __iter__(self) -> Iterator[bytes]:
        """Yield what is read."""
        while self._left and (data := self._file.read(min(_CHUNK, self._left))):
            self._left -= len(data)
            yield data

    def close(self) -> None:
        """Close the file."""
        self._file.close()
