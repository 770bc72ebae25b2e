"""Commands on images that are not built yet."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: not built yet"

# fmt: off
IMPORT = Command(
    spellings=("image import", "import"),
    usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    short="Import the contents from a tarball to create a filesystem image",
    minimum=1,
    flags=(
        ("change", "c", "list", "Apply Dockerfile instruction to the created image", "", NOT_BUILT),
        ("message", "m", "string", "Set commit message for imported image", "", NOT_BUILT),
        ("platform", "", "string", "Set platform if server is multi-platform capable", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

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
