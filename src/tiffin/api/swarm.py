"""What an engine that is part of no swarm, and has no plugins, says to questions about them."""

from __future__ import annotations

from tiffin.api import answers
from tiffin.api.router import Operation
from tiffin.errors import NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.api.call import Call
    from tiffin.http.message import Response

_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)
_METHODS = ("GET", "POST", "DELETE")
_NOUNS = ("swarm", "nodes", "services", "tasks", "secrets", "configs")


def refused(_call: Call) -> Response:
    """Answer whatever is asked of a swarm; clients' probes rely on 503."""
    raise Unavailable(_SWARM)


def plugins(_call: Call) -> Response:
    """GET /plugins: none."""
    return answers.document([])


def no_plugin(call: Call) -> Response:
    """Answer whatever is asked of one plugin."""
    raise NotFound(f'plugin "{call.name.partition("/")[0]}" not found')


OPERATIONS = (
    Operation(method="GET", path="/plugins", act=plugins),
    *(
        Operation(method=method, path=path, act=refused)
        for noun in _NOUNS
        for path in (f"/{noun}", f"/{noun}/{{rest}}")
        for method in _METHODS
    ),
    *(Operation(method=method, path="/plugins/{rest}", act=no_plugin) for method in _METHODS),
)
