"""create: make a container without starting it."""

from __future__ import annotations

import sys

from tiffin.cli import options, run_flags
from tiffin.cli.command import Command
from tiffin.cli.run import make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def create(parsed: Parsed, session: Session) -> int:
    """Print the new container's id."""
    config = options.config(parsed, session.settings.environment)
    sys.stdout.write(f"{make(parsed, session, config)}\n")
    return 0


CREATE = Command(
    spellings=("container create", "create"),
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    short="Create a new container",
    minimum=1,
    interspersed=False,
    flags=run_flags.CREATE,
    hidden=run_flags.HIDDEN,
    handler=create,
)
