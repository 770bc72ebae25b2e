"""What a registry refuses, in the distribution specification's codes (its section "Error Codes")."""

from __future__ import annotations

from tiffin.errors import InvalidArgument, NotFound, StorageFull, TiffinError, Unavailable
from tiffin.http.message import Response, TooLarge
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.http.message import Headers

# code -> (status, the specification's sentence)
CODES = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (400, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "UNAUTHORIZED": (401, "authentication required"),
    "DENIED": (403, "requested access to the resource is denied"),
    "UNSUPPORTED": (405, "The operation is unsupported."),
    "TOOMANYREQUESTS": (429, "too many requests"),
}


class Refused(TiffinError):
    """A request that is answered with one of the specification's codes."""

    def __init__(self, code: str, detail: object = None, *, status: int = 0, headers: Headers = ()) -> None:
        """Take the code's own sentence, and its own status unless another is given."""
        own, sentence = CODES[code]
        super().__init__(sentence)
        self.code = code
        self.detail = detail
        self.status = status or own
        self.headers = headers


# Outcomes of the store, first match counts: (class, status, code, what is said if not the error's own
# message, which may name paths of this machine).
_OUTCOMES: tuple[tuple[type[TiffinError], int, str, str], ...] = (
    (TooLarge, 413, "SIZE_INVALID", ""),
    (InvalidArgument, 400, "UNSUPPORTED", ""),
    (NotFound, 404, "BLOB_UNKNOWN", CODES["BLOB_UNKNOWN"][1]),
    (StorageFull, 507, "DENIED", "the registry's disk is full or read-only"),
    (Unavailable, 503, "TOOMANYREQUESTS", "the registry is busy"),
    (TiffinError, 500, "UNSUPPORTED", "the registry's store is damaged"),
)
_LATER = (("Retry-After", "1"),)


def response(error: TiffinError) -> Response:
    """Return the answer to a refusal, or to anything else that a handler could not do."""
    if isinstance(error, Refused):
        return _answer(error.status, error.code, error.message, error.detail, error.headers)
    status, code, said = next(row[1:] for row in _OUTCOMES if isinstance(error, row[0]))
    answer = _answer(status, code, said or error.message, None, _LATER if status == 503 else ())
    return answer.replace(trouble=error) if status >= 500 else answer


def _answer(status: int, code: str, sentence: str, detail: object, headers: Headers = ()) -> Response:
    told: dict[str, object] = {"code": code, "message": sentence}
    if detail is not None:
        told["detail"] = detail
    return Response(
        status=status,
        headers=(("Content-Type", "application/json; charset=utf-8"), *headers),
        body=jsontext.dumps_bytes({"errors": [told]}) + b"\n",
    )
