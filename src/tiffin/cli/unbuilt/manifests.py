"""Manifest lists made by hand."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: not built yet"

# fmt: off
MANIFEST_ANNOTATE = Command(
    spellings=("manifest annotate",),
    usage="[OPTIONS] MANIFEST_LIST MANIFEST",
    short="Add additional information to a local image manifest",
    minimum=2,
    maximum=2,
    flags=(
        ("arch", "", "string", "Set architecture", "", NOT_BUILT),
        ("os", "", "string", "Set operating system", "", NOT_BUILT),
        ("os-features", "", "strings", "Set operating system feature", "", NOT_BUILT),
        ("os-version", "", "string", "Set operating system version", "", NOT_BUILT),
        ("variant", "", "string", "Set architecture variant", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

MANIFEST_CREATE = Command(
    spellings=("manifest create",),
    usage="MANIFEST_LIST MANIFEST [MANIFEST...]",
    short="Create a local manifest list for annotating and pushing to a registry",
    minimum=2,
    flags=(
        ("amend", "a", "bool", "Amend an existing manifest list", "", NOT_BUILT),
        ("insecure", "", "bool", "Allow communication with an insecure registry", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

MANIFEST_INSPECT = Command(
    spellings=("manifest inspect",),
    usage="[OPTIONS] [MANIFEST_LIST] MANIFEST",
    short="Display an image manifest, or manifest list",
    minimum=1,
    maximum=2,
    flags=(
        ("insecure", "", "bool", "Allow communication with an insecure registry", "", NOT_BUILT),
        ("verbose", "v", "bool", "Output additional info including layers and platform", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

MANIFEST_PUSH = Command(
    spellings=("manifest push",),
    usage="[OPTIONS] MANIFEST_LIST",
    short="Push a manifest list to a repository",
    minimum=1,
    maximum=1,
    flags=(
        ("insecure", "", "bool", "Allow push to an insecure registry", "", NOT_BUILT),
        ("purge", "p", "bool", "Remove the local manifest list after push", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

MANIFEST_RM = Command(
    spellings=("manifest rm",),
    usage="MANIFEST_LIST [MANIFEST_LIST...]",
    short="Delete one or more manifest lists from local storage",
    minimum=1,
    status=NOT_BUILT,
)
