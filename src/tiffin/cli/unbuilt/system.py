"""Commands on the engine as a whole that are not built yet."""

from __future__ import annotations

from tiffin.cli.command import TABLE_FORMAT, Command

NOT_BUILT = "refused: not built yet"

# fmt: off
SYSTEM_DF = Command(
    spellings=("system df",),
    usage="[OPTIONS]",
    short="Show docker disk usage",
    maximum=0,
    flags=(
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("verbose", "v", "bool", "Show detailed information on space usage", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SYSTEM_PRUNE = Command(
    spellings=("system prune",),
    usage="[OPTIONS]",
    short="Remove unused data",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused images not just dangling ones", "", NOT_BUILT),
        ("filter", "", "filter", 'Provide filter values (e.g. "label=<key>=<value>")', "", NOT_BUILT),
        ("force", "f", "bool", "Do not prompt for confirmation", "", NOT_BUILT),
        ("volumes", "", "bool", "Prune anonymous volumes", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
