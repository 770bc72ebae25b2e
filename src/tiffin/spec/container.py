"""What a container is asked to be: docker's `Config` and `HostConfig`, in the Engine API's shape.

Field names are the API's in snake case; `from_json`/`to_json` speak the API's own names. One pair of
values serves the library, the CLI, the API, the records on disk and image configs.
"""

from __future__ import annotations

from tiffin.spec import port
from tiffin.spec.members import (
    a_list,
    an_object,
    keys,
    list_or_none,
    mapping,
    number,
    strings,
    strings_or_none,
)
from tiffin.spec.mount import Mount
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Healthcheck(Value):
    """How to ask a container whether it is well. Times in nanoseconds, 0 means the default.

    `test` is ("NONE",), ("CMD", ...) or ("CMD-SHELL", text); () inherits the image's.
    """

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0

    @staticmethod
    def from_json(value: dict[str, Any]) -> Healthcheck:
        """Read the API's `HealthConfig`."""
        return Healthcheck(
            test=strings(value.get("Test")),
            interval=number(value.get("Interval")),
            timeout=number(value.get("Timeout")),
            retries=number(value.get("Retries")),
            start_period=number(value.get("StartPeriod")),
            start_interval=number(value.get("StartInterval")),
        )

    def argv(self, shell: tuple[str, ...]) -> tuple[str, ...]:
        """Return what is executed to ask, () where nothing is; `shell` is the image's, if it names one."""
        kind, *words = self.test or ("NONE",)
        if kind == "CMD-SHELL":
            return (*(shell or ("/bin/sh", "-c")), *words)
        return tuple(words) if kind == "CMD" else ()

    def to_json(self) -> dict[str, Any]:
        """Return the API's members, unset ones left out."""
        named = {
            "Test": list(self.test),
            "Interval": self.interval,
            "Timeout": self.timeout,
            "Retries": self.retries,
            "StartPeriod": self.start_period,
            "StartInterval": self.start_interval,
        }
        return {k: v for k, v in named.items() if v}


_SAID = frozenset(("Cmd", "Entrypoint", "StopTimeout", "Healthcheck"))
"""Members of `ContainerConfig` that say something when they are empty."""


