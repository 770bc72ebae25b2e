"""Commands on the engine as a whole that are not built yet."""

from __future__ import annotations

from tiffin.cli.command import JSON_FORMAT, Command

NOT_BUILT = "refused: not built yet"

# fmt: off
EVENTS = Command(
    spellings=("system events", "events"),
    usage="[OPTIONS]",
    short="Get real time events from the server",
    maximum=0,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", JSON_FORMAT, "", NOT_BUILT),
        ("since", "", "string", "Show all events created since timestamp", "", NOT_BUILT),
        ("until", "", "string", "Stream events until this timestamp", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
