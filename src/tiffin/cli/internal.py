"""What tiffin's own processes ask of it; not shown in any list."""

from __future__ import annotations

from tiffin.cli.command import Command
from tiffin.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def cleanup(parsed: Parsed, session: Session) -> int:
    """Finish what an ended container left undone, when no command was there to do it."""
    try:
        session.engine.containers.cleanup(parsed.arguments[0])
    except NotFound:
        return 0  # somebody was faster
    return 0


CLEANUP = Command(
    spellings=("internal cleanup",),
    usage="CONTAINER",
    short="Finish what an ended container left undone",
    minimum=1,
    maximum=1,
    handler=cleanup,
)
