"""Networks."""

from __future__ import annotations

from tiffin.cli.command import JSON_FORMAT, TABLE_FORMAT, Command

NOT_BUILT = "refused: networks are not built yet; run has --network none and host"

# fmt: off
NETWORK_CONNECT = Command(
    spellings=("network connect",),
    usage="[OPTIONS] NETWORK CONTAINER",
    short="Connect a container to a network",
    minimum=2,
    maximum=2,
    flags=(
        ("alias", "", "strings", "Add network-scoped alias for the container", "", NOT_BUILT),
        ("driver-opt", "", "strings", "driver options for the network", "", NOT_BUILT),
        (
            "gw-priority", "", "int",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
            "", NOT_BUILT,
        ),
        ("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")', "", NOT_BUILT),
        ("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")', "", NOT_BUILT),
        ("link", "", "list", "Add link to another container", "", NOT_BUILT),
        ("link-local-ip", "", "strings", "Add a link-local address for the container", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NETWORK_CREATE = Command(
    spellings=("network create",),
    usage="[OPTIONS] NETWORK",
    short="Create a network",
    minimum=1,
    maximum=1,
    flags=(
        ("attachable", "", "bool", "Enable manual container attachment", "", NOT_BUILT),
        (
            "aux-address", "", "map",
            "Auxiliary IPv4 or IPv6 addresses used by Network driver",
            "map[]", NOT_BUILT,
        ),
        ("config-from", "", "string", "The network from which to copy the configuration", "", NOT_BUILT),
        ("config-only", "", "bool", "Create a configuration only network", "", NOT_BUILT),
        ("driver", "d", "string", "Driver to manage the Network", "bridge", NOT_BUILT),
        ("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet", "", NOT_BUILT),
        ("ingress", "", "bool", "Create swarm routing-mesh network", "", NOT_BUILT),
        ("internal", "", "bool", "Restrict external access to the network", "", NOT_BUILT),
        ("ip-range", "", "strings", "Allocate container ip from a sub-range", "", NOT_BUILT),
        ("ipam-driver", "", "string", "IP Address Management Driver", "default", NOT_BUILT),
        ("ipam-opt", "", "map", "Set IPAM driver specific options", "map[]", NOT_BUILT),
        ("ipv4", "", "bool", "Enable or disable IPv4 address assignment", "true", NOT_BUILT),
        ("ipv6", "", "bool", "Enable or disable IPv6 address assignment", "", NOT_BUILT),
        ("label", "", "list", "Set metadata on a network", "", NOT_BUILT),
        ("opt", "o", "map", "Set driver specific options", "map[]", NOT_BUILT),
        ("scope", "", "string", "Control the network's scope", "", NOT_BUILT),
        ("subnet", "", "strings", "Subnet in CIDR format that represents a network segment", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NETWORK_DISCONNECT = Command(
    spellings=("network disconnect",),
    usage="[OPTIONS] NETWORK CONTAINER",
    short="Disconnect a container from a network",
    minimum=2,
    maximum=2,
    flags=(
        ("force", "f", "bool", "Force the container to disconnect from a network", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NETWORK_INSPECT = Command(
    spellings=("network inspect",),
    usage="[OPTIONS] NETWORK [NETWORK...]",
    short="Display detailed information on one or more networks",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
        ("verbose", "v", "bool", "Verbose output for diagnostics", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NETWORK_LS = Command(
    spellings=("network ls", "network list"),
    usage="[OPTIONS]",
    short="List networks",
    maximum=0,
    flags=(
        ("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")', "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("no-trunc", "", "bool", "Do not truncate the output", "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display network IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NETWORK_PRUNE = Command(
    spellings=("network prune",),
    usage="[OPTIONS]",
    short="Remove all unused networks",
    maximum=0,
    flags=(
        ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")', "", NOT_BUILT),
        ("force", "f", "bool", "Do not prompt for confirmation", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

NETWORK_RM = Command(
    spellings=("network rm", "network remove"),
    usage="NETWORK [NETWORK...]",
    short="Remove one or more networks",
    minimum=1,
    flags=(
        ("force", "f", "bool", "Do not error if the network does not exist", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
