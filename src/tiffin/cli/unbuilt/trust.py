"""Docker Content Trust (Notary v1), which Docker itself has retired."""

from __future__ import annotations

from tiffin.cli.command import Command

NOT_BUILT = "refused: content trust (Notary v1) is retired"

# fmt: off
TRUST_KEY_GENERATE = Command(
    spellings=("trust key generate",),
    usage="NAME",
    short="Generate and load a signing key-pair",
    minimum=1,
    maximum=1,
    flags=(
        ("dir", "", "string", "Directory to generate key in, defaults to current directory", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

TRUST_KEY_LOAD = Command(
    spellings=("trust key load",),
    usage="[OPTIONS] KEYFILE",
    short="Load a private key file for signing",
    minimum=1,
    maximum=1,
    flags=(
        ("name", "", "string", "Name for the loaded key", "signer", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

TRUST_SIGNER_ADD = Command(
    spellings=("trust signer add",),
    usage="OPTIONS NAME REPOSITORY [REPOSITORY...]",
    short="Add a signer",
    minimum=2,
    flags=(
        ("key", "", "list", "Path to the signer's public key file", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

TRUST_SIGNER_REMOVE = Command(
    spellings=("trust signer remove",),
    usage="[OPTIONS] NAME REPOSITORY [REPOSITORY...]",
    short="Remove a signer",
    minimum=2,
    flags=(
        (
            "force", "f", "bool",
            "Do not prompt for confirmation before removing the most recent signer",
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)

TRUST_INSPECT = Command(
    spellings=("trust inspect",),
    usage="IMAGE[:TAG] [IMAGE[:TAG]...]",
    short="Return low-level information about keys and signatures",
    minimum=1,
    flags=(
        ("pretty", "", "bool", "Print the information in a human friendly format", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

TRUST_REVOKE = Command(
    spellings=("trust revoke",),
    usage="[OPTIONS] IMAGE[:TAG]",
    short="Remove trust for an image",
    minimum=1,
    maximum=1,
    flags=(
        ("yes", "y", "bool", "Do not prompt for confirmation", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

TRUST_SIGN = Command(
    spellings=("trust sign",),
    usage="IMAGE:TAG",
    short="Sign an image",
    minimum=1,
    maximum=1,
    flags=(
        ("local", "", "bool", "Sign a locally tagged image", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
