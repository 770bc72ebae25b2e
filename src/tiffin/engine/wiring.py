"""From a container's record to what its keeper is told about networks; and what may be asked for at all."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.network import rules
from tiffin.network.plan import Net, Port, Wish
from tiffin.network.subnet import normal
from tiffin.spec.network import EndpointConfig
from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.spec.container import ContainerConfig, HostConfig
    from tiffin.spec.port import PortBinding
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.networks import NetworkRecord

_DRIVER = "com.docker.network.driver."
_BRIDGE = "com.docker.network.bridge."
_ALL = ("0.0.0.0", "::")  # noqa: S104 - docker's default, and a setting
_OWN_ALIAS = "network-scoped alias is supported only for containers in user defined networks"


def endpoints(
    engine: Engine, host: HostConfig, asked: Mapping[str, EndpointConfig]
) -> dict[str, dict[str, Any]]:
    """Return the members `networks` of a new container's record: networks by id, the first one first.

    Raises NotFound, InvalidArgument (in docker's words), Unsupported where bridges cannot be had.
    """
    names = list(dict.fromkeys((host.network_mode, *asked)))
    networks = {name: usable(engine, name) for name in names}
    if not rules.available():
        message = "bridge networks need nftables, which is not installed"
        raise Unsupported(message, hint="apt-get install nftables; --network none and host do without")
    if _own(engine) and any(binding.protocol == "sctp" for binding in host.port_bindings):
        raise Unsupported("an ordinary user's containers publish tcp and udp only")
    found = {}
    for name, network in networks.items():
        wanted = asked.get(name, EndpointConfig())
        if name == host.network_mode and host.links:
            wanted = wanted.replace(links=(*wanted.links, *host.links))
        found[network.id] = {"Name": network.name, **checked(engine, network, wanted).to_json()}
    return found


def usable(engine: Engine, name: str) -> NetworkRecord:
    """Return a network that a container can be on together with others."""
    network = engine.store.networks.resolve("bridge" if name == "default" else name)
    if network.driver == "host":
        message = "container cannot be disconnected from host network or connected to host network"
        raise InvalidArgument(message)
    if network.driver == "null":
        message = (
            "container cannot be connected to multiple networks with one of the networks in private (none) "
            "mode"
        )
        raise InvalidArgument(message)
    if network.only_config:
        message = f"cannot join a config-only network: {network.name}"
        raise InvalidArgument(message)
    return network


def checked(engine: Engine, network: NetworkRecord, wanted: EndpointConfig) -> EndpointConfig:
    """Return an endpoint's settings in their usual forms; raises InvalidArgument."""
    if wanted.aliases and network.predefined:
        raise InvalidArgument(_OWN_ALIAS, hint="tiffin network create NAME makes one")
    if (wanted.ip4 or wanted.ip6) and network.predefined:
        message = "user specified IP address is supported on user defined networks only"
        raise InvalidArgument(message, hint="tiffin network create --subnet ... NAME makes one")
    if wanted.ip4 and network.automatic:
        message = (
            "user specified IP address is supported only when connecting to networks with user configured "
            "subnets"
        )
        raise InvalidArgument(message, hint="tiffin network create --subnet ... NAME makes one")
    for key in wanted.driver_opts:
        raise Unsupported(f"endpoint option {key} is not built yet")
    for link in wanted.links:
        engine.store.containers.resolve(link.partition(":")[0])
    return wanted.replace(
        ip4=_of_family(wanted.ip4, 4),
        ip6=_of_family(wanted.ip6, 6),
        mac=_hardware(wanted.mac),
        link_local=tuple(map(normal, wanted.link_local)),
    )


def _of_family(text: str, family: int) -> str:
    if text and (":" in normal(text)) != (family == 6):
        message = f"invalid IPv{family} address: {text}"
        raise InvalidArgument(message)
    return normal(text) if text else ""


def _hardware(text: str) -> str:
    if not text:
        return ""
    words = text.replace("-", ":").lower().split(":")
    try:
        raw = bytes(int(word, 16) for word in words)
    except ValueError:
        raw = b""
    if len(raw) != 6 or raw[0] & 1:
        message = (
            f"invalid MAC address: {text}" if len(raw) != 6 else f"{text} is a group's address, not one's own"
        )
        raise InvalidArgument(message)
    return ":".join(f"{byte:02x}" for byte in raw)


def check_shared(config: ContainerConfig, host: HostConfig, asked: Mapping[str, EndpointConfig]) -> None:
    """Raise InvalidArgument for what contradicts sharing another container's network, in docker's words."""
    wrong = (
        (bool(config.hostname), "hostname and the network mode"),
        (bool(host.dns or host.dns_search or host.dns_options), "dns and the network mode"),
        (bool(host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (
            bool(host.port_bindings or host.publish_all_ports),
            "port publishing and the container type network mode",
        ),
        (bool(config.exposed_ports), "port exposing and the container type network mode"),
    )
    for bad, what in wrong:
        if bad:
            raise InvalidArgument(f"conflicting options: {what}")
    if host.links:
        message = (
            "conflicting options: container type network can't be used with links. This would result in "
            "undefined behavior"
        )
        raise InvalidArgument(message)
    if asked:
        message = (
            "container sharing network namespace with another container or host cannot be connected to any "
            "other network"
        )
        raise InvalidArgument(message)


def _own(engine: Engine) -> bool:
    """Tell whether bridges are on a host of the user's own, not on the real one (see keeper.host)."""
    return engine.settings.privilege.rung != "root"


def warnings(engine: Engine, host: HostConfig) -> list[str]:
    """Return what whoever publishes ports should know: that a firewall does not see them."""
    if not host.port_bindings and not host.publish_all_ports:
        return []
    from tiffin.network import nft

    public = [b for b in host.port_bindings if _is_public(engine, b.host_ip)]
    if not public and not host.publish_all_ports:
        return []
    try:
        with nft.open_nft() as socket:
            tables = {table for hook, table in nft.dropping(socket) if hook == "input"}
    except OSError:
        return []
    if not tables:
        return []
    warning = (
        f"published ports are open to other hosts: they bypass this host's firewall (table {min(tables)} "
        "drops what comes in); publish them as 127.0.0.1:PORT:PORT, or set publish_address, to keep them here"
    )
    return [warning]


def _is_public(engine: Engine, host_ip: str) -> bool:
    address = host_ip or engine.settings.publish_address
    return not address.startswith("127.") and address != "::1"


# --- what a keeper is told ------------------------------------------------------------------------


def plan(engine: Engine, record: ContainerRecord) -> dict[str, Any]:
    """Return `StartRequest.network` of a container that is on bridges."""
    layout = engine.store.layout
    config = record.config
    full = f"{config.hostname}.{config.domainname} " if config.domainname else ""
    found = [
        (engine.store.networks.resolve(network_id), EndpointConfig.from_json(dict(value)))
        for network_id, value in record.networks.items()
    ]
    return {
        "folder": layout.networks,
        "table": layout.rules,
        "hosts": f"{layout.container(record.id)}/hosts",
        "hostname": f"{full}{config.hostname}",
        "upstream": record.host.dns or upstream(),
        "egress": egress_plan(engine, record),
        "own": _own(engine),
        "wishes": [wish(engine, record, network, endpoint).pack() for network, endpoint in found],
        "ports": [p.pack() for p in wanted_ports(engine, record, found[0][0])] if found else [],
    }


def egress_plan(engine: Engine, record: ContainerRecord) -> dict[str, Any] | None:
    """Return the list of what a container may reach, None for everything."""
    if record.host.egress is None:
        return None
    hosts = (text.partition(":" if ":" in text else "=") for text in record.host.extra_hosts)
    return {
        "allow": record.host.egress,
        "known": [(name.lower(), ip.strip("[]")) for name, _, ip in hosts],
        "record": engine.store.layout.egress(record.id),
    }


def wish(engine: Engine, record: ContainerRecord, network: NetworkRecord, endpoint: EndpointConfig) -> Wish:
    """Return how a container is on one network, names and all."""
    names = dict.fromkeys((record.name, *endpoint.aliases, record.id[:12]))
    if record.config.hostname != record.id[:12]:
        names[record.config.hostname] = None
    links = {}
    for link in endpoint.links:
        target, _, alias = link.partition(":")
        try:
            target = engine.store.containers.resolve(target).name
        except NotFound:
            continue  # removed since; docker lets the container start
        links[alias or target] = target
    return Wish(
        net=net(engine, network),
        ip4=endpoint.ip4,
        ip6=endpoint.ip6,
        mac=endpoint.mac,
        names=tuple(names),
        links=links or EMPTY,
        local=endpoint.link_local,
        priority=endpoint.gw_priority,
    )


def net(engine: Engine, network: NetworkRecord) -> Net:
    """Return a network as the room that makes it knows it."""
    option = network.options.get
    avoid: tuple[str, ...] = ()
    if network.automatic:
        others = (n for n in engine.store.networks.list() if n.id != network.id and not n.only_config)
        avoid = tuple(pool.subnet for other in others for pool in other.pools if ":" not in pool.subnet)
    return Net(
        id=network.id,
        name=network.name,
        bridge=network.bridge,
        subnets=tuple(pool.subnet for pool in network.pools),
        gateways=tuple(pool.gateway for pool in network.pools),
        ranges=tuple(pool.ip_range for pool in network.pools),
        reserved=tuple(ip for pool in network.pools for ip in pool.reserved.values()),
        automatic=network.automatic,
        avoid=avoid,
        internal=network.internal,
        neighbours=option(f"{_BRIDGE}enable_icc", "true") != "false",
        masquerade=option(f"{_BRIDGE}enable_ip_masquerade", "true") != "false",
        mtu=_mtu(engine, network),
        prefix=option("com.docker.network.container_iface_prefix", "eth"),
        resolves=not network.predefined,
    )


def _mtu(engine: Engine, network: NetworkRecord) -> int:
    """Return how much is carried in one piece, 0 for what the kernel chooses."""
    if _own(engine):
        from tiffin.network import uplink  # root has none

        given = "" if network.predefined else network.options.get(f"{_DRIVER}mtu", "")
        return int(given or uplink.MTU)
    return int(network.options.get(f"{_DRIVER}mtu", "0"))


def wanted_ports(engine: Engine, record: ContainerRecord, network: NetworkRecord | None) -> list[Port]:
    """Return all ports that a container publishes, those of `-P` too."""
    from tiffin.spec.port import PortBinding

    bindings = list(record.host.port_bindings)
    if record.host.publish_all_ports:
        named = {binding.port for binding in bindings}
        bindings += [PortBinding(port=port) for port in record.config.exposed_ports if port not in named]
    return [port for binding in bindings for port in host_ports(engine, binding, network)]


def host_ports(engine: Engine, binding: PortBinding, network: NetworkRecord | None = None) -> list[Port]:
    """Return the ports of the host that one binding asks for: of IPv4 and IPv6, where no address is said."""
    from tiffin.network import ports  # not everybody publishes any

    default = engine.settings.publish_address
    if network and not binding.host_ip:
        default = network.options.get(f"{_BRIDGE}host_binding_ipv4", "") or default
        default = engine.settings.publish_address if default == _ALL[0] else default
    address = binding.host_ip or default
    addresses = (address,) if address else _ALL if ports.has_ipv6() else _ALL[:1]
    low, _, high = binding.host_port.partition("-")
    first = int(low or 0)
    return [
        Port(
            host=host,
            first=first,
            last=int(high or first),
            protocol=binding.protocol,
            target=binding.number,
            follows=number > 0,
        )
        for number, host in enumerate(addresses)
    ]


def upstream() -> tuple[str, ...]:
    """Return the name servers that this host itself asks; a keeper may ask those on its loopback, too."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as stream:
            lines = [line.split() for line in stream]
    except OSError:
        lines = []
    found = tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
    return found or ("127.0.0.1",) if os.path.exists("/etc/resolv.conf") else ()
