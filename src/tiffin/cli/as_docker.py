"""`inspect --as docker`: the command line that makes such a container again, with docker's flags.

The inverse of `options`: what is read back from these words is what they were made of. What the image
says itself is left out. Docker has no words for an entrypoint of several words (the rest goes before the
command) and for what is tiffin's own, which is named as it is.
"""

from __future__ import annotations

import shlex

from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.network import EndpointConfig
from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tiffin.spec import port
    from tiffin.spec.container import Device, DeviceRequest, Healthcheck
    from tiffin.spec.mount import Mount

_ANY = EndpointConfig()
_NOTHING = ContainerConfig()
_DEFAULT = HostConfig()
_TEXTS = {
    "network": "network_mode",
    "cpuset-cpus": "cpuset_cpus",
    "cpuset-mems": "cpuset_mems",
    "runtime": "runtime",
    "cidfile": "container_id_file",
    "ipc": "ipc_mode",
    "pid": "pid_mode",
    "uts": "uts_mode",
    "userns": "userns_mode",
    "cgroupns": "cgroupns_mode",
    "cgroup-parent": "cgroup_parent",
    "isolation": "isolation",
    "on-unhealthy": "on_unhealthy",
    "memory": "memory",
    "memory-swap": "memory_swap",
    "memory-reservation": "memory_reservation",
    "memory-swappiness": "memory_swappiness",
    "pids-limit": "pids_limit",
    "cpu-shares": "cpu_shares",
    "cpu-period": "cpu_period",
    "cpu-quota": "cpu_quota",
    "cpu-rt-period": "cpu_realtime_period",
    "cpu-rt-runtime": "cpu_realtime_runtime",
    "oom-score-adj": "oom_score_adj",
    "shm-size": "shm_size",
    "blkio-weight": "blkio_weight",
}
_SWITCHES = {
    "rm": "auto_remove",
    "privileged": "privileged",
    "read-only": "readonly_rootfs",
    "init": "init",
    "oom-kill-disable": "oom_kill_disable",
    "publish-all": "publish_all_ports",
}
_LISTS = {
    "volume": "binds",
    "group-add": "group_add",
    "add-host": "extra_hosts",
    "dns": "dns",
    "dns-search": "dns_search",
    "dns-option": "dns_options",
    "cap-add": "cap_add",
    "cap-drop": "cap_drop",
    "link": "links",
    "device-cgroup-rule": "device_cgroup_rules",
}
_MAPS = {"sysctl": "sysctls", "annotation": "annotations"}
_RATES = {
    "blkio-weight-device": "blkio_weight_device",
    "device-read-bps": "blkio_device_read_bps",
    "device-write-bps": "blkio_device_write_bps",
    "device-read-iops": "blkio_device_read_iops",
    "device-write-iops": "blkio_device_write_iops",
}
_STREAMS = ("stdin", "stdout", "stderr")


def line(
    config: ContainerConfig,
    host: HostConfig,
    *,
    name: str,
    image: ContainerConfig = _NOTHING,
    endpoints: Mapping[str, EndpointConfig] = EMPTY,
) -> str:
    """Return the command, ready for a shell; `endpoints` by the name of the network."""
    flags: list[str] = []
    if any(endpoint != _ANY for endpoint in endpoints.values()) or len(endpoints) > 1:
        flags = [f"--network={_endpoint(network, one)}" for network, one in endpoints.items()]
        host = host.replace(network_mode=_DEFAULT.network_mode)
    return shlex.join(["docker", "run", *flags, *words(config, host, name=name, image=image)])


def _endpoint(name: str, endpoint: EndpointConfig) -> str:
    """Return docker's long form of a network that a container is on."""
    fields = [f"name={name}", *(f"alias={alias}" for alias in endpoint.aliases)]
    members = (("ip", endpoint.ip4), ("ip6", endpoint.ip6), ("mac-address", endpoint.mac))
    fields += [f"{key}={value}" for key, value in members if value]
    fields += [f"link-local-ip={ip}" for ip in endpoint.link_local]
    fields += [f"gw-priority={endpoint.gw_priority}"] * bool(endpoint.gw_priority)
    return ",".join(fields) if fields[1:] else name


def words(
    config: ContainerConfig, host: HostConfig, *, name: str = "", image: ContainerConfig = _NOTHING
) -> list[str]:
    """Return what stands behind `docker run`."""
    entrypoint = config.entrypoint or ()
    command = config.cmd or ()
    if config.entrypoint is not None and config.entrypoint == image.entrypoint:
        flags = []
        command = () if command == image.cmd else command
    elif config.entrypoint is None:
        flags = ["--entrypoint="] if image.entrypoint else []
        command = () if command == image.cmd and not flags else command
    else:
        flags, command = [f"--entrypoint={entrypoint[0]}"], (*entrypoint[1:], *command)
    named = [f"--name={name}"] if name else []
    return [*named, *flags, *_config(config, image), *_host(host), config.image, *command]


def _config(config: ContainerConfig, image: ContainerConfig) -> Iterator[str]:
    attached = (config.attach_stdin, config.attach_stdout, config.attach_stderr)
    usual = (config.open_stdin, True, True)
    if not any(attached):
        yield "--detach"
    elif attached != usual:
        yield from (f"--attach={s}" for s, on in zip(_STREAMS, attached, strict=True) if on)
    yield from ["--interactive"] * config.open_stdin
    yield from ["--tty"] * config.tty
    for flag, field in (("hostname", "hostname"), ("domainname", "domainname")):
        yield from _flag(flag, getattr(config, field), "")
    yield from _flag("user", config.user, image.user)
    yield from _flag("workdir", config.working_dir, image.working_dir)
    yield from _flag("stop-signal", config.stop_signal, image.stop_signal)
    yield from _flag("stop-timeout", config.stop_timeout, image.stop_timeout)
    yield from (f"--env={one}" for one in config.env if one not in image.env)
    yield from (f"--expose={one}" for one in config.exposed_ports if one not in image.exposed_ports)
    yield from (f"--volume={one}" for one in config.volumes if one not in image.volumes)
    yield from _pairs("label", {k: v for k, v in config.labels.items() if image.labels.get(k) != v})
    if config.healthcheck and config.healthcheck != image.healthcheck:
        yield from _health(config.healthcheck)


