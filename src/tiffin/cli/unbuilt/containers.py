"""Commands on containers that are not built yet."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: not built yet"

# fmt: off
CP = Command(
    spellings=("container cp", "cp"),
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\ttiffin cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    short="Copy files/folders between a container and the local filesystem",
    long=(
        "Copy files/folders between a container and the local filesystem\n"
        "\n"
        "Use '-' as the source to read a tar archive from stdin\n"
        "and extract it to a directory destination in a container.\n"
        "Use '-' as the destination to stream a tar archive of a\n"
        "container source to stdout."
    ),
    minimum=2,
    maximum=2,
    flags=(
        ("archive", "a", "bool", "Archive mode (copy all uid/gid information)", "", NOT_BUILT),
        ("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH", "", NOT_BUILT),
        (
            "quiet", "q", "bool",
            (
                "Suppress progress output during copy. Progress output is automatically suppressed if no "
                "terminal is attached"
            ),
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)
