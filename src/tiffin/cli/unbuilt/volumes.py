"""Volumes by name."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: only cluster volumes can be changed, and tiffin is no swarm node"

# fmt: off
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