def _health(health: Healthcheck) -> Iterator[str]:
    if health.test == ("NONE",):
        yield "--no-healthcheck"
        return
    if health.test:
        text = health.test[-1] if health.test[0] == "CMD-SHELL" else shlex.join(health.test[1:])
        yield f"--health-cmd={text}"
    times = ("interval", "timeout", "start_period", "start_interval")
    for field in times:
        if getattr(health, field):
            yield f"--health-{field.replace('_', '-')}={getattr(health, field)}ns"
    yield from _flag("health-retries", health.retries, 0)


def _host(host: HostConfig) -> Iterator[str]:
    for flag, field in _TEXTS.items():
        yield from _flag(flag, getattr(host, field), getattr(_DEFAULT, field))
    for flag, field in _SWITCHES.items():
        if getattr(host, field) != getattr(_DEFAULT, field):
            yield f"--{flag}={str(getattr(host, field)).lower()}"
    for flag, field in _LISTS.items():
        yield from (f"--{flag}={one}" for one in getattr(host, field))
    for flag, field in _MAPS.items():
        yield from _pairs(flag, getattr(host, field))
    for flag, field in _RATES.items():
        yield from (f"--{flag}={rate.path}:{rate.rate}" for rate in getattr(host, field))
    yield from (f"--tmpfs={path}{':' if o else ''}{o}" for path, o in host.tmpfs.items())
    yield from (f"--mount={_mount(mount)}" for mount in host.mounts)
    yield from map(_published, host.port_bindings)
    yield from (f"--ulimit={u.name}={u.soft}:{u.hard}" for u in host.ulimits)
    yield from (f"--device={_device(device)}" for device in host.devices)
    yield from (word for request in host.device_requests for word in _request(request))
    yield from (f"--security-opt={option}" for option in host.security_opt)
    if host.masked_paths == () and host.readonly_paths == ():
        yield "--security-opt=systempaths=unconfined"
    if host.nano_cpus:
        yield f"--cpus={host.nano_cpus}/1000000000"
    yield from _egress(host)
    policy = host.restart_policy
    if policy != _DEFAULT.restart_policy:
        limit = f":{policy.maximum_retry_count}" if policy.maximum_retry_count else ""
        yield f"--restart={policy.name}{limit}"
    yield from _flag("log-driver", host.log_config.type, "json-file")
    yield from _pairs("log-opt", host.log_config.config)


def _egress(host: HostConfig) -> Iterator[str]:
    if host.egress is not None:
        yield f"--egress={'allow=' if host.egress else 'none'}{','.join(host.egress)}"


def _flag(name: str, value: object, default: object) -> Iterator[str]:
    if value != default:
        yield f"--{name}={value}"


def _pairs(flag: str, values: Mapping[str, str]) -> Iterable[str]:
    return (f"--{flag}={key}={value}" for key, value in values.items())


def _published(one: port.PortBinding) -> str:
    address = f"[{one.host_ip}]" if ":" in one.host_ip else one.host_ip
    before = f"{address}:{one.host_port}:" if address else f"{one.host_port}:" if one.host_port else ""
    return f"--publish={before}{one.port}"


def _device(device: Device) -> str:
    return f"{device.source}:{device.target}:{device.permissions}"


def _request(request: DeviceRequest) -> list[str]:
    if request.driver == "cdi":
        return [f"--device={name}" for name in request.device_ids]
    named = [f"driver={request.driver}"] if request.driver else []
    ids = ",".join(request.device_ids)
    which = f'"device={ids}"' if ids else f"count={'all' if request.count < 0 else request.count}"
    more = [word for one in request.capabilities for word in one if word != "gpu"]
    able = [f'"capabilities={",".join(more)}"'] if more else []
    options = [f'"options={",".join(f"{k}={v}" for k, v in request.options.items())}"'] * bool(
        request.options
    )
    return [f"--gpus={','.join([which, *named, *able, *options])}"]


def _mount(mount: Mount) -> str:
    fields = [f"type={mount.type}"]
    fields += [f"source={mount.source}"] * bool(mount.source)
    fields.append(f"target={mount.target}")
    fields += ["readonly"] * mount.read_only
    fields += [f"bind-propagation={mount.propagation}"] * bool(mount.propagation)
    fields += ["bind-nonrecursive"] * mount.non_recursive
    fields += ["volume-nocopy"] * mount.no_copy
    fields += [f"volume-driver={mount.driver}"] * bool(mount.driver)
    fields += [f"volume-label={k}={v}" for k, v in mount.labels.items()]
    fields += [f"volume-opt={k}={v}" for k, v in mount.driver_options.items()]
    fields += [f"tmpfs-size={mount.tmpfs_size}"] * bool(mount.tmpfs_size)
    fields += [f"tmpfs-mode={mount.tmpfs_mode:o}"] * bool(mount.tmpfs_mode)
    return ",".join(_quoted(field) for field in fields)


def _quoted(field: str) -> str:
    """Return a field of a line of comma-separated values."""
    if "," not in field and '"' not in field:
        return field
    return '"' + field.replace('"', '""') + '"'
