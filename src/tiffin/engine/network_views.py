"""What is shown of networks: docker's JSON, the filters of the list."""

from __future__ import annotations

from tiffin.engine import filters as filtering
from tiffin.errors import InvalidArgument, NotFound
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.store.networks import NetworkRecord
    from tiffin.store.store import Store

_KEYS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


def filtered(engine: Engine, records: Sequence[NetworkRecord], filters: Filters) -> tuple[NetworkRecord, ...]:
    """Return the networks that pass: values of one key are OR-ed, different keys AND-ed."""
    filtering.check(filters, _KEYS)
    used = {i for container in engine.store.containers.list() for i in container.networks}
    return tuple(record for record in records if _passes(record, filters, used))


def _passes(record: NetworkRecord, filters: Filters, used: set[str]) -> bool:
    tests: dict[str, Callable[[str], bool]] = {
        "driver": lambda value: record.driver == value,
        "id": lambda value: value in record.id,
        "name": lambda value: value in record.name,
        "scope": lambda value: value == "local",
        "type": lambda value: _is_type(record, value),
        "dangling": lambda value: (
            filtering.boolean(value, "dangling") == (not record.predefined and record.id not in used)
        ),
    }
    if not filtering.labels_match(record.labels, filters.get("label", ())):
        return False
    return all(any(map(test, filters[key])) for key, test in tests.items() if key in filters)


def _is_type(record: NetworkRecord, value: str) -> bool:
    if value not in {"builtin", "custom"}:
        raise InvalidArgument(f"invalid filter: 'type={value}'")
    return record.predefined == (value == "builtin")


def inspect(store: Store, record: NetworkRecord, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return docker's JSON; `facts` are what is up of it."""
    pools = [pool.to_json() for pool in record.pools]
    if facts:  # the default's subnet may be another one than was planned
        for number, (subnet, gateway) in enumerate(zip(facts["subnets"], facts["gateways"], strict=True)):
            if pools[number]["Subnet"] != subnet:
                pools[number] |= {"Subnet": subnet, "Gateway": gateway}
    leases = facts["leases"] if facts else {}
    return {
        "Name": record.name,
        "Id": record.id,
        "Created": record.created,
        "Scope": "local",
        "Driver": record.driver,
        "EnableIPv4": record.ipv4,
        "EnableIPv6": record.ipv6,
        "IPAM": {"Driver": "default", "Options": {} if record.driver == "bridge" else None, "Config": pools},
        "Internal": record.internal,
        "Attachable": record.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": record.from_config},
        "ConfigOnly": record.only_config,
        "Containers": {
            container_id: _endpoint(store, container_id, lease)
            for container_id, lease in leases.items()
            if atomic.owner_lives(lease["owner"])
        },
        "Options": dict(record.options),
        "Labels": dict(record.labels),
    }


def _endpoint(store: Store, container_id: str, lease: Mapping[str, Any]) -> dict[str, Any]:
    try:
        name = store.containers.get(container_id).name
    except NotFound:
        name = str(lease["names"][0]) if lease["names"] else ""
    four = next((a for a in lease["addresses"] if ":" not in a), "")
    six = next((a for a in lease["addresses"] if ":" in a), "")
    return {
        "Name": name,
        "EndpointID": endpoint_id(container_id, lease["interface"]),
        "MacAddress": lease["mac"],
        "IPv4Address": four,
        "IPv6Address": six,
    }


def endpoint_id(container_id: str, interface: str) -> str:
    """Return a number for an endpoint that looks like docker's."""
    return (interface.encode().hex() + container_id)[:64]
