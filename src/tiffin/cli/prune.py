"""container prune and builder prune."""

from __future__ import annotations

import sys

from tiffin.cli import confirm
from tiffin.cli.command import DONE, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def containers(parsed: Parsed, session: Session) -> int:
    """Remove stopped containers, after asking."""
    if not parsed.flag("force") and not confirm.ask("WARNING! This will remove all stopped containers."):
        return 0
    pruned = session.engine.containers.prune(filters=parsed.filters())
    sys.stdout.write(confirm.report("Deleted Containers:", pruned.removed, pruned.reclaimed))
    return 0


def build_cache(parsed: Parsed, session: Session) -> int:
    """Forget build results, after asking."""
    every = parsed.flag("all")
    what = "build cache" if every else "dangling build cache"
    if not parsed.flag("force") and not confirm.ask(f"WARNING! This will remove all {what}."):
        return 0
    freed = session.engine.system.prune_build_cache(all=every)
    sys.stdout.write(confirm.report("", (), freed))
    return 0


CONTAINER_PRUNE = Command(
    spellings=("container prune",),
    usage="[OPTIONS]",
    short="Remove all stopped containers",
    maximum=0,
    flags=(
        ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")', "", DONE),
        ("force", "f", "bool", "Do not prompt for confirmation", "", DONE),
    ),
    handler=containers,
)
BUILDER_PRUNE = Command(
    spellings=("builder prune",),
    usage="",
    short="Remove build cache",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused build cache, not just dangling ones", "", DONE),
        ("filter", "", "filter", 'Provide filter values (e.g. "until=24h")', "", "refused: not built yet"),
        ("force", "f", "bool", "Do not prompt for confirmation", "", DONE),
        ("keep-storage", "", "bytes", "Amount of disk space to keep for cache", "", "refused: not built yet"),
    ),
    handler=build_cache,
)
