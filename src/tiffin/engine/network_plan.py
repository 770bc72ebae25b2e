"""network create: what was asked for, checked and completed into a record."""

from __future__ import annotations

from tiffin.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unsupported
from tiffin.network import link, living
from tiffin.network.subnet import Subnet, free, normal, private6
from tiffin.spec import clock
from tiffin.spec.network import Pool
from tiffin.store.networks import NetworkRecord, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tiffin.engine.engine import Engine

_BRIDGE = "com.docker.network.bridge."
_OPTIONS = {
    f"{_BRIDGE}name",
    f"{_BRIDGE}enable_icc",
    f"{_BRIDGE}enable_ip_masquerade",
    f"{_BRIDGE}host_binding_ipv4",
    f"{_BRIDGE}default_bridge",
    "com.docker.network.driver.mtu",
    "com.docker.network.container_iface_prefix",
}
_NOT_BUILT = {
    "macvlan": "a container on it would appear on the host's own network, which tiffin does not touch yet",
    "ipvlan": "a container on it would appear on the host's own network, which tiffin does not touch yet",
    "overlay": "tiffin is no swarm node",
}
_NAME_LIMIT = 15
"""Characters in the name of an interface."""


def planned(
    engine: Engine, name: str, *, driver: str, pools: Sequence[Pool], from_config: str, **members: Any
) -> NetworkRecord:
    """Return the record of a new network; raises what `Networks.create` says."""
    check_name(name)
    networks = engine.store.networks
    if name in {"bridge", "host", "none", "default"}:
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if any(record.name == name for record in networks.list()):
        message = f"network with name {name} already exists"
        raise Conflict(message, hint=f"tiffin network rm {name}")
    _check_driver(driver)
    record = NetworkRecord(
        id=networks.new_id(), name=name, created=clock.now(), driver=driver, pools=tuple(pools), **members
    )
    if from_config:
        record = _copied(engine, record, from_config)
    _check_options(engine, record.options)
    if record.only_config:
        return record
    if not record.ipv4 and not record.ipv6:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    return _with_pools(engine, record)


def _check_driver(driver: str) -> None:
    if driver in _NOT_BUILT:
        raise Unsupported(f"network driver {driver} is not built: {_NOT_BUILT[driver]}", hint="use bridge")
    if driver in {"host", "null"}:
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver != "bridge":
        raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')


def _copied(engine: Engine, record: NetworkRecord, name: str) -> NetworkRecord:
    source = engine.store.networks.resolve(name)
    if not source.only_config:
        raise InvalidArgument(f"{name} is not a configuration only network")
    if record.pools or record.options or record.internal or record.ipv6:
        message = (
            "user-specified configurations are not supported if the network depends on a config-only network"
        )
        raise InvalidArgument(message)
    return record.replace(
        pools=source.pools, options=source.options, ipv6=source.ipv6, ipv4=source.ipv4,
        internal=source.internal, labels={**source.labels, **record.labels}, from_config=source.name,
    )  # fmt: skip


def _check_options(engine: Engine, options: Mapping[str, str]) -> None:
    for key, value in options.items():
        if key.startswith("com.docker.network.") and key not in _OPTIONS:
            raise Unsupported(f"network option {key} is not built yet")
        if key.endswith(("enable_icc", "enable_ip_masquerade")) and value not in {"true", "false"}:
            raise InvalidArgument(f"failed to parse {key} value: {value} (must be true or false)")
    mtu = options.get("com.docker.network.driver.mtu", "0")
    if not (mtu.isascii() and mtu.isdigit() and (int(mtu) == 0 or 68 <= int(mtu) <= 65535)):
        raise InvalidArgument(f"invalid MTU number: {mtu}")
    binding = options.get(f"{_BRIDGE}host_binding_ipv4")
    if binding:
        normal(binding)
    name = options.get(f"{_BRIDGE}name", "")
    if len(name) > _NAME_LIMIT or any(c in '/ \t\n:"' or c < " " for c in name):
        raise InvalidArgument(f"invalid bridge name: {name}", hint=f"up to {_NAME_LIMIT} characters")
    if name and any(record.bridge == name for record in engine.store.networks.list()):
        raise Conflict(f"network bridge name {name} is in use by another network")


def _with_pools(engine: Engine, record: NetworkRecord) -> NetworkRecord:
    """Return the record with whole pools: subnets that are free, gateways in them."""
    taken = _taken(engine)
    pools = [_checked(pool) for pool in record.pools if pool.subnet]
    mine: list[Subnet] = []
    for pool in pools:
        subnet = Subnet.parse(pool.subnet)
        clash = next((o for o in (*mine, *taken) if subnet.overlaps(o)), None)
        if clash:
            message = "Pool overlaps with other one on this address space"
            raise Conflict(
                message, hint=f"{subnet} overlaps with {clash}; `tiffin network ls` and `ip route` tell"
            )
        mine.append(subnet)
    families = {subnet.size for subnet in mine}
    automatic = record.ipv4 and 4 not in families
    if 16 in families and not record.ipv6:
        record = record.replace(ipv6=True)
    if automatic:
        found = free([*taken, *mine])
        if found is None:
            raise living.exhausted()
        pools.insert(0, Pool(subnet=str(found)))
    if record.ipv6 and 16 not in families:
        pools.append(Pool(subnet=str(private6(bytes.fromhex(record.id[:10]), 0))))
    return record.replace(pools=tuple(map(_with_gateway, pools)), automatic=automatic)


def _taken(engine: Engine) -> list[Subnet]:
    """Return the subnets that other networks have, and those that this host has routes to."""
    others = [network for network in engine.store.networks.list() if not network.only_config]
    taken = [Subnet.parse(pool.subnet) for network in others for pool in network.pools]
    with link.open_route() as route:
        taken += link.routed(route)
    return taken


def _checked(pool: Pool) -> Pool:
    subnet = Subnet.parse(pool.subnet)
    if str(subnet) != pool.subnet:
        written = f"{normal(pool.subnet.partition('/')[0])}/{subnet.bits}"
        if written != str(subnet):
            raise InvalidArgument(
                f"invalid network config: invalid subnet {pool.subnet}: it should be {subnet}"
            )
    if subnet.count < 4 and subnet.size == 4:
        raise InvalidArgument(f"invalid network config: subnet {subnet} is too small for a container")
    for what, text in (
        ("gateway", pool.gateway),
        *(("auxiliary address", ip) for ip in pool.reserved.values()),
    ):
        if text and subnet.offset(text) < 0:
            raise InvalidArgument(f"invalid network config: invalid {what} {text}: parent subnet is {subnet}")
    if pool.ip_range:
        part = Subnet.parse(pool.ip_range)
        if not subnet.overlaps(part) or part.bits < subnet.bits:
            raise InvalidArgument(
                f"invalid network config: invalid ip-range {pool.ip_range}: it is not in subnet {subnet}"
            )
    return pool.replace(subnet=str(subnet), gateway=normal(pool.gateway) if pool.gateway else "")


def _with_gateway(pool: Pool) -> Pool:
    if pool.gateway:
        return pool
    first = Subnet.parse(pool.ip_range or pool.subnet)
    subnet = Subnet.parse(pool.subnet)
    ip = first.at(1) if first.first == subnet.first else first.at(0)
    reserved = {*pool.reserved.values()}
    offset = subnet.offset(ip)
    while ip in reserved:
        offset += 1
        ip = subnet.at(offset)
    return pool.replace(gateway=ip)
