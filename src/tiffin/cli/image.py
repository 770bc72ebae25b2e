"""Images at hand: tag, rmi, history, save, load, image prune."""

from __future__ import annotations

import os
import sys

from tiffin.cli import format as formats
from tiffin.cli.command import DONE, TABLE_FORMAT, Command
from tiffin.cli.each import each
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.image_views import HistoryView

_PLATFORM = "refused: an image is kept for one platform"
_HISTORY = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
    "Wasted": "WASTED",
    "Layer": "LAYER",
}
_HISTORY_COLUMNS = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")


def tag(parsed: Parsed, session: Session) -> int:
    """Give an image one more name."""
    session.engine.images.tag(*parsed.arguments)
    return 0


def remove(parsed: Parsed, session: Session) -> int:
    """Remove names, and images with their last name."""
    images = session.engine.images
    force, prune = parsed.flag("force"), not parsed.flag("no-prune")
    if parsed.flag("dry-run"):
        from tiffin.cli import doomed

        return doomed.show(images.plan_remove(parsed.arguments, force=force, prune=prune))

    def one(name: str) -> str | None:
        lines = []
        for removed in images.remove(name, force=force, prune=prune):
            if removed.untagged:
                lines.append(f"Untagged: {removed.untagged}")
            if removed.deleted:
                lines.append(f"Deleted: {removed.deleted}")
        return "\n".join(lines) or None

    return each(parsed.arguments, one)


def history(parsed: Parsed, session: Session) -> int:
    """Print how an image was made, newest first."""
    from tiffin.cli import listing

    template = parsed.text("format")
    waste = parsed.flag("waste") or ".Wasted" in template
    views = session.engine.images.history(parsed.arguments[0], waste=waste)
    whole = parsed.flag("no-trunc")
    if parsed.flag("quiet"):
        lines = [_history_id(view, whole=whole) for view in views]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    fields = _history_fields(whole=whole, human=parsed.flag("human"))
    if not waste:
        del fields["Wasted"]
    if ".Layer" not in template:  # docker's JSON has none
        del fields["Layer"]
    headers = _HISTORY if parsed.flag("human") else {**_HISTORY, "CreatedSince": "CREATED AT"}
    columns = (*_HISTORY_COLUMNS[:-1], "Wasted", "Comment") if parsed.flag("waste") else _HISTORY_COLUMNS
    sys.stdout.write(listing.show(views, template, columns=columns, fields=fields, headers=headers))
    return 0


def _history_id(view: HistoryView, *, whole: bool) -> str:
    if not view.id:
        return "<missing>"
    return view.id if whole else formats.short(view.id)


def _history_fields(*, whole: bool, human: bool) -> dict[str, Callable[[HistoryView], object]]:
    def created_by(view: HistoryView) -> str:
        text = view.created_by.replace("\t", " ")
        return text if whole else formats.cut(text, 45)

    return {
        "ID": lambda view: _history_id(view, whole=whole),
        "CreatedSince": lambda view: formats.ago(view.created) if human else formats.rfc3339(view.created),
        "CreatedAt": lambda view: formats.rfc3339(view.created),
        "CreatedBy": created_by,
        "Size": lambda view: formats.size(view.size) if human else str(view.size),
        "Comment": lambda view: view.comment,
        "Layer": lambda view: view.layer if whole else formats.short(view.layer),
        "Wasted": lambda view: formats.size(view.wasted) if human else str(view.wasted),
    }


def save(parsed: Parsed, session: Session) -> int:
    """Write images as a tar to a file or stdout; a file that could not be finished stays as it was."""
    from tiffin.cli import outfile

    images = session.engine.images
    outfile.write(parsed.text("output"), "save image", lambda out: images.save(parsed.arguments, out))
    return 0


