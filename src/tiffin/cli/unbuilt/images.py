"""Commands on images that are not built yet."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: not built yet"

# fmt: off
SEARCH = Command(
    spellings=("search",),
    usage="[OPTIONS] TERM",
    short="Search Docker Hub for images",
    minimum=1,
    maximum=1,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", "Pretty-print search using a Go template", "", NOT_BUILT),
        ("limit", "", "int", "Max number of search results", "", NOT_BUILT),
        ("no-trunc", "", "bool", "Don't truncate output", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