class ContainerConfig(Value):
    """What is portable: it also stands in images. None for cmd and entrypoint means "not said"."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: tuple[str, ...] = ()  # "80/tcp"
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    image: str = ""
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    on_build: tuple[str, ...] = ()
    labels: Mapping[str, str] = EMPTY
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] = ()

    @staticmethod
    def from_json(value: dict[str, Any]) -> ContainerConfig:
        """Read the API's `ContainerConfig` or an image's `config`; null and absent are the default."""
        get = value.get
        health = get("Healthcheck")
        stop_timeout = get("StopTimeout")
        return ContainerConfig(
            hostname=str(get("Hostname") or ""),
            domainname=str(get("Domainname") or ""),
            user=str(get("User") or ""),
            attach_stdin=bool(get("AttachStdin")),
            attach_stdout=bool(get("AttachStdout")),
            attach_stderr=bool(get("AttachStderr")),
            exposed_ports=keys(get("ExposedPorts")),
            tty=bool(get("Tty")),
            open_stdin=bool(get("OpenStdin")),
            stdin_once=bool(get("StdinOnce")),
            env=strings(get("Env")),
            cmd=strings_or_none(get("Cmd")),
            entrypoint=strings_or_none(get("Entrypoint")),
            healthcheck=Healthcheck.from_json(health) if isinstance(health, dict) else None,
            image=str(get("Image") or ""),
            volumes=keys(get("Volumes")),
            working_dir=str(get("WorkingDir") or ""),
            on_build=strings(get("OnBuild")),
            labels=mapping(get("Labels")),
            stop_signal=str(get("StopSignal") or ""),
            stop_timeout=int(stop_timeout) if isinstance(stop_timeout, int) else None,
            shell=strings(get("Shell")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return every member as `docker inspect` shows it."""
        value: dict[str, Any] = {
            "Hostname": self.hostname,
            "Domainname": self.domainname,
            "User": self.user,
            "AttachStdin": self.attach_stdin,
            "AttachStdout": self.attach_stdout,
            "AttachStderr": self.attach_stderr,
            "Tty": self.tty,
            "OpenStdin": self.open_stdin,
            "StdinOnce": self.stdin_once,
            "Env": list(self.env),
            "Cmd": list_or_none(self.cmd),
            "Image": self.image,
            "Volumes": {path: {} for path in self.volumes} or None,
            "WorkingDir": self.working_dir,
            "Entrypoint": list_or_none(self.entrypoint),
            "OnBuild": list(self.on_build) or None,
            "Labels": dict(self.labels),
        }
        if self.exposed_ports:
            value["ExposedPorts"] = {port: {} for port in self.exposed_ports}
        return value | self._optional()

    def stored(self) -> dict[str, Any]:
        """Return what `from_json` needs to make an equal value: members that are the default are left out."""
        shown = self.to_json()
        return {k: v for k, v in shown.items() if v or (k in _SAID and v is not None)}

    def to_image_json(self) -> dict[str, Any]:
        """Return the members that an image config has, unset ones left out."""
        value: dict[str, Any] = {
            "User": self.user,
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Env": list(self.env),
            "Entrypoint": list_or_none(self.entrypoint),
            "Cmd": list_or_none(self.cmd),
            "Volumes": {path: {} for path in self.volumes},
            "WorkingDir": self.working_dir,
            "OnBuild": list(self.on_build),
            "Labels": dict(self.labels),
        }
        return {k: v for k, v in value.items() if v} | self._optional()

    def _optional(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        if self.healthcheck is not None:
            value["Healthcheck"] = self.healthcheck.to_json()
        if self.stop_signal:
            value["StopSignal"] = self.stop_signal
        if self.stop_timeout is not None:
            value["StopTimeout"] = self.stop_timeout
        if self.shell:
            value["Shell"] = list(self.shell)
        return value

    @property
    def argv(self) -> tuple[str, ...]:
        """What is executed: entrypoint, then cmd."""
        return (self.entrypoint or ()) + (self.cmd or ())


class RestartPolicy(Value):
    """When the keeper starts the process again: `no`, `always`, `unless-stopped`, `on-failure`."""

    name: str = "no"
    maximum_retry_count: int = 0

    @staticmethod
    def from_json(value: dict[str, Any]) -> RestartPolicy:
        """Read the API's members."""
        return RestartPolicy(
            name=str(value.get("Name") or "no"), maximum_retry_count=number(value.get("MaximumRetryCount"))
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members."""
        return {"Name": self.name, "MaximumRetryCount": self.maximum_retry_count}


class Ulimit(Value):
    """One `--ulimit`: docker's name (`nofile`); -1 is unlimited."""

    name: str
    soft: int
    hard: int

    @staticmethod
    def from_json(value: dict[str, Any]) -> Ulimit:
        """Read the API's `Ulimit`."""
        return Ulimit(
            name=str(value.get("Name") or ""), soft=number(value.get("Soft")), hard=number(value.get("Hard"))
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members."""
        return {"Name": self.name, "Hard": self.hard, "Soft": self.soft}


class Device(Value):
    """A device of the host: where it is there, where in the container, and rwm."""

    source: str
    target: str
    permissions: str = "rwm"

    @staticmethod
    def from_json(value: dict[str, Any]) -> Device:
        """Read the API's `DeviceMapping`."""
        return Device(
            source=str(value.get("PathOnHost") or ""),
            target=str(value.get("PathInContainer") or ""),
            permissions=str(value.get("CgroupPermissions") or "rwm"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members."""
        return {
            "PathOnHost": self.source,
            "PathInContainer": self.target,
            "CgroupPermissions": self.permissions,
        }


class Rate(Value):
    """A limit on one block device of the host: bytes or operations a second, or a weight."""

    path: str
    rate: int


class DeviceRequest(Value):
    """Devices that a driver chooses. `cdi` takes names (`vendor.com/class=name`), "" means gpus."""

    driver: str = ""
    count: int = 0  # -1 is all
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: Mapping[str, str] = EMPTY

    @staticmethod
    def from_json(value: dict[str, Any]) -> DeviceRequest:
        """Read the API's `DeviceRequest`."""
        return DeviceRequest(
            driver=str(value.get("Driver") or ""),
            count=number(value.get("Count")),
            device_ids=strings(value.get("DeviceIDs")),
            capabilities=tuple(map(strings, a_list(value.get("Capabilities")))),
            options=mapping(value.get("Options")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members."""
        return {
            "Driver": self.driver,
            "Count": self.count,
            "DeviceIDs": list(self.device_ids) or None,
            "Capabilities": [list(one) for one in self.capabilities] or None,
            "Options": dict(self.options),
        }


class LogConfig(Value):
    """Which log driver, with which options."""

    type: str = "json-file"
    config: Mapping[str, str] = EMPTY

    @staticmethod
    def from_json(value: dict[str, Any]) -> LogConfig:
        """Read the API's members."""
        return LogConfig(type=str(value.get("Type") or "json-file"), config=mapping(value.get("Config")))

    def to_json(self) -> dict[str, Any]:
        """Return the API's members."""
        return {"Type": self.type, "Config": dict(self.config)}


_TEXTS = {
    "volume_driver": "VolumeDriver",
    "ipc_mode": "IpcMode",
    "pid_mode": "PidMode",
    "uts_mode": "UTSMode",
    "userns_mode": "UsernsMode",
    "cgroupns_mode": "CgroupnsMode",
    "cgroup_parent": "CgroupParent",
    "isolation": "Isolation",
}
_NEVER: dict[str, Any] = {
    "Cgroup": "",
    "ConsoleSize": [0, 0],
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumBandwidth": 0,
    "IOMaximumIOps": 0,
}
"""Members that docker shows and that are another system's, or the client's own."""
_COUNTS = {
    "blkio_weight": "BlkioWeight",
    "cpu_realtime_period": "CpuRealtimePeriod",
    "cpu_realtime_runtime": "CpuRealtimeRuntime",
}
_RATES = {
    "blkio_weight_device": ("BlkioWeightDevice", "Weight"),
    "blkio_device_read_bps": ("BlkioDeviceReadBps", "Rate"),
    "blkio_device_write_bps": ("BlkioDeviceWriteBps", "Rate"),
    "blkio_device_read_iops": ("BlkioDeviceReadIOps", "Rate"),
    "blkio_device_write_iops": ("BlkioDeviceWriteIOps", "Rate"),
}


class HostConfig(Value):
    """What ties a container to this host. Bytes for sizes, billionths of a cpu for `nano_cpus`.

    `pids_limit` and `memory_swap`: -1 is unlimited, 0 not set. `binds` are docker's `-v` strings as
    given; `mounts` are `--mount`. `tmpfs` maps a path to its option string. A mode that is "" and paths
    that are None are docker's default. `on_unhealthy` (none, restart, kill) is tiffin's own, and so is
    `egress`: what may be reached, where None is everything.
    """

    binds: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    tmpfs: Mapping[str, str] = EMPTY
    network_mode: str = "default"
    port_bindings: tuple[port.PortBinding, ...] = ()
    publish_all_ports: bool = False
    links: tuple[str, ...] = ()
    auto_remove: bool = False
    privileged: bool = False
    readonly_rootfs: bool = False
    init: bool | None = None
    memory: int = 0
    memory_swap: int = 0
    nano_cpus: int = 0
    pids_limit: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    memory_reservation: int = 0
    oom_score_adj: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: Mapping[str, str] = EMPTY
    group_add: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    annotations: Mapping[str, str] = EMPTY
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    shm_size: int = 67108864
    restart_policy: RestartPolicy = RestartPolicy()
    log_config: LogConfig = LogConfig()
    runtime: str = ""
    security_opt: tuple[str, ...] = ()
    container_id_file: str = ""
    volumes_from: tuple[str, ...] = ()
    volume_driver: str = ""
    ipc_mode: str = ""
    pid_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    isolation: str = ""
    blkio_weight: int = 0
    blkio_weight_device: tuple[Rate, ...] = ()
    blkio_device_read_bps: tuple[Rate, ...] = ()
    blkio_device_write_bps: tuple[Rate, ...] = ()
    blkio_device_read_iops: tuple[Rate, ...] = ()
    blkio_device_write_iops: tuple[Rate, ...] = ()
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    device_cgroup_rules: tuple[str, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    on_unhealthy: str = ""
    egress: tuple[str, ...] | None = None

    @staticmethod
    def from_json(value: dict[str, Any]) -> HostConfig:
        """Read the API's `HostConfig`; null and absent are the default."""
        found: dict[str, Any] = {}
        for key, given in value.items():
            known = _READERS.get(key)
            if known is not None and given is not None:
                found[known[0]] = known[1](given)
        return HostConfig(**found)

    def stored(self) -> dict[str, Any]:
        """Return what `from_json` needs to make an equal value: members that are the default are left out."""
        found: dict[str, Any] = {}
        for key, (field, _read) in _READERS.items():
            own = getattr(self, field)
            if own != _DEFAULTS[field]:
                found[key] = _WRITERS.get(field, _plain)(own)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the members as `docker inspect` shows them."""
        return {
            "Binds": list(self.binds) or None,
            "ContainerIDFile": self.container_id_file,
            "LogConfig": self.log_config.to_json(),
            "NetworkMode": self.network_mode,
            "PortBindings": port.to_json(self.port_bindings),
            "PublishAllPorts": self.publish_all_ports,
            "Links": list(self.links) or None,
            "RestartPolicy": self.restart_policy.to_json(),
            "AutoRemove": self.auto_remove,
            "VolumesFrom": list(self.volumes_from) or None,
            "CapAdd": list(self.cap_add) or None,
            "CapDrop": list(self.cap_drop) or None,
            "Privileged": self.privileged,
            "ReadonlyRootfs": self.readonly_rootfs,
            "SecurityOpt": list(self.security_opt) or None,
            "ShmSize": self.shm_size,
            "Runtime": self.runtime,
            "Memory": self.memory,
            "MemorySwap": self.memory_swap,
            "NanoCpus": self.nano_cpus,
            "PidsLimit": self.pids_limit or None,
            "CpuShares": self.cpu_shares,
            "CpuPeriod": self.cpu_period,
            "CpuQuota": self.cpu_quota,
            "CpusetCpus": self.cpuset_cpus,
            "CpusetMems": self.cpuset_mems,
            "MemoryReservation": self.memory_reservation,
            "OomScoreAdj": self.oom_score_adj,
            "Ulimits": [u.to_json() for u in self.ulimits],
            "GroupAdd": list(self.group_add) or None,
            "Devices": [d.to_json() for d in self.devices],
            "ExtraHosts": list(self.extra_hosts) or None,
            "Dns": list(self.dns),
            "DnsSearch": list(self.dns_search),
            "DnsOptions": list(self.dns_options),
            **_NEVER,
            "MemorySwappiness": self.memory_swappiness,
            "OomKillDisable": self.oom_kill_disable,
            "DeviceCgroupRules": list(self.device_cgroup_rules) or None,
            "DeviceRequests": [r.to_json() for r in self.device_requests] or None,
            "MaskedPaths": list_or_none(self.masked_paths),
            "ReadonlyPaths": list_or_none(self.readonly_paths),
            **{key: getattr(self, field) for field, key in _TEXTS.items()},
            **{key: getattr(self, field) for field, key in _COUNTS.items()},
            **{key: _WRITERS[field](getattr(self, field)) for field, (key, _unit) in _RATES.items()},
            **({"Mounts": [m.to_json() for m in self.mounts]} if self.mounts else {}),
            **({"Tmpfs": dict(self.tmpfs)} if self.tmpfs else {}),
            **({"Init": self.init} if self.init is not None else {}),
            **({"Sysctls": dict(self.sysctls)} if self.sysctls else {}),
            **({"Annotations": dict(self.annotations)} if self.annotations else {}),
            **({"OnUnhealthy": self.on_unhealthy} if self.on_unhealthy else {}),
            **({"Egress": list(self.egress)} if self.egress is not None else {}),
        }


def _text(value: object) -> str:
    return str(value or "")


def _each(read: Callable[[dict[str, Any]], Any]) -> Callable[[object], tuple[Any, ...]]:
    """Return the reader of a list of what `read` reads."""
    return lambda value: tuple(read(an_object(one)) for one in a_list(value))


def _rates(unit: str) -> Callable[[object], tuple[Rate, ...]]:
    return _each(lambda rate: Rate(path=_text(rate.get("Path")), rate=number(rate.get(unit))))


def _rates_json(unit: str) -> Callable[[tuple[Rate, ...]], list[dict[str, Any]]]:
    return lambda rates: [{"Path": rate.path, unit: rate.rate} for rate in rates]


def _plain(value: Any) -> Any:
    """Return a field as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Value):
        return value.to_json()  # type: ignore[attr-defined]
    return value if isinstance(value, (str, int)) else dict(value)


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "CpusetCpus": ("cpuset_cpus", _text),
    "CpusetMems": ("cpuset_mems", _text),
    "Runtime": ("runtime", _text),
    "ContainerIDFile": ("container_id_file", _text),
    "OnUnhealthy": ("on_unhealthy", _text),
    "Egress": ("egress", strings),
    "PublishAllPorts": ("publish_all_ports", bool),
    "AutoRemove": ("auto_remove", bool),
    "Privileged": ("privileged", bool),
    "ReadonlyRootfs": ("readonly_rootfs", bool),
    "OomKillDisable": ("oom_kill_disable", bool),
    "Memory": ("memory", number),
    "MemorySwap": ("memory_swap", number),
    "NanoCpus": ("nano_cpus", number),
    "PidsLimit": ("pids_limit", number),
    "CpuShares": ("cpu_shares", number),
    "CpuPeriod": ("cpu_period", number),
    "CpuQuota": ("cpu_quota", number),
    "MemoryReservation": ("memory_reservation", number),
    "OomScoreAdj": ("oom_score_adj", number),
    "MemorySwappiness": ("memory_swappiness", lambda value: None if value == -1 else number(value)),
    "Binds": ("binds", strings),
    "Links": ("links", strings),
    "GroupAdd": ("group_add", strings),
    "ExtraHosts": ("extra_hosts", strings),
    "Dns": ("dns", strings),
    "DnsSearch": ("dns_search", strings),
    "DnsOptions": ("dns_options", strings),
    "CapAdd": ("cap_add", strings),
    "CapDrop": ("cap_drop", strings),
    "SecurityOpt": ("security_opt", strings),
    "VolumesFrom": ("volumes_from", strings),
    "DeviceCgroupRules": ("device_cgroup_rules", strings),
    "MaskedPaths": ("masked_paths", strings),
    "ReadonlyPaths": ("readonly_paths", strings),
    "Tmpfs": ("tmpfs", mapping),
    "Sysctls": ("sysctls", mapping),
    "Annotations": ("annotations", mapping),
    "NetworkMode": ("network_mode", lambda value: str(value or "default")),
    "ShmSize": ("shm_size", lambda value: number(value) or _DEFAULTS["shm_size"]),
    "Init": ("init", lambda value: value if isinstance(value, bool) else None),
    "Mounts": ("mounts", _each(Mount.from_json)),
    "PortBindings": ("port_bindings", lambda value: port.from_json(an_object(value))),
    "Ulimits": ("ulimits", _each(Ulimit.from_json)),
    "Devices": ("devices", _each(Device.from_json)),
    "DeviceRequests": ("device_requests", _each(DeviceRequest.from_json)),
    "RestartPolicy": ("restart_policy", lambda value: RestartPolicy.from_json(an_object(value))),
    "LogConfig": ("log_config", lambda value: LogConfig.from_json(an_object(value))),
    **{key: (field, _text) for field, key in _TEXTS.items()},
    **{key: (field, number) for field, key in _COUNTS.items()},
    **{key: (field, _rates(unit)) for field, (key, unit) in _RATES.items()},
}
"""Members of `HostConfig`: the field, and what reads its value where it is not null."""
_WRITERS: dict[str, Callable[[Any], Any]] = {
    "port_bindings": port.to_json,
    **{field: _rates_json(unit) for field, (_key, unit) in _RATES.items()},
}
_DEFAULTS: dict[str, Any] = HostConfig().as_dict()
