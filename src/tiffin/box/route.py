"""Which part of the distribution API a path names. No I/O: hostile names end here."""

from __future__ import annotations

from tiffin.box.refused import Refused
from tiffin.errors import InvalidArgument
from tiffin.spec import digest as digests
from tiffin.spec.reference import Reference, valid_tag
from tiffin.spec.value import Value

_NAME_LENGTH = 255
_ANY_HOST = "localhost:5000"
_PLACES = {"manifests": "manifest", "blobs": "blob", "referrers": "referrers"}


class Route(Value):
    """`kind` is base, catalog, manifest, blob, uploads, upload, tags or referrers.

    `name` is the repository; `argument` a tag, a digest or an upload's id.
    """

    kind: str
    name: str = ""
    argument: str = ""


def find(path: str) -> Route | None:  # noqa: PLR0911 - a table of the API's shapes
    """Return what a (decoded) path names; None for paths that are no part of the API.

    Raises Refused: NAME_INVALID, DIGEST_INVALID, or what else cannot be a name there.
    """
    if path in {"/v2", "/v2/"}:
        return Route(kind="base")
    if path == "/v2/_catalog":
        return Route(kind="catalog")
    if not path.startswith("/v2/"):
        return None
    words = path.removeprefix("/v2/").split("/")
    if words[-2:] == ["tags", "list"]:
        return Route(kind="tags", name=repository(words[:-2]))
    if words[-3:-1] == ["blobs", "uploads"]:
        kind = "upload" if words[-1] else "uploads"
        return Route(kind=kind, name=repository(words[:-3]), argument=words[-1])
    if words[-2:] == ["blobs", "uploads"]:
        return Route(kind="uploads", name=repository(words[:-2]))
    if len(words) < 3 or words[-2] not in _PLACES:
        return None
    kind, argument = _PLACES[words[-2]], words[-1]
    name = repository(words[:-2])
    if kind == "manifest" and ":" not in argument:
        if not valid_tag(argument):
            raise Refused("MANIFEST_INVALID", {"tag": argument})
    else:
        check_digest(argument)
    return Route(kind=kind, name=name, argument=argument)


def repository(words: list[str]) -> str:
    """Return a repository's name of its path components, or raise Refused."""
    name = "/".join(words)
    try:
        parsed = Reference.parse(f"{_ANY_HOST}/{name}")
    except InvalidArgument:
        raise Refused("NAME_INVALID", {"name": name[:_NAME_LENGTH]}) from None
    if parsed.path != name or parsed.tag or parsed.digest or len(name) > _NAME_LENGTH:
        raise Refused("NAME_INVALID", {"name": name[:_NAME_LENGTH]})
    return name


def check_digest(text: str) -> str:
    """Return a digest, or raise Refused for anything that is none."""
    if not digests.valid(text):
        raise Refused("DIGEST_INVALID", {"digest": text[:_NAME_LENGTH]})
    return text
