"""The rest of Swarm."""

from __future__ import annotations

from tiffin.cli.command import JSON_FORMAT, TABLE_FORMAT, Command

NOT_BUILT = "refused: tiffin is no swarm node"

# fmt: off
CONFIG_CREATE = Command(
    spellings=("config create",),
    usage="[OPTIONS] CONFIG file|-",
    short="Create a config from a file or STDIN",
    minimum=2,
    maximum=2,
    flags=(
        ("label", "l", "list", "Config labels", "", NOT_BUILT),
        ("template-driver", "", "string", "Template driver", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONFIG_INSPECT = Command(
    spellings=("config inspect",),
    usage="[OPTIONS] CONFIG [CONFIG...]",
    short="Display detailed information on one or more configs",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
        ("pretty", "", "bool", "Print the information in a human friendly format", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONFIG_LS = Command(
    spellings=("config ls", "config list"),
    usage="[OPTIONS]",
    short="List configs",
    maximum=0,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

CONFIG_RM = Command(
    spellings=("config rm", "config remove"),
    usage="CONFIG [CONFIG...]",
    short="Remove one or more configs",
    minimum=1,
    status=NOT_BUILT,
)

NODE_DEMOTE = Command(
    spellings=("node demote",),
    usage="NODE [NODE...]",
    short="Demote one or more nodes from manager in the swarm",
    minimum=1,
    status=NOT_BUILT,
)

NODE_INSPECT = Command(
    spellings=("node inspect",),
    usage="[OPTIONS] self|NODE [NODE...]",
    short="Display detailed information on one or more nodes",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
        ("pretty", "", "bool", "Print the information in a human friendly format", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NODE_LS = Command(
    spellings=("node ls", "node list"),
    usage="[OPTIONS]",
    short="List nodes in the swarm",
    maximum=0,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NODE_PROMOTE = Command(
    spellings=("node promote",),
    usage="NODE [NODE...]",
    short="Promote one or more nodes to manager in the swarm",
    minimum=1,
    status=NOT_BUILT,
)

NODE_PS = Command(
    spellings=("node ps",),
    usage="[OPTIONS] [NODE...]",
    short="List tasks running on one or more nodes, defaults to current node",
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", "Pretty-print tasks using a Go template", "", NOT_BUILT),
        ("no-resolve", "", "bool", "Do not map IDs to Names", "", NOT_BUILT),
        ("no-trunc", "", "bool", "Do not truncate output", "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display task IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NODE_RM = Command(
    spellings=("node rm", "node remove"),
    usage="[OPTIONS] NODE [NODE...]",
    short="Remove one or more nodes from the swarm",
    minimum=1,
    flags=(
        ("force", "f", "bool", "Force remove a node from the swarm", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NODE_UPDATE = Command(
    spellings=("node update",),
    usage="[OPTIONS] NODE",
    short="Update a node",
    minimum=1,
    maximum=1,
    flags=(
        (
            "availability", "", "string",
            'Availability of the node ("active", "pause", "drain")',
            "", NOT_BUILT,
        ),
        ("label-add", "", "list", 'Add or update a node label ("key=value")', "", NOT_BUILT),
        ("label-rm", "", "list", "Remove a node label if exists", "", NOT_BUILT),
        ("role", "", "string", 'Role of the node ("worker", "manager")', "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SECRET_CREATE = Command(
    spellings=("secret create",),
    usage="[OPTIONS] SECRET [file|-]",
    short="Create a secret from a file or STDIN as content",
    minimum=1,
    maximum=2,
    flags=(
        ("driver", "d", "string", "Secret driver", "", NOT_BUILT),
        ("label", "l", "list", "Secret labels", "", NOT_BUILT),
        ("template-driver", "", "string", "Template driver", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SECRET_INSPECT = Command(
    spellings=("secret inspect",),
    usage="[OPTIONS] SECRET [SECRET...]",
    short="Display detailed information on one or more secrets",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
        ("pretty", "", "bool", "Print the information in a human friendly format", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SECRET_LS = Command(
    spellings=("secret ls", "secret list"),
    usage="[OPTIONS]",
    short="List secrets",
    maximum=0,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SECRET_RM = Command(
    spellings=("secret rm", "secret remove"),
    usage="SECRET [SECRET...]",
    short="Remove one or more secrets",
    minimum=1,
    status=NOT_BUILT,
)

STACK_CONFIG = Command(
    spellings=("stack config",),
    usage="[OPTIONS]",
    short="Outputs the final config file, after doing merges and interpolations",
    maximum=0,
    flags=(
        ("compose-file", "c", "strings", 'Path to a Compose file, or "-" to read from stdin', "", NOT_BUILT),
        ("skip-interpolation", "", "bool", "Skip interpolation and output only merged config", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

STACK_DEPLOY = Command(
    spellings=("stack deploy", "stack up"),
    usage="[OPTIONS] STACK",
    short="Deploy a new stack or update an existing stack",
    minimum=1,
    maximum=1,
    flags=(
        ("compose-file", "c", "strings", 'Path to a Compose file, or "-" to read from stdin', "", NOT_BUILT),
        (
            "detach", "d", "bool",
            "Exit immediately instead of waiting for the stack services to converge",
            "true", NOT_BUILT,
        ),
        ("prune", "", "bool", "Prune services that are no longer referenced", "", NOT_BUILT),
        ("quiet", "q", "bool", "Suppress progress output", "", NOT_BUILT),
        (
            "resolve-image", "", "string",
            (
                'Query the registry to resolve image digest and supported platforms ("always", "changed", '
                '"never")'
            ),
            "always", NOT_BUILT,
        ),
        (
            "with-registry-auth", "", "bool",
            "Send registry authentication details to Swarm agents",
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)

STACK_LS = Command(
    spellings=("stack ls", "stack list"),
    usage="[OPTIONS]",
    short="List stacks",
    maximum=0,
    flags=(
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

STACK_PS = Command(
    spellings=("stack ps",),
    usage="[OPTIONS] STACK",
    short="List the tasks in the stack",
    minimum=1,
    maximum=1,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("no-resolve", "", "bool", "Do not map IDs to Names", "", NOT_BUILT),
        ("no-trunc", "", "bool", "Do not truncate output", "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display task IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

STACK_RM = Command(
    spellings=("stack rm", "stack remove", "stack down"),
    usage="[OPTIONS] STACK [STACK...]",
    short="Remove one or more stacks",
    minimum=1,
    flags=(
        ("detach", "d", "bool", "Do not wait for stack removal", "true", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

STACK_SERVICES = Command(
    spellings=("stack services",),
    usage="[OPTIONS] STACK",
    short="List the services in the stack",
    minimum=1,
    maximum=1,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SWARM_CA = Command(
    spellings=("swarm ca",),
    usage="[OPTIONS]",
    short="Display and rotate the root CA",
    maximum=0,
    flags=(
        (
            "ca-cert", "", "pem-file",
            "Path to the PEM-formatted root CA certificate to use for the new cluster",
            "", NOT_BUILT,
        ),
        (
            "ca-key", "", "pem-file",
            "Path to the PEM-formatted root CA key to use for the new cluster",
            "", NOT_BUILT,
        ),
        (
            "cert-expiry", "", "duration",
            "Validity period for node certificates (ns|us|ms|s|m|h)",
            "2160h0m0s", NOT_BUILT,
        ),
        (
            "detach", "d", "bool",
            "Exit immediately instead of waiting for the root rotation to converge",
            "", NOT_BUILT,
        ),
        (
            "external-ca", "", "external-ca",
            "Specifications of one or more certificate signing endpoints",
            "", NOT_BUILT,
        ),
        ("quiet", "q", "bool", "Suppress progress output", "", NOT_BUILT),
        (
            "rotate", "", "bool",
            "Rotate the swarm CA - if no certificate or key are provided, new ones will be generated",
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)

SWARM_INIT = Command(
    spellings=("swarm init",),
    usage="[OPTIONS]",
    short="Initialize a swarm",
    maximum=0,
    flags=(
        (
            "advertise-addr", "", "string",
            'Advertised address (format: "<ip|interface>[:port]")',
            "", NOT_BUILT,
        ),
        (
            "autolock", "", "bool",
            "Enable manager autolocking (requiring an unlock key to start a stopped manager)",
            "", NOT_BUILT,
        ),
        (
            "availability", "", "string",
            'Availability of the node ("active", "pause", "drain")',
            "active", NOT_BUILT,
        ),
        (
            "cert-expiry", "", "duration",
            "Validity period for node certificates (ns|us|ms|s|m|h)",
            "2160h0m0s", NOT_BUILT,
        ),
        (
            "data-path-addr", "", "string",
            'Address or interface to use for data path traffic (format: "<ip|interface>")',
            "", NOT_BUILT,
        ),
        (
            "data-path-port", "", "uint32",
            (
                "Port number to use for data path traffic (1024 - 49151). If no value is set or is set to 0, "
                "the default port (4789) is used."
            ),
            "", NOT_BUILT,
        ),
        ("default-addr-pool", "", "ipNetSlice", "default address pool in CIDR format", "[]", NOT_BUILT),
        (
            "default-addr-pool-mask-length", "", "uint32",
            "default address pool subnet mask length",
            "24", NOT_BUILT,
        ),
        (
            "dispatcher-heartbeat", "", "duration",
            "Dispatcher heartbeat period (ns|us|ms|s|m|h)",
            "5s", NOT_BUILT,
        ),
        (
            "external-ca", "", "external-ca",
            "Specifications of one or more certificate signing endpoints",
            "", NOT_BUILT,
        ),
        ("force-new-cluster", "", "bool", "Force create a new cluster from current state", "", NOT_BUILT),
        (
            "listen-addr", "", "node-addr",
            'Listen address (format: "<ip|interface>[:port]")',
            "0.0.0.0:2377", NOT_BUILT,
        ),
        ("max-snapshots", "", "uint", "Number of additional Raft snapshots to retain", "", NOT_BUILT),
        ("snapshot-interval", "", "uint", "Number of log entries between Raft snapshots", "10000", NOT_BUILT),
        ("task-history-limit", "", "int", "Task history retention limit", "5", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SWARM_JOIN = Command(
    spellings=("swarm join",),
    usage="[OPTIONS] HOST:PORT",
    short="Join a swarm as a node and/or manager",
    minimum=1,
    maximum=1,
    flags=(
        (
            "advertise-addr", "", "string",
            'Advertised address (format: "<ip|interface>[:port]")',
            "", NOT_BUILT,
        ),
        (
            "availability", "", "string",
            'Availability of the node ("active", "pause", "drain")',
            "active", NOT_BUILT,
        ),
        (
            "data-path-addr", "", "string",
            'Address or interface to use for data path traffic (format: "<ip|interface>")',
            "", NOT_BUILT,
        ),
        (
            "listen-addr", "", "node-addr",
            'Listen address (format: "<ip|interface>[:port]")',
            "0.0.0.0:2377", NOT_BUILT,
        ),
        ("token", "", "string", "Token for entry into the swarm", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SWARM_JOIN_TOKEN = Command(
    spellings=("swarm join-token",),
    usage="[OPTIONS] (worker|manager)",
    short="Manage join tokens",
    minimum=1,
    maximum=1,
    flags=(
        ("quiet", "q", "bool", "Only display token", "", NOT_BUILT),
        ("rotate", "", "bool", "Rotate join token", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SWARM_LEAVE = Command(
    spellings=("swarm leave",),
    usage="[OPTIONS]",
    short="Leave the swarm",
    maximum=0,
    flags=(
        ("force", "f", "bool", "Force this node to leave the swarm, ignoring warnings", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SWARM_UNLOCK = Command(
    spellings=("swarm unlock",),
    usage="",
    short="Unlock swarm",
    maximum=0,
    status=NOT_BUILT,
)

SWARM_UNLOCK_KEY = Command(
    spellings=("swarm unlock-key",),
    usage="[OPTIONS]",
    short="Manage the unlock key",
    maximum=0,
    flags=(
        ("quiet", "q", "bool", "Only display token", "", NOT_BUILT),
        ("rotate", "", "bool", "Rotate unlock key", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SWARM_UPDATE = Command(
    spellings=("swarm update",),
    usage="[OPTIONS]",
    short="Update the swarm",
    maximum=0,
    flags=(
        ("autolock", "", "bool", "Change manager autolocking setting (true|false)", "", NOT_BUILT),
        (
            "cert-expiry", "", "duration",
            "Validity period for node certificates (ns|us|ms|s|m|h)",
            "2160h0m0s", NOT_BUILT,
        ),
        (
            "dispatcher-heartbeat", "", "duration",
            "Dispatcher heartbeat period (ns|us|ms|s|m|h)",
            "5s", NOT_BUILT,
        ),
        (
            "external-ca", "", "external-ca",
            "Specifications of one or more certificate signing endpoints",
            "", NOT_BUILT,
        ),
        ("max-snapshots", "", "uint", "Number of additional Raft snapshots to retain", "", NOT_BUILT),
        ("snapshot-interval", "", "uint", "Number of log entries between Raft snapshots", "10000", NOT_BUILT),
        ("task-history-limit", "", "int", "Task history retention limit", "5", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
