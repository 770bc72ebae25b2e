"""What is answered: documents, streams of them, errors with docker's status and words."""

from __future__ import annotations

from tiffin import errors
from tiffin.http.message import Malformed, NotSatisfiable, Response, TooLarge
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_JSON = (("Content-Type", "application/json"),)
_STATUS: tuple[tuple[type[errors.TiffinError], int], ...] = (
    (TooLarge, 413),
    (NotSatisfiable, 416),
    (Malformed, 400),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.InvalidArgument, 400),
    (errors.NotModified, 304),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.Unavailable, 503),
    (errors.Unsupported, 501),
    (errors.StartFailed, 400),
)
"""The first that fits; whatever else goes wrong is 500."""


def document(value: object, status: int = 200) -> Response:
    """Return a JSON document, with the newline that docker's encoder writes."""
    return Response(status=status, headers=_JSON, body=jsontext.dumps_bytes(value) + b"\n")


def nothing(status: int = 204) -> Response:
    """Return an answer without a body."""
    return Response(status=status)


def documents(values: Iterable[object]) -> Response:
    """Return JSON documents one after the other, each sent when it comes."""
    return Response(status=200, headers=_JSON, body=(jsontext.dumps_bytes(v) + b"\r\n" for v in values))


def error(trouble: errors.TiffinError) -> Response:
    """Return docker's answer to what went wrong."""
    status = next((code for kind, code in _STATUS if isinstance(trouble, kind)), 500)
    if status == 304:
        return nothing(304)
    response = document({"message": trouble.message}, status)
    return response.replace(trouble=trouble) if status == 500 else response
