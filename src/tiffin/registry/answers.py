"""What a registry's refusals mean: error bodies read, cleaned, and put into docker's sentences.

Source: distribution-spec, "Error Codes". Bodies are somebody else's text: they are cut, and stripped
of anything that a terminal would obey.
"""

from __future__ import annotations

from http import HTTPStatus

from tiffin.errors import (
    Conflict,
    Forbidden,
    InvalidArgument,
    NotFound,
    TiffinError,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.spec.reference import Reference

BODY_LIMIT = 128 << 10
"""Bytes of a refusal that are worth reading."""
_TEXT_LIMIT = 400


def clean(text: str) -> str:
    """Return somebody else's text fit for one line of a terminal."""
    text = " ".join(text[: 4 * _TEXT_LIMIT].split())
    return "".join(c for c in text if c.isprintable())[:_TEXT_LIMIT]


def first_error(body: bytes) -> tuple[str, str]:
    """Return code and message of the first error in a body, ("", "") if there is none."""
    try:
        value = jsontext.load_object(body)
    except TiffinError:
        return "", ""
    errors = value.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        code, message = errors[0].get("code"), errors[0].get("message")
        if isinstance(code, str) and code:
            return clean(code).upper(), clean(message) if isinstance(message, str) else ""
    # Token servers (Docker Hub's among them) answer {"details": "..."} or oauth2's two words.
    for key in ("details", "error_description", "message"):
        if isinstance(value.get(key), str) and value[key]:
            return "", clean(value[key])
    return "", ""


def sentence(code: str, message: str) -> str:
    """Write an error as docker does: `manifest unknown: manifest unknown`."""
    name = code.lower().replace("_", " ")
    return f"{name}: {message}" if message else name


def failure(
    status: int,
    body: bytes,
    *,
    what: str,
    reference: Reference | None = None,
    push: bool = False,
    challenge: str = "",
) -> TiffinError:
    """Return the error for a refusal; `what` is manifest, blob, upload, tags, token or ping.

    A 401 whose `challenge` (WWW-Authenticate) says that the scope does not suffice is a denial: that is how
    Docker Hub tells of repositories that are not there, or not for us. The hint is left to who knows more
    (credentials, tags).
    """
    code, message = first_error(body)
    if status == 401 and 'error="insufficient_scope"' in challenge:
        status, code, message = 403, "DENIED", "requested access to the resource is denied"
    if not code:
        code, message = _without_code(status, message, what)
    text = sentence(code, message) if code else unexpected(status)
    if code in {"DENIED", "NAME_UNKNOWN", "MANIFEST_UNKNOWN", "NOT_FOUND"} and reference and not push:
        return _not_there(code, text, what, reference)
    return _class_of(code, status)(text)


def unexpected(status: int) -> str:
    """Write a status without a readable body as docker does."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"received unexpected HTTP status: {status} {phrase}".rstrip()


def _without_code(status: int, message: str, what: str) -> tuple[str, str]:
    """Return what a status alone says."""
    if status == 401:
        return "UNAUTHORIZED", message or "authentication required"
    if status == 403:
        return "DENIED", message or "requested access to the resource is denied"
    if status == 404 and what in {"manifest", "blob"}:
        code = f"{what.upper()}_UNKNOWN"
        return code, "manifest unknown" if what == "manifest" else "blob unknown to registry"
    if status == 404 and what in {"tags", "upload"}:
        return "NAME_UNKNOWN", "repository name not known to registry"
    if status == 429:
        return "TOOMANYREQUESTS", message or "too many requests"
    return "", ""


def _not_there(code: str, text: str, what: str, reference: Reference) -> NotFound:
    name = reference.familiar_name
    if code == "DENIED":
        return NotFound(
            f"pull access denied for {name}, repository does not exist or may require 'docker login': {text}",
        )
    if code == "NAME_UNKNOWN" or what == "tags":
        return NotFound(f"repository {name} not found: {text}")
    return NotFound(f"manifest for {reference.familiar} not found: {text}")


def _class_of(code: str, status: int) -> type[TiffinError]:  # noqa: PLR0911 - a table
    if code == "UNAUTHORIZED" or status == 401:
        return Unauthorized
    if code == "DENIED" or status == 403:
        return Forbidden
    if code == "TOOMANYREQUESTS" or status in {408, 429} or status >= 500:
        return Unsupported if status in {501, 505} else Unavailable
    if code.endswith("_UNKNOWN") or status == 404:
        return NotFound
    if code == "UNSUPPORTED" or status == 405:
        return Unsupported
    if status == 409:
        return Conflict
    return InvalidArgument