def load(parsed: Parsed, session: Session) -> int:
    """Read images from a tar."""
    from tiffin.cli.progress import Transfer

    images = session.engine.images
    path = parsed.text("input")
    if not path and os.isatty(0):
        raise InvalidArgument("requested load from stdin, but stdin is empty")
    show = Transfer(sys.stderr, quiet=parsed.flag("quiet") or not sys.stderr.isatty())
    try:
        if os.path.isdir(path):
            lines = images.load(path, progress=show)
        elif path:
            with open(path, "rb") as stream:
                lines = images.load(stream, progress=show)
        else:
            lines = images.load(sys.stdin.buffer, progress=show)
    finally:
        show.close()
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def prune(parsed: Parsed, session: Session) -> int:
    """Remove dangling or unused images, after asking."""
    from tiffin.cli import confirm

    every = parsed.flag("all")
    if parsed.flag("dry-run"):
        from tiffin.cli import doomed

        return doomed.show(session.engine.images.plan_prune(all=every, filters=parsed.filters()))
    what = "images without at least one container associated to them" if every else "dangling images"
    if not parsed.flag("force") and not confirm.ask(f"WARNING! This will remove all {what}."):
        return 0
    pruned = session.engine.images.prune(all=every, filters=parsed.filters())
    lines = []
    for removed in pruned.removed:
        if removed.untagged:
            lines.append(f"untagged: {removed.untagged}")
        if removed.deleted:
            lines.append(f"deleted: {removed.deleted}")
    sys.stdout.write(confirm.report("Deleted Images:", lines, pruned.reclaimed))
    return 0


IMAGE_TAG = Command(
    spellings=("image tag", "tag"),
    usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    short="Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    minimum=2,
    maximum=2,
    handler=tag,
)
RMI = Command(
    spellings=("image rm", "image remove", "rmi"),
    usage="[OPTIONS] IMAGE [IMAGE...]",
    short="Remove one or more images",
    minimum=1,
    flags=(
        ("dry-run", "", "bool", "Only show what would be removed", "", DONE),
        ("force", "f", "bool", "Force removal of the image", "", DONE),
        ("no-prune", "", "bool", "Do not delete untagged parents", "", DONE),
        (
            "platform",
            "",
            "strings",
            (
                'Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., '
                '"linux/amd64")'
            ),
            "",
            _PLATFORM,
        ),
    ),
    handler=remove,
)
HISTORY = Command(
    spellings=("image history", "history"),
    usage="[OPTIONS] IMAGE",
    short="Show the history of an image",
    minimum=1,
    maximum=1,
    flags=(
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("human", "H", "bool", "Print sizes and dates in human readable format", "true", DONE),
        ("no-trunc", "", "bool", "Don't truncate output", "", DONE),
        (
            "platform",
            "",
            "string",
            ('Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
            "",
            _PLATFORM,
        ),
        ("quiet", "q", "bool", "Only show image IDs", "", DONE),
        ("waste", "", "bool", "Show how many bytes of each layer later layers hide", "", DONE),
    ),
    handler=history,
)
SAVE = Command(
    spellings=("image save", "save"),
    usage="[OPTIONS] IMAGE [IMAGE...]",
    short="Save one or more images to a tar archive (streamed to STDOUT by default)",
    minimum=1,
    flags=(
        ("output", "o", "string", "Write to a file, instead of STDOUT", "", DONE),
        (
            "platform",
            "",
            "string",
            (
                'Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., '
                '"linux/amd64")'
            ),
            "",
            _PLATFORM,
        ),
    ),
    handler=save,
)
LOAD = Command(
    spellings=("image load", "load"),
    usage="[OPTIONS]",
    short="Load an image from a tar archive or STDIN",
    maximum=0,
    flags=(
        ("input", "i", "string", "Read from tar archive file, instead of STDIN", "", DONE),
        (
            "platform",
            "",
            "string",
            (
                'Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., '
                '"linux/amd64")'
            ),
            "",
            _PLATFORM,
        ),
        ("quiet", "q", "bool", "Suppress the load output", "", DONE),
    ),
    handler=load,
)
IMAGE_PRUNE = Command(
    spellings=("image prune",),
    usage="[OPTIONS]",
    short="Remove unused images",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused images, not just dangling ones", "", DONE),
        ("dry-run", "", "bool", "Only show what would be removed", "", DONE),
        ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")', "", DONE),
        ("force", "f", "bool", "Do not prompt for confirmation", "", DONE),
    ),
    handler=prune,
)
