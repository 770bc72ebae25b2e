"""network create, ls, inspect, rm, prune, connect, disconnect; container publish and unpublish."""

from __future__ import annotations

import sys

from tiffin.cli import confirm, doomed, keyvalues, listing
from tiffin.cli.command import DONE, JSON_FORMAT, TABLE_FORMAT, Command
from tiffin.cli.each import each
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.spec.network import EndpointConfig, Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.listing import Fields
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_SWARM = "refused: tiffin is no swarm node"
_ONE_DRIVER = "differs: bridge; macvlan, ipvlan and overlay are refused by name"
_ONE_IPAM = "differs: only the default one exists"
_NO_IPAM_OPTIONS = "refused: the default driver has none"
_SCOPE = "differs: only local"
_NO_OPTIONS = "refused: endpoint options are not built yet"
_HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def create(parsed: Parsed, session: Session) -> int:
    """Make a network and print its id."""
    if parsed.flag("ingress") or parsed.text("scope") not in {"", "local"}:
        raise Unsupported("This node is not a swarm manager.", hint="tiffin's networks are local")
    if parsed.text("ipam-driver") not in {"", "default"}:
        name = parsed.text("ipam-driver")
        raise NotFound(f'could not find plugin {name} in v1 plugin registry: plugin "{name}" not found')
    record = session.engine.networks.create(
        parsed.arguments[0],
        driver=parsed.text("driver") or "bridge",
        pools=_pools(parsed),
        internal=parsed.flag("internal"),
        attachable=parsed.flag("attachable"),
        ipv4=parsed.flag("ipv4") if parsed.given("ipv4") else True,
        ipv6=parsed.flag("ipv6"),
        options=keyvalues.pairs(parsed.many("opt")),
        labels=keyvalues.pairs(parsed.many("label")),
        only_config=parsed.flag("config-only"),
        from_config=parsed.text("config-from"),
    )
    sys.stdout.write(f"{record.id}\n")
    return 0


def _pools(parsed: Parsed) -> tuple[Pool, ...]:
    """Return what --subnet, --gateway, --ip-range and --aux-address say, each with its subnet."""
    from tiffin.network.subnet import Subnet

    pools = {text: Pool(subnet=text) for text in parsed.many("subnet")}
    subnets = {text: Subnet.parse(text) for text in pools}
    said = (("gateway", "gateway"), ("ip-range", "ip_range"))
    for flag, member in said:
        for value in parsed.many(flag):
            owner = _owner(subnets, value)
            if owner is None:
                what = "range" if flag == "ip-range" else flag
                raise InvalidArgument(f"no matching subnet for {what} {value}", hint="name it with --subnet")
            if getattr(pools[owner], member):
                raise InvalidArgument(
                    f"cannot configure multiple {flag}s ({value}) on the same subnet ({owner})"
                )
            pools[owner] = pools[owner].replace(**{member: value})
    for name, address in keyvalues.pairs(parsed.many("aux-address")).items():
        owner = _owner(subnets, address)
        if owner is None:
            raise InvalidArgument(f"no matching subnet for aux-address {address}")
        pools[owner] = pools[owner].replace(reserved={**pools[owner].reserved, name: address})
    return tuple(pools.values())


def _owner(subnets: dict, value: str) -> str | None:  # type: ignore[type-arg]
    ip = value.partition("/")[0]
    return next((text for text, subnet in subnets.items() if subnet.offset(ip) >= 0), None)


