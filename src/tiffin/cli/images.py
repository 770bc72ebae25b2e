"""images (image ls): the list of images."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli.command import DONE, TABLE_FORMAT, Command
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.image_views import ImageView

_NONE = "<none>"
_NAMES, _LOOKS = ("Repository", "Tag"), ("ID", "CreatedSince", "Size")
_HEADERS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}


class Line(Value):
    """One line of the list: an image has one for each of its names."""

    view: ImageView
    repository: str = _NONE
    tag: str = _NONE
    digest: str = _NONE


def show(parsed: Parsed, session: Session) -> int:
    """Print the images."""
    filters = parsed.filters()
    if parsed.arguments:
        filters.setdefault("reference", []).append(parsed.arguments[0])
    if parsed.flag("tree"):
        from tiffin.cli import anatomy

        return anatomy.tree(parsed, session, filters)
    views = session.engine.images.list(all=parsed.flag("all"), filters=filters)
    whole, template = parsed.flag("no-trunc"), parsed.text("format")
    with_digests = parsed.flag("digests") or ".Digest" in template
    if template in {"", "table"} and not parsed.flag("quiet"):
        sys.stdout.write(_table(views, whole=whole, digests=parsed.flag("digests")))
        return 0
    lines = [line for view in views for line in _lines(view, digests=with_digests)]
    if parsed.flag("quiet"):
        formats.warn_of_format(template)
        sys.stdout.write("".join(f"{_identifier(line, whole=whole)}\n" for line in lines))
        return 0
    from tiffin.cli import listing

    columns = (*_NAMES, *(("Digest",) if parsed.flag("digests") else ()), *_LOOKS)
    fields = _fields(whole=whole)
    sys.stdout.write(listing.show(lines, template, columns=columns, fields=fields, headers=_HEADERS))
    return 0


def _table(views: Iterable[ImageView], *, whole: bool, digests: bool) -> str:
    """Return the usual table; what is the same for all names of an image is put into words once."""
    fields = _fields(whole=whole)
    names = (*_NAMES, "Digest") if digests else _NAMES
    rows = [[_HEADERS[name] for name in (*names, *_LOOKS)]]
    for view in views:
        lines = _lines(view, digests=digests)
        looks = [str(fields[name](Line(view=view))) for name in _LOOKS]
        rows += [[*(str(fields[name](line)) for name in names), *looks] for line in lines]
    return formats.table(rows)


def _lines(view: ImageView, *, digests: bool) -> Iterable[Line]:
    """Return a line per tag (with its repository's digest), then digests without a tag, or one `<none>`."""
    by_repository: dict[str, list[str]] = {}
    for name in view.digests:
        repository, _, digest = name.partition("@")
        by_repository.setdefault(repository, []).append(digest)
    lines, tagged = [], set()
    for name in view.tags:
        repository, _, tag = name.rpartition(":")
        tagged.add(repository)
        known = by_repository.get(repository, []) if digests else []
        lines += [
            Line(view=view, repository=repository, tag=tag, digest=digest) for digest in known or [_NONE]
        ]
    untagged = {name: found for name, found in by_repository.items() if name not in tagged}
    for repository, found in untagged.items():
        shown = found if digests else found[:1]
        lines += [Line(view=view, repository=repository, digest=digest) for digest in shown]
    return lines or [Line(view=view)]


def _identifier(line: Line, *, whole: bool) -> str:
    return line.view.id if whole else formats.short(line.view.id)


def _fields(*, whole: bool) -> dict[str, Callable[[Line], object]]:
    return {
        "Repository": lambda line: line.repository,
        "Tag": lambda line: line.tag,
        "Digest": lambda line: line.digest,
        "ID": lambda line: _identifier(line, whole=whole),
        "CreatedSince": lambda line: formats.ago(line.view.created),
        "CreatedAt": lambda line: formats.local(line.view.created) or "N/A",
        "Size": lambda line: formats.size(line.view.size),
        "Containers": lambda line: "N/A" if line.view.containers < 0 else str(line.view.containers),
        "SharedSize": lambda _line: "N/A",
        "UniqueSize": lambda _line: "N/A",
        "VirtualSize": lambda line: formats.size(line.view.size),
    }


IMAGES = Command(
    spellings=("image ls", "image list", "images"),
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    short="List images",
    maximum=1,
    flags=(
        ("all", "a", "bool", "Show all images (default hides intermediate images)", "", DONE),
        ("digests", "", "bool", "Show digests", "", DONE),
        ("filter", "f", "filter", "Filter output based on conditions provided", "", DONE),
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("no-trunc", "", "bool", "Don't truncate output", "", DONE),
        ("quiet", "q", "bool", "Only show image IDs", "", DONE),
        (
            "tree",
            "",
            "bool",
            "List multi-platform images as a tree (EXPERIMENTAL)",
            "",
            "differs: one platform of an image is here, the others of its index are shown without bytes",
        ),
    ),
    handler=show,
)
