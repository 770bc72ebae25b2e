"""Volumes by name."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: not built yet; run -v NAME:/path makes volumes"

# fmt: off
VOLUME_PRUNE = Command(
    spellings=("volume prune",),
    usage="[OPTIONS]",
    short="Remove unused local volumes",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused volumes, not just anonymous ones", "", NOT_BUILT),
        ("filter", "", "filter", 'Provide filter values (e.g. "label=<label>")', "", NOT_BUILT),
        ("force", "f", "bool", "Do not prompt for confirmation", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

VOLUME_UPDATE = Command(
    spellings=("volume update",),
    usage="[OPTIONS] [VOLUME]",
    short="Update a volume (cluster volumes only)",
    minimum=1,
    maximum=1,
    flags=(
        (
            "availability", "", "string",
            'Cluster Volume availability ("active", "pause", "drain")',
            "active", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)
