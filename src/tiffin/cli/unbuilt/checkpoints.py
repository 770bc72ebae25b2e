"""Checkpoints."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: checkpoints are not built yet"

# fmt: off
CHECKPOINT_CREATE = Command(
    spellings=("checkpoint create",),
    usage="[OPTIONS] CONTAINER CHECKPOINT",
    short="Create a checkpoint from a running container",
    minimum=2,
    maximum=2,
    flags=(
        ("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory", "", NOT_BUILT),
        ("leave-running", "", "bool", "Leave the container running after checkpoint", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CHECKPOINT_LS = Command(
    spellings=("checkpoint ls", "checkpoint list"),
    usage="[OPTIONS] CONTAINER",
    short="List checkpoints for a container",
    minimum=1,
    maximum=1,
    flags=(
        ("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CHECKPOINT_RM = Command(
    spellings=("checkpoint rm", "checkpoint remove"),
    usage="[OPTIONS] CONTAINER CHECKPOINT",
    short="Remove a checkpoint",
    minimum=2,
    maximum=2,
    flags=(
        ("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
