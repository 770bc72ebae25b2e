"""container fork: more containers of one, from where its files are now."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def fork(parsed: Parsed, session: Session) -> int:
    """Make them and print their ids."""
    number = parsed.number("number") if parsed.given("number") else 1
    made = session.engine.containers.fork(parsed.arguments[0], number, new=parsed.text("name"))
    sys.stdout.write("".join(f"{container_id}\n" for container_id in made))
    return 0


FORK = Command(
    spellings=("container fork",),
    usage="[OPTIONS] CONTAINER",
    short="Create containers whose files start as another's are now, copy on write",
    minimum=1,
    maximum=1,
    flags=(
        ("name", "", "string", "Name of the new container, or the beginning of several names", "", DONE),
        ("number", "n", "int", "How many", "1", DONE),
    ),
    handler=fork,
)
