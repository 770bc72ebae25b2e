"""rm: remove containers."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.cli.each import each
from tiffin.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def remove(parsed: Parsed, session: Session) -> int:
    """Remove each; with --force one that does not exist is a message but no failure."""
    containers = session.engine.containers
    force, volumes = parsed.flag("force"), parsed.flag("volumes")
    if parsed.flag("dry-run"):
        from tiffin.cli import doomed

        return doomed.show(containers.plan_remove(parsed.arguments, force=force, volumes=volumes))

    def one(name: str) -> str | None:
        try:
            containers.remove(name, force=force, volumes=volumes)
        except NotFound as error:
            if not force:
                raise
            sys.stderr.write(f"tiffin: {error.message}\n")
            return None
        return name

    return each(parsed.arguments, one)


RM = Command(
    spellings=("container rm", "container remove", "rm"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Remove one or more containers",
    minimum=1,
    flags=(
        ("dry-run", "", "bool", "Only show what would be removed", "", DONE),
        ("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)", "", DONE),
        (
            "link",
            "l",
            "bool",
            "Remove the specified link",
            "",
            "refused: a link lasts as long as its container; network disconnect, or remove that",
        ),
        ("volumes", "v", "bool", "Remove anonymous volumes associated with the container", "", DONE),
    ),
    handler=remove,
)
