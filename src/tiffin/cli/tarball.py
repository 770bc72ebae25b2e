"""export, import and commit: containers and tars of files as images, and back."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_URLS = ("http://", "https://")


def export(parsed: Parsed, session: Session) -> int:
    """Write a container's file system as a tar to a file or stdout."""
    from tiffin.cli import outfile

    containers = session.engine.containers
    record = containers.get(parsed.arguments[0])  # before a file is touched
    outfile.write(parsed.text("output"), "export container", lambda out: containers.export(record.id, out))
    return 0


def import_(parsed: Parsed, session: Session) -> int:
    """Make an image of a tar and print its id."""
    source, *names = parsed.arguments
    if source == "-" and os.isatty(0):
        raise InvalidArgument("requested import from stdin, but stdin is a terminal")
    images = session.engine.images
    with ExitStack() as opened:
        stream: BinaryIO | str = source
        if source == "-":
            stream = sys.stdin.buffer
        elif not source.startswith(_URLS):
            stream = opened.enter_context(open(source, "rb"))
        made = images.import_tar(
            stream,
            name=names[0] if names else "",
            changes=parsed.many("change"),
            message=parsed.text("message"),
            platform=parsed.text("platform"),
        )
    sys.stdout.write(f"{made}\n")
    return 0


def commit(parsed: Parsed, session: Session) -> int:
    """Make an image of what a container wrote and print its id."""
    from tiffin.engine.commit import CommitRequest

    request = CommitRequest(
        name=parsed.arguments[1] if len(parsed.arguments) > 1 else "",
        author=parsed.text("author"),
        message=parsed.text("message"),
        changes=tuple(parsed.many("change")),
        pause=parsed.flag("pause"),
    )
    sys.stdout.write(f"{session.engine.containers.commit(parsed.arguments[0], request)}\n")
    return 0


_CHANGE = ("change", "c", "list", "Apply Dockerfile instruction to the created image", "", DONE)

EXPORT = Command(
    spellings=("container export", "export"),
    usage="[OPTIONS] CONTAINER",
    short="Export a container's filesystem as a tar archive",
    minimum=1,
    maximum=1,
    flags=(("output", "o", "string", "Write to a file, instead of STDOUT", "", DONE),),
    handler=export,
)
IMPORT = Command(
    spellings=("image import", "import"),
    usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    short="Import the contents from a tarball to create a filesystem image",
    minimum=1,
    status="differs: plain http:// is taken from this machine only, as what it brings is run",
    flags=(
        _CHANGE,
        ("message", "m", "string", "Set commit message for imported image", "", DONE),
        ("platform", "", "string", "Set platform if server is multi-platform capable", "", DONE),
    ),
    handler=import_,
)
COMMIT = Command(
    spellings=("container commit", "commit"),
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    short="Create a new image from a container's changes",
    minimum=1,
    maximum=2,
    flags=(
        (
            "author",
            "a",
            "string",
            'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
            "",
            DONE,
        ),
        _CHANGE,
        ("message", "m", "string", "Commit message", "", DONE),
        ("pause", "p", "bool", "Pause container during commit", "true", DONE),
    ),
    handler=commit,
)
