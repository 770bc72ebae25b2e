"""What is shown of containers: a small value for lists, docker's JSON for `inspect`."""

from __future__ import annotations

import os

from tiffin.errors import Corrupt
from tiffin.spec import jsontext
from tiffin.spec.mount import MountPoint
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.spec.container import HostConfig
    from tiffin.spec.state import ContainerState
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.layout import Layout


class ContainerView(Value):
    """One container of a list. `name` has no slash; sizes are bytes, -1 where not asked for."""

    id: str
    name: str
    image: str
    image_id: str
    command: tuple[str, ...]
    created: str
    state: ContainerState
    labels: Mapping[str, str] = EMPTY
    mounts: tuple[MountPoint, ...] = ()
    networks: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    ports: tuple[tuple[str, int, str, int], ...] = ()  # host address, host port, protocol, its own port
    size_rw: int = -1
    size_root: int = -1


def container_view(
    container_id: str, name: str, image_id: str, record: Mapping[str, Any], state: ContainerState
) -> ContainerView:
    """Return the list entry of a container from its record's JSON (see `Containers.list_json`)."""
    config = record["config"]
    return ContainerView(
        id=container_id,
        name=name,
        image=config.get("Image", ""),
        image_id=image_id,
        command=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
        created=record["created"],
        state=state,
        labels=config.get("Labels") or EMPTY,
        mounts=tuple(map(MountPoint.from_json, record["mounts"])),
        networks=_network_names(record),
        exposed_ports=tuple(config.get("ExposedPorts") or ()),
        ports=tuple(map(tuple, state.network.get("ports", ()))),
    )


def _network_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    networks = record.get("networks")
    if networks:
        return tuple(endpoint["Name"] for endpoint in networks.values())
    return (record["host"].get("NetworkMode", "default"),)


def container_inspect(
    record: ContainerRecord, state: ContainerState, layout: Layout, driver: str
) -> dict[str, Any]:
    """Return docker's JSON of a container; `driver` is docker's name of the snapshotter."""
    folder = layout.container(record.id)
    argv = record.config.argv
    return {
        "Id": record.id,
        "Created": record.created,
        "Path": argv[0] if argv else "",
        "Args": list(argv[1:]),
        "State": _state(state) | _health(record, state, layout),
        "Image": record.image_id,
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": log_path(layout, record.id) if record.host.log_config.type == "json-file" else "",
        "Name": f"/{record.name}",
        "RestartCount": state.restart_count,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": _apparmor(folder),
        "ExecIDs": None,
        "HostConfig": _host_config(record.host),
        "GraphDriver": {"Data": _graph(record, layout) if driver == "overlay2" else None, "Name": driver},
        "Mounts": [MountPoint.from_json(mount).inspect() for mount in record.mounts],
        "Config": record.config.to_json(),
        "NetworkSettings": _network_settings(record, state),
    }


def _host_config(host: HostConfig) -> dict[str, Any]:
    """Return docker's JSON, with what the modes that nobody chose are."""
    from tiffin.runtime import specgen
    from tiffin.runtime.machine import Machine
    from tiffin.runtime.security import Security

    shown = host.to_json() | {
        "IpcMode": host.ipc_mode or "private",
        "CgroupnsMode": specgen.cgroup_namespace(host, Machine.here()),
    }
    if not host.privileged:
        masked, read_only = specgen.system_paths(host, Security())
        shown |= {"MaskedPaths": list(masked), "ReadonlyPaths": list(read_only)}
    return shown


def _apparmor(folder: str) -> str:
    """Return the AppArmor profile that a container was last started with."""
    try:
        with open(f"{folder}/config.json", "rb") as stream:
            spec = jsontext.load_object(stream.read())
    except (FileNotFoundError, Corrupt):
        return ""
    return str(spec.get("process", {}).get("apparmorProfile", ""))


def _graph(record: ContainerRecord, layout: Layout) -> dict[str, str]:
    """Return where the parts of a container's overlay lie."""
    folder = layout.container(record.id)
    return {
        "ID": record.id,
        "LowerDir": ":".join(layout.layer(c) for c in reversed(record.layers)),
        "MergedDir": f"{folder}/rootfs",
        "UpperDir": f"{folder}/upper",
        "WorkDir": f"{folder}/work",
    }