def ls(parsed: Parsed, session: Session) -> int:
    """Print the networks."""
    records = session.engine.networks.list(filters=parsed.filters())
    whole = parsed.flag("no-trunc")
    if parsed.flag("quiet"):
        sys.stdout.write("".join(f"{r.id if whole else r.id[:12]}\n" for r in records))
        return 0
    fields: Fields = {
        "ID": lambda record: record.id if whole else record.id[:12],
        "Name": lambda record: record.name,
        "Driver": lambda record: record.driver,
        "Scope": lambda _record: "local",
        "IPv4": lambda record: str(record.ipv4).lower(),
        "IPv6": lambda record: str(record.ipv6).lower(),
        "Internal": lambda record: str(record.internal).lower(),
        "Labels": lambda record: ",".join(f"{k}={v}" for k, v in sorted(record.labels.items())),
        "Label": lambda record: lambda name: record.labels.get(name, ""),
        "CreatedAt": lambda record: record.created,
    }
    columns = ("ID", "Name", "Driver", "Scope")
    sys.stdout.write(
        listing.show(records, parsed.text("format"), columns=columns, fields=fields, headers=_HEADERS)
    )
    return 0


def inspect(parsed: Parsed, session: Session) -> int:
    """Show networks."""
    from tiffin.cli.inspect import show

    return show(parsed, session.engine.networks.inspect)


def remove(parsed: Parsed, session: Session) -> int:
    """Remove networks; with --force a missing one is fine."""
    force = parsed.flag("force")

    def one(name: str) -> str | None:
        try:
            session.engine.networks.remove(name)
        except NotFound as error:
            if not force:
                raise
            sys.stderr.write(f"tiffin: {error.message}\n")
            return None
        return name

    return each(parsed.arguments, one)


def prune(parsed: Parsed, session: Session) -> int:
    """Remove networks that no container has, after asking."""
    networks = session.engine.networks
    plan = networks.plan_prune(filters=parsed.filters())
    if parsed.flag("dry-run"):
        return doomed.show(plan)
    warning = "WARNING! This will remove all custom networks not used by at least one container."
    if not parsed.flag("force") and not confirm.ask(warning):
        return 0
    removed = networks.prune(plan=plan).removed
    if removed:
        sys.stdout.write("Deleted Networks:\n" + "".join(f"{name}\n" for name in removed) + "\n")
    return 0


def connect(parsed: Parsed, session: Session) -> int:
    """Put a container on a network."""
    network, container = parsed.arguments
    endpoint = EndpointConfig(
        aliases=tuple(parsed.many("alias")),
        links=tuple(parsed.many("link")),
        ip4=parsed.text("ip"),
        ip6=parsed.text("ip6"),
        link_local=tuple(parsed.many("link-local-ip")),
        gw_priority=parsed.number("gw-priority"),
    )
    session.engine.networks.connect(network, container, endpoint)
    return 0


def disconnect(parsed: Parsed, session: Session) -> int:
    """Take a container off a network."""
    network, container = parsed.arguments
    session.engine.networks.disconnect(network, container, force=parsed.flag("force"))
    return 0


def publish(parsed: Parsed, session: Session) -> int:
    """Publish ports of a container, and print where they are."""
    container, *ports = parsed.arguments
    for line in session.engine.networks.publish(container, *ports):
        sys.stdout.write(f"{line}\n")
    return 0


def unpublish(parsed: Parsed, session: Session) -> int:
    """Take published ports back."""
    container, *ports = parsed.arguments
    session.engine.networks.unpublish(container, *ports)
    return 0


# fmt: off
NETWORK_CONNECT = Command(
    spellings=("network connect",),
    usage="[OPTIONS] NETWORK CONTAINER",
    short="Connect a container to a network",
    minimum=2,
    maximum=2,
    flags=(
        ("alias", "", "strings", "Add network-scoped alias for the container", "", DONE),
        ("driver-opt", "", "strings", "driver options for the network", "", _NO_OPTIONS),
        (
            "gw-priority", "", "int",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
            "", DONE,
        ),
        ("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")', "", DONE),
        ("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")', "", DONE),
        ("link", "", "list", "Add link to another container", "", DONE),
        ("link-local-ip", "", "strings", "Add a link-local address for the container", "", DONE),
    ),
    handler=connect,
)

