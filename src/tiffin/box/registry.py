"""The registry: the OCI distribution API on a content store of its own, as a handler for `http`."""

from __future__ import annotations

from tiffin.box import refused, route
from tiffin.box.blobs import Blobs
from tiffin.box.catalogue import Catalogue
from tiffin.box.listing import Listings
from tiffin.box.manifests import Manifests
from tiffin.box.refused import Refused
from tiffin.box.sessions import Sessions
from tiffin.errors import TiffinError
from tiffin.http.message import Disconnected, Response
from tiffin.store.store import Store
from tiffin.store.uploads import Uploads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.box.htpasswd import Htpasswd
    from tiffin.box.route import Route
    from tiffin.http.message import Request
    from tiffin.settings import Settings

    Act = Callable[[Request, Route], Response]

_VERSION = ("Docker-Distribution-API-Version", "registry/2.0")
_REALM = ("WWW-Authenticate", 'Basic realm="tiffin", charset="UTF-8"')


class Registry:
    """A handler that answers the distribution API; `users` None lets everybody in."""

    def __init__(self, settings: Settings, *, users: Htpasswd | None = None) -> None:
        """Open the store at `settings.root`, making it where there is none yet."""
        self._users = users
        self.store = Store(settings, kind="registry")
        catalogue = Catalogue(self.store)
        content = self.store.content
        blobs, manifests = Blobs(catalogue, content), Manifests(catalogue, content)
        sessions = Sessions(catalogue, Uploads(self.store.layout.uploads, content))
        listings = Listings(catalogue)
        self._acts: dict[str, dict[str, Act]] = {
            "base": {"GET": _base},
            "catalog": {"GET": listings.catalog},
            "manifest": {"GET": manifests.get, "PUT": manifests.put, "DELETE": manifests.delete},
            "blob": {"GET": blobs.get, "DELETE": blobs.delete},
            "uploads": {"POST": sessions.begin},
            "upload": {
                "GET": sessions.status,
                "PATCH": sessions.append,
                "PUT": sessions.finish,
                "DELETE": sessions.cancel,
            },
            "tags": {"GET": listings.tags},
            "referrers": {"GET": listings.referrers},
        }

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        try:
            response = self._answer(request)
        except Disconnected:
            raise
        except TiffinError as error:
            response = refused.response(error)
        return response.replace(headers=(*response.headers, _VERSION))

    def _answer(self, request: Request) -> Response:
        if self._users is not None and not self._users.admits(request.header("authorization")):
            raise Refused("UNAUTHORIZED", headers=(_REALM,))
        found = route.find(request.path)
        if found is None:
            raise Refused("UNSUPPORTED", {"path": request.path[:255]}, status=404)
        acts = self._acts[found.kind]
        act = acts.get("GET" if request.method == "HEAD" else request.method)
        if act is None:
            allowed = ", ".join([*acts, *(["HEAD"] if "GET" in acts else [])])
            raise Refused("UNSUPPORTED", {"method": request.method[:20]}, headers=(("Allow", allowed),))
        return act(request, found)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def _base(_request: Request, _route: Route) -> Response:
    return Response(status=200, headers=(("Content-Type", "application/json"),), body=b"{}")