def event_attributes(record: ContainerRecord) -> dict[str, str]:
    """Return what every event of a container says about it."""
    return {**record.config.labels, "image": record.config.image, "name": record.name}


def log_path(layout: Layout, container_id: str) -> str:
    """Return where a container's log lies (docker's name for it)."""
    return os.path.join(layout.container(container_id), f"{container_id}-json.log")


def _state(state: ContainerState) -> dict[str, Any]:
    return {
        "Status": state.status,
        "Running": state.running,
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "FinishedAt": state.finished_at,
    }


def _health(record: ContainerRecord, state: ContainerState, layout: Layout) -> dict[str, Any]:
    """Return `Health` as the keeper wrote it; nothing for a container without a check."""
    if not record.config.healthcheck or not record.config.healthcheck.argv(()):
        return {}
    if not state.health:
        return {"Health": {"Status": "starting", "FailingStreak": 0, "Log": None}}
    from tiffin.errors import Corrupt
    from tiffin.spec import jsontext

    try:
        with open(layout.health(record.id), "rb") as stream:
            return {"Health": jsontext.load_object(stream.read())}
    except (FileNotFoundError, Corrupt):
        return {"Health": {"Status": state.health, "FailingStreak": 0, "Log": []}}


def _network_settings(record: ContainerRecord, state: ContainerState) -> dict[str, Any]:
    mode = record.host.network_mode
    facts = state.network.get("endpoints", {})
    asked = dict(record.networks) or ({} if mode.startswith("container:") else {"": {"Name": mode}})
    networks = {
        value["Name"]: _endpoint(record, network_id, value, facts.get(network_id, {}))
        for network_id, value in asked.items()
    }
    first = networks.get("bridge") or _NO_ENDPOINT
    return {
        "Bridge": "",
        "SandboxID": record.id if facts else "",
        **_NEVER,
        "SandboxKey": f"/proc/{state.pid}/ns/net" if facts and state.pid else "",
        "Ports": _ports(record, state),
        **{key: first[key] for key in _FIRST},
        "Networks": networks,
    }


_NEVER: dict[str, Any] = {
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
}
"""Members that docker shows and does not use any more."""
_NO_ENDPOINT: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
_FIRST = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen"),
    *("IPv6Gateway", "MacAddress"),
)


def _endpoint(
    record: ContainerRecord, network_id: str, asked: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return docker's JSON of a container on one network: what was asked for, what is so while it runs."""
    shown = {**_NO_ENDPOINT, **{key: value for key, value in asked.items() if key != "Name"}}
    if network_id and asked["Name"] != "bridge":
        aliases = tuple(asked.get("Aliases") or ())
        shown["DNSNames"] = list(dict.fromkeys((record.name, *aliases, record.id[:12])))
    if not facts:
        return shown
    from tiffin.engine.network_views import endpoint_id

    shown |= {
        "NetworkID": network_id,
        "EndpointID": endpoint_id(record.id, facts["interface"]),
        "MacAddress": facts["mac"],
    }
    for text, gateway in zip(facts["addresses"], facts["gateways"], strict=False):
        ip, _, bits = text.partition("/")
        if ":" in ip:
            six = {"GlobalIPv6Address": ip, "GlobalIPv6PrefixLen": int(bits), "IPv6Gateway": gateway}
            shown |= six
        else:
            shown |= {"IPAddress": ip, "IPPrefixLen": int(bits), "Gateway": gateway}
    return shown


def _ports(record: ContainerRecord, state: ContainerState) -> dict[str, Any]:
    """Return where each port is published; null for one that is only exposed."""
    if not state.running or not state.network:
        return {}
    found: dict[str, Any] = dict.fromkeys(record.config.exposed_ports)
    for host, number, protocol, port in state.network.get("ports", ()):
        listed = found.get(f"{port}/{protocol}") or []
        found[f"{port}/{protocol}"] = [*listed, {"HostIp": host, "HostPort": str(number)}]
    return found
