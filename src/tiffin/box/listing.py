"""Content discovery: tags, repositories, referrers."""

from __future__ import annotations

from urllib.parse import quote

from tiffin.box.refused import Refused
from tiffin.http.message import Response
from tiffin.spec import jsontext, mediatype

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.box.catalogue import Catalogue
    from tiffin.box.route import Route
    from tiffin.http.message import Headers, Request

_MOST = 10_000
"""Of one page; what is more is told by a Link header."""


class Listings:
    """What `tags/list`, `_catalog` and `referrers/DIGEST` do."""

    def __init__(self, catalogue: Catalogue) -> None:
        """List that catalogue."""
        self._catalogue = catalogue

    def tags(self, request: Request, route: Route) -> Response:
        """List a repository's tags in byte order, by pages."""
        count = _count(request)
        if not self._catalogue.has_repository(route.name):
            raise Refused("NAME_UNKNOWN", {"name": route.name})
        found = self._catalogue.tags(route.name, after=request.parameter("last"), count=count + 1)
        link = _next(f"/v2/{route.name}/tags/list", found, count)
        return _json({"name": route.name, "tags": found[:count]}, link)

    def catalog(self, request: Request, _route: Route) -> Response:
        """List the repositories in byte order, by pages (distribution's, not the specification's)."""
        count = _count(request)
        found = self._catalogue.repositories(after=request.parameter("last"), count=count + 1)
        return _json({"repositories": found[:count]}, _next("/v2/_catalog", found, count))

    def referrers(self, request: Request, route: Route) -> Response:
        """List the manifests about a digest, as an index; of one artifact type, where that is asked for."""
        found = self._catalogue.referrers(route.name, route.argument)
        applied: Headers = ()
        wanted = request.parameter("artifactType")
        if wanted:
            found = [entry for entry in found if entry.get("artifactType") == wanted]
            applied = (("OCI-Filters-Applied", "artifactType"),)
        index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": found}
        return Response(
            status=200,
            headers=(("Content-Type", mediatype.OCI_INDEX), *applied),
            body=jsontext.dumps_bytes(index),
        )


def _count(request: Request) -> int:
    if not request.bears("n"):
        return _MOST
    text = request.parameter("n")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refused("UNSUPPORTED", {"n": text[:100]}, status=400)
    return min(int(text), _MOST)


def _next(path: str, found: list[str], count: int) -> Headers:
    """Return the Link to the page behind this one, if there is more and something was shown."""
    if not 0 < count < len(found):
        return ()
    return (("Link", f'<{path}?n={count}&last={quote(found[count - 1], safe="")}>; rel="next"'),)


def _json(value: object, headers: Headers) -> Response:
    return Response(
        status=200,
        headers=(("Content-Type", "application/json; charset=utf-8"), *headers),
        body=jsontext.dumps_bytes(value) + b"\n",
    )
