"""Contexts: docker's list of engines to talk to."""

from __future__ import annotations

from tiffin.cli.command import JSON_FORMAT, TABLE_FORMAT, Command

NOT_BUILT = "refused: tiffin has no daemon to choose; every command works on --root"

# fmt: off
CONTEXT_CREATE = Command(
    spellings=("context create",),
    usage="[OPTIONS] CONTEXT",
    short="Create a context",
    long=(
        "Create a context\n"
        "\n"
        "Docker endpoint config:\n"
        "\n"
        "NAME                DESCRIPTION\n"
        "from                Copy named context's Docker endpoint configuration\n"
        "host                Docker endpoint on which to connect\n"
        "ca                  Trust certs signed only by this CA\n"
        "cert                Path to TLS certificate file\n"
        "key                 Path to TLS key file\n"
        "skip-tls-verify     Skip TLS certificate validation\n"
        "\n"
        "Example:\n"
        "\n"
        '$ docker context create my-context --description "some description" --docker "host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file"'
    ),
    minimum=1,
    maximum=1,
    flags=(
        ("description", "", "string", "Description of the context", "", NOT_BUILT),
        ("docker", "", "stringToString", "set the docker endpoint", "[]", NOT_BUILT),
        ("from", "", "string", "create context from a named context", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONTEXT_EXPORT = Command(
    spellings=("context export",),
    usage="[OPTIONS] CONTEXT [FILE|-]",
    short="Export a context to a tar archive FILE or a tar stream on STDOUT.",
    minimum=1,
    maximum=2,
    status=NOT_BUILT,
)

CONTEXT_IMPORT = Command(
    spellings=("context import",),
    usage="CONTEXT FILE|-",
    short="Import a context from a tar or zip file",
    minimum=2,
    maximum=2,
    status=NOT_BUILT,
)

CONTEXT_INSPECT = Command(
    spellings=("context inspect",),
    usage="[OPTIONS] [CONTEXT] [CONTEXT...]",
    short="Display detailed information on one or more contexts",
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONTEXT_LS = Command(
    spellings=("context ls", "context list"),
    usage="[OPTIONS]",
    short="List contexts",
    maximum=0,
    flags=(
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("quiet", "q", "bool", "Only show context names", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONTEXT_RM = Command(
    spellings=("context rm", "context remove"),
    usage="CONTEXT [CONTEXT...]",
    short="Remove one or more contexts",
    minimum=1,
    flags=(
        ("force", "f", "bool", "Force the removal of a context in use", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONTEXT_SHOW = Command(
    spellings=("context show",),
    usage="",
    short="Print the name of the current context",
    maximum=0,
    status=NOT_BUILT,
)

CONTEXT_UPDATE = Command(
    spellings=("context update",),
    usage="[OPTIONS] CONTEXT",
    short="Update a context",
    long=(
        "Update a context\n"
        "\n"
        "Docker endpoint config:\n"
        "\n"
        "NAME                DESCRIPTION\n"
        "from                Copy named context's Docker endpoint configuration\n"
        "host                Docker endpoint on which to connect\n"
        "ca                  Trust certs signed only by this CA\n"
        "cert                Path to TLS certificate file\n"
        "key                 Path to TLS key file\n"
        "skip-tls-verify     Skip TLS certificate validation\n"
        "\n"
        "Example:\n"
        "\n"
        '$ docker context update my-context --description "some description" --docker "host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file"'
    ),
    minimum=1,
    maximum=1,
    flags=(
        ("description", "", "string", "Description of the context", "", NOT_BUILT),
        ("docker", "", "stringToString", "set the docker endpoint", "[]", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONTEXT_USE = Command(
    spellings=("context use",),
    usage="CONTEXT",
    short="Set the current docker context",
    minimum=1,
    maximum=1,
    status=NOT_BUILT,
)