NETWORK_CREATE = Command(
    spellings=("network create",),
    usage="[OPTIONS] NETWORK",
    short="Create a network",
    minimum=1,
    maximum=1,
    flags=(
        ("attachable", "", "bool", "Enable manual container attachment", "", DONE),
        (
            "aux-address", "", "map",
            "Auxiliary IPv4 or IPv6 addresses used by Network driver",
            "map[]", DONE,
        ),
        ("config-from", "", "string", "The network from which to copy the configuration", "", DONE),
        ("config-only", "", "bool", "Create a configuration only network", "", DONE),
        ("driver", "d", "string", "Driver to manage the Network", "bridge", _ONE_DRIVER),
        ("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet", "", DONE),
        ("ingress", "", "bool", "Create swarm routing-mesh network", "", _SWARM),
        ("internal", "", "bool", "Restrict external access to the network", "", DONE),
        ("ip-range", "", "strings", "Allocate container ip from a sub-range", "", DONE),
        ("ipam-driver", "", "string", "IP Address Management Driver", "default", _ONE_IPAM),
        ("ipam-opt", "", "map", "Set IPAM driver specific options", "map[]", _NO_IPAM_OPTIONS),
        ("ipv4", "", "bool", "Enable or disable IPv4 address assignment", "true", DONE),
        ("ipv6", "", "bool", "Enable or disable IPv6 address assignment", "", DONE),
        ("label", "", "list", "Set metadata on a network", "", DONE),
        ("opt", "o", "map", "Set driver specific options", "map[]", DONE),
        ("scope", "", "string", "Control the network's scope", "", _SCOPE),
        ("subnet", "", "strings", "Subnet in CIDR format that represents a network segment", "", DONE),
    ),
    handler=create,
)

NETWORK_DISCONNECT = Command(
    spellings=("network disconnect",),
    usage="[OPTIONS] NETWORK CONTAINER",
    short="Disconnect a container from a network",
    minimum=2,
    maximum=2,
    flags=(
        ("force", "f", "bool", "Force the container to disconnect from a network", "", DONE),
    ),
    handler=disconnect,
)

NETWORK_INSPECT = Command(
    spellings=("network inspect",),
    usage="[OPTIONS] NETWORK [NETWORK...]",
    short="Display detailed information on one or more networks",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", DONE),
        ("verbose", "v", "bool", "Verbose output for diagnostics", "", DONE),
    ),
    handler=inspect,
)

NETWORK_LS = Command(
    spellings=("network ls", "network list"),
    usage="[OPTIONS]",
    short="List networks",
    maximum=0,
    flags=(
        ("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")', "", DONE),
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("no-trunc", "", "bool", "Do not truncate the output", "", DONE),
        ("quiet", "q", "bool", "Only display network IDs", "", DONE),
    ),
    handler=ls,
)

NETWORK_PRUNE = Command(
    spellings=("network prune",),
    usage="[OPTIONS]",
    short="Remove all unused networks",
    maximum=0,
    flags=(
        doomed.FLAG,
        ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")', "", DONE),
        ("force", "f", "bool", "Do not prompt for confirmation", "", DONE),
    ),
    handler=prune,
)

NETWORK_RM = Command(
    spellings=("network rm", "network remove"),
    usage="NETWORK [NETWORK...]",
    short="Remove one or more networks",
    minimum=1,
    flags=(
        ("force", "f", "bool", "Do not error if the network does not exist", "", DONE),
    ),
    handler=remove,
)

PUBLISH = Command(
    spellings=("container publish",),
    usage="CONTAINER [HOST:]PORT [[HOST:]PORT...]",
    short="Publish more ports of a container, also while it runs",
    minimum=2,
    handler=publish,
)

UNPUBLISH = Command(
    spellings=("container unpublish",),
    usage="CONTAINER [HOST:]PORT [[HOST:]PORT...]",
    short="Take back published ports of a container, also while it runs",
    minimum=2,
    handler=unpublish,
)
