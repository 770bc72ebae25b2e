"""Uploads over HTTP: in one piece, in chunks, taken up again, mounted from another repository."""

from __future__ import annotations

import time

from tiffin.box.refused import Refused
from tiffin.box.route import check_digest, repository
from tiffin.errors import Conflict, Corrupt, NotFound
from tiffin.http.message import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from tiffin.box.catalogue import Catalogue
    from tiffin.box.route import Route
    from tiffin.http.message import Headers, Request
    from tiffin.store.uploads import Upload, Uploads

    _T = TypeVar("_T")

_CHUNK = 1 << 20
_ALGORITHMS = frozenset({"", "sha256", "sha384", "sha512"})
_FORGOTTEN_SECONDS = 24 * 3600.0
_BETWEEN_SWEEPS_SECONDS = 600.0


class Sessions:
    """What `/v2/NAME/blobs/uploads/` and what lies below it do."""

    def __init__(self, catalogue: Catalogue, uploads: Uploads) -> None:
        """Finish uploads into the catalogue."""
        self._catalogue = catalogue
        self._uploads = uploads
        self._swept = float("-inf")

    def begin(self, request: Request, route: Route) -> Response:
        """Mount a blob, take one whole (`?digest=`), or begin a session."""
        self._sweep()
        mounted = request.parameter("mount")
        if mounted:
            source = request.parameter("from")
            if source:
                repository(source.split("/"))
            if self._catalogue.mount(route.name, check_digest(mounted), source):
                return _created(route, mounted)
        digest = request.parameter("digest")
        if digest:
            check_digest(digest)
        elif request.parameter("digest-algorithm") not in _ALGORITHMS:
            raise Refused("DIGEST_INVALID", {"algorithm": request.parameter("digest-algorithm")[:100]})
        session = self._uploads.begin(route.name)
        if not digest or mounted:
            return Response(status=202, headers=_where(route, session, 0))
        with self._uploads.open(route.name, session) as upload:
            try:
                return self._finish(request, route, upload, digest)
            except BaseException:
                upload.discard()  # nobody was told its name
                raise

    def status(self, _request: Request, route: Route) -> Response:
        """Say how far a session has come."""
        offset = _known(lambda: self._uploads.offset(route.name, route.argument))
        return Response(status=204, headers=_where(route, route.argument, offset))

    def append(self, request: Request, route: Route) -> Response:
        """Take the next chunk."""
        with self._open(route) as upload:
            _check_range(request, route, upload)
            _take(request, upload)
            return Response(status=202, headers=_where(route, route.argument, upload.offset))

    def finish(self, request: Request, route: Route) -> Response:
        """Take the last chunk, if there is one, and make the whole a blob."""
        digest = check_digest(request.parameter("digest"))
        with self._open(route) as upload:
            _check_range(request, route, upload)
            return self._finish(request, route, upload, digest)

    def cancel(self, _request: Request, route: Route) -> Response:
        """Throw a session away."""
        with self._open(route) as upload:
            upload.discard()
        return Response(status=204)

    def _open(self, route: Route) -> Upload:
        return _known(lambda: self._uploads.open(route.name, route.argument))

    def _finish(self, request: Request, route: Route, upload: Upload, digest: str) -> Response:
        _take(request, upload)
        try:
            upload.commit(digest, lambda: self._catalogue.link_blob(route.name, digest))
        except Corrupt:
            raise Refused("DIGEST_INVALID", {"digest": digest}) from None
        return _created(route, digest)

    def _sweep(self) -> None:
        """Remove now and then what nobody goes on with."""
        if time.monotonic() - self._swept > _BETWEEN_SWEEPS_SECONDS:
            self._swept = time.monotonic()
            self._uploads.sweep(_FORGOTTEN_SECONDS)
            self._catalogue.collect(time.time_ns() - int(_FORGOTTEN_SECONDS * 1e9))


def _known(ask: Callable[[], _T]) -> _T:
    """Translate what the store says of a session that cannot be worked on."""
    try:
        return ask()
    except NotFound:
        raise Refused("BLOB_UPLOAD_UNKNOWN") from None
    except Conflict:
        later = (("Retry-After", "1"),)
        raise Refused("TOOMANYREQUESTS", "another request is writing this upload", headers=later) from None


def _take(request: Request, upload: Upload) -> None:
    while data := request.body.read(_CHUNK):
        upload.write(data)


def _check_range(request: Request, route: Route, upload: Upload) -> None:
    """Refuse a chunk that does not begin where the session ends (416), or that says two lengths."""
    said = request.header("content-range")
    if not said:
        return
    first, _, last = said.removeprefix("bytes ").partition("/")[0].partition("-")
    numbers = all(text.isascii() and text.isdigit() and len(text) < 20 for text in (first, last))
    length = request.body.length
    if not numbers or (length is not None and int(last) - int(first) + 1 != length):
        raise Refused("SIZE_INVALID", {"content-range": said[:100]})
    if int(first) != upload.offset:
        here = _where(route, route.argument, upload.offset)
        raise Refused("BLOB_UPLOAD_INVALID", {"offset": upload.offset}, status=416, headers=here)


def _where(route: Route, session: str, offset: int) -> Headers:
    """Say where a session goes on; an empty one says 0-0 too, as all registries do."""
    return (
        ("Location", f"/v2/{route.name}/blobs/uploads/{session}"),
        ("Docker-Upload-UUID", session),
        ("Range", f"0-{max(offset - 1, 0)}"),
    )


def _created(route: Route, digest: str) -> Response:
    return Response(
        status=201,
        headers=(("Location", f"/v2/{route.name}/blobs/{digest}"), ("Docker-Content-Digest", digest)),
    )
