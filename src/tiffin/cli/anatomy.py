"""image diff, image blame, and images --tree: what images are made of."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli.command import DONE, TABLE_FORMAT, Command
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.listing import Fields
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.anatomy import Tree
    from tiffin.store.compare import Difference

_DIFF = {"Change": "CHANGE", "Path": "PATH", "Before": "BEFORE", "After": "AFTER"}
_BLAME = {
    "Layer": "LAYER",
    "Action": "ACTION",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "CreatedBy": "CREATED BY",
    "Path": "PATH",
}
_BLAME_COLUMNS = ("Layer", "Action", "Size", "CreatedSince", "CreatedBy")
_CONFLICTS = ("quiet", "no-trunc", "digests", "format")


def _length(item: Difference, side: str) -> str:
    absent = {"before": "A", "after": "D"}[side]
    return "-" if item.change == absent else formats.size(getattr(item, side))


_DIFF_FIELDS: Fields = {
    "Change": lambda item: item.change,
    "Path": lambda item: item.path,
    "Before": lambda item: _length(item, "before"),
    "After": lambda item: _length(item, "after"),
}


def diff(parsed: Parsed, session: Session) -> int:
    """Print the paths that are not the same in two images."""
    from tiffin.cli import listing

    found = list(session.engine.images.diff(*parsed.arguments))
    shown = listing.show(
        found, parsed.text("format"), columns=tuple(_DIFF), fields=_DIFF_FIELDS, headers=_DIFF
    )
    sys.stdout.write(shown)
    return 0


def blame(parsed: Parsed, session: Session) -> int:
    """Print every instruction that wrote or deleted a path, newest first."""
    from tiffin.cli import listing
    from tiffin.engine.anatomy import split

    lines = session.engine.images.blame(*split(parsed.arguments[0]))
    whole = parsed.flag("no-trunc")
    fields: Fields = {
        "Layer": lambda line: line.diff_id if whole else formats.short(line.diff_id),
        "Action": lambda line: line.action,
        "Size": lambda line: "-" if line.action == "deleted" else formats.size(line.size),
        "CreatedSince": lambda line: formats.ago(line.created),
        "CreatedBy": lambda line: line.created_by if whole else formats.cut(line.created_by, 60),
        "Path": lambda line: line.path,
    }
    sys.stdout.write(
        listing.show(lines, parsed.text("format"), columns=_BLAME_COLUMNS, fields=fields, headers=_BLAME)
    )
    return 0


def tree(parsed: Parsed, session: Session, filters: dict[str, list[str]]) -> int:
    """Print images with the platforms that their names stand for."""
    for name in _CONFLICTS:
        if parsed.given(name):
            raise InvalidArgument(f"--{name} is not yet supported with --tree")
    rows = [["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"]]
    for image in session.engine.images.tree(all=parsed.flag("all"), filters=filters):
        rows += _rows(image)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, identifier, size, content, extra in rows:
        cells = (name.ljust(widths[0]), identifier.ljust(widths[1]), size.rjust(widths[2]))
        sys.stdout.write("   ".join((*cells, content.rjust(widths[3]), extra)).rstrip() + "\n")
    return 0


def _rows(image: Tree) -> Iterable[list[str]]:
    extra = " U" if image.containers else ""
    sizes = [formats.size(image.view.size), formats.size(image.content), extra]
    for name in image.view.tags or ("<untagged>",):
        yield [name, formats.short(image.view.id), *sizes]
        for number, variant in enumerate(image.variants, 1):
            branch = "└─" if number == len(image.variants) else "├─"
            used = extra if variant.content else ""
            yield [
                f"{branch} {variant.platform}",
                variant.digest,
                formats.size(variant.size),
                formats.size(variant.content),
                used,
            ]


IMAGE_DIFF = Command(
    spellings=("image diff",),
    usage="[OPTIONS] IMAGE IMAGE",
    short="Show what was added, changed and removed from one image to another",
    long=(
        "Show what was added (A), changed (C) and removed (D) from one image to another, with sizes.\n"
        "Times alone are no change."
    ),
    minimum=2,
    maximum=2,
    flags=(("format", "", "string", TABLE_FORMAT, "", DONE),),
    handler=diff,
)
IMAGE_BLAME = Command(
    spellings=("image blame",),
    usage="[OPTIONS] IMAGE:PATH",
    short="Show every instruction that wrote or deleted a path of an image",
    minimum=1,
    maximum=1,
    flags=(
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("no-trunc", "", "bool", "Don't truncate output", "", DONE),
    ),
    handler=blame,
)
