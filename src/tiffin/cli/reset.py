"""system reset: everything goes."""

from __future__ import annotations

import sys

from tiffin.cli import confirm
from tiffin.cli.command import DONE, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def reset(parsed: Parsed, session: Session) -> int:
    """Remove the store, after asking."""
    root = session.settings.root
    warning = (
        f"WARNING! This will end and remove all containers, and remove all images and volumes in {root}."
    )
    if not parsed.flag("force") and not confirm.ask(warning):
        return 0
    from tiffin.engine.reset import reset as remove

    for path in remove(session.settings):
        sys.stdout.write(f"removed: {path}\n")
    return 0


SYSTEM_RESET = Command(
    spellings=("system reset",),
    usage="[OPTIONS]",
    short="Remove all images, containers and volumes, and the store itself",
    maximum=0,
    flags=(("force", "f", "bool", "Do not prompt for confirmation", "", DONE),),
    handler=reset,
)
