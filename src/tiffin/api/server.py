"""The API as a handler for `http`: finds the operation, lets it answer, turns errors into docker's."""

from __future__ import annotations

from tiffin.api import answers, builds, containers, execs, images, networks, streams, swarm, system, volumes
from tiffin.api.call import NEWEST, Call
from tiffin.api.desk import Desk
from tiffin.api.router import Router, split_version
from tiffin.errors import Corrupt, Forbidden, InvalidArgument, TiffinError
from tiffin.http.message import Disconnected, Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.http.message import Request, Response

_ROOMS = (system, containers, execs, streams, builds, images, volumes, networks, swarm)


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Api:
    """Answers the Docker Engine API for one engine."""

    def __init__(self, engine: Engine) -> None:
        """Be a guest of an engine, which outlives this."""
        from tiffin import __version__

        self.desk = Desk(engine)
        self.router = Router(operation for room in _ROOMS for operation in room.OPERATIONS)
        self._headers = (
            ("Api-Version", f"{NEWEST[0]}.{NEWEST[1]}"),
            ("Docker-Experimental", "false"),
            ("Ostype", "linux"),
            ("Server", f"Tiffin/{__version__} (linux)"),
        )

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        try:
            if _is_of_a_page(request):
                raise Forbidden("the API is not for web pages", hint="ask localhost, without Origin")
            response = self._answer(request)
        except (Disconnected, Malformed):
            raise
        except TiffinError as error:
            response = answers.error(error)
        if response.upgrade is not None:
            return response
        return response.replace(headers=(*response.headers, *self._headers))

    def _answer(self, request: Request) -> Response:
        version, path = split_version(request.path)
        method = "GET" if request.method == "HEAD" and path != "/_ping" else request.method
        if request.method == "HEAD" and path.endswith("/archive"):
            method = "HEAD"
        act, words = self.router.find(method, path)
        try:
            return act(Call(self.desk, request, version, words))
        except Corrupt as error:
            if request.method in {"POST", "PUT"} and error.message.startswith("expected "):
                # What `spec` says of a member of the wrong type: here it is the client's mistake.
                raise InvalidArgument(f"invalid JSON: {error.message}") from error
            raise


def _is_of_a_page(request: Request) -> bool:
    """Tell whether a browser asks for a page: they reach the loopback, and whoever is answered is root here.

    Browsers say whose page it is when they change something, and which name led here when they only read.
    """
    host = request.header("host").rpartition(":")[0] or request.header("host")
    return bool(request.header("origin")) or (request.peer != "@" and host not in _LOOPBACK)
