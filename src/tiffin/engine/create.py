"""create: a container's record, its volumes and its writable layer, from an image that is here."""

from __future__ import annotations

import os

from tiffin.engine import mounts
from tiffin.engine.merge import merge
from tiffin.engine.views import event_attributes
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.runtime import devices, limits
from tiffin.runtime.machine import Machine
from tiffin.runtime.specgen import OBEYED
from tiffin.spec import clock
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import EMPTY
from tiffin.store.containers import ContainerRecord, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from tiffin.engine.containers import Created
    from tiffin.engine.engine import Engine
    from tiffin.settings import Privilege
    from tiffin.spec.container import ContainerConfig, Healthcheck, HostConfig, RestartPolicy
    from tiffin.spec.mount import Mount, MountPoint
    from tiffin.spec.network import EndpointConfig
    from tiffin.store.images import ImageRecord

_MILLISECOND = 1_000_000
_RESTARTS = ("no", "always", "on-failure", "unless-stopped")
_SYSCTLS = {
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"),
    *("kernel.shmmni", "kernel.shm_rmid_forced"),
}
_PULLS = ("always", "missing", "never")


def create(
    engine: Engine,
    config: ContainerConfig,
    host: HostConfig,
    *,
    name: str,
    platform: str,
    pull: str,
    networks: Mapping[str, EndpointConfig],
    progress: Callable[[Any], None] | None,
) -> Created:
    """Make the folder, then the record, which reserves the name; undo both if that fails.

    In this order a kill leaves a folder that gc knows by its owner, never a record without its folder.
    """
    from tiffin.engine.containers import Created

    name = name.removeprefix("/")
    if name:
        check_name(name)  # before anything is fetched
    check_config(config)
    asked = Platform.parse(platform) if platform else None
    host = host.replace(network_mode=network_mode(host.network_mode, engine.settings.privilege))
    warnings = check_host(host, engine.settings.privilege, config)
    config, endpoints = _networks(engine, config, host, networks, warnings)
    image = find_image(engine, config.image, platform=platform, pull=pull, progress=progress)
    if asked and not asked.runs(image.platform):
        raise _other_platform(config.image, image, platform)
    warnings += _of_platform(image.platform, asked=asked is not None)
    merged = merge(config, engine.store.images.config(image).config)
    inherited = mounts.inherited(engine, host)
    wanted = mounts.wanted(merged, host, inherited)
    if _needs_ids(engine, image, wanted) and engine.outside():
        words = {"name": name, "platform": platform, "pull": "never", "networks": networks}
        return engine.inside("containers.create", config, host, **words)  # type: ignore[no-any-return]
    points = (*(mounts.resolve(engine, mount) for mount in wanted), *mounts.left(inherited, wanted))
    record = _record(engine, merged, host, image, points).replace(name=name, networks=endpoints)
    container_id = record.id
    try:
        engine.store.snapshots.prepare(container_id, image.layers)
        record = engine.store.containers.create(record)
    except BaseException as error:
        engine.store.snapshots.remove(container_id)
        if isinstance(error, NotFound):
            engine.store.images.resolve(image.id)  # which says so if it was removed meanwhile
        raise
    try:
        mounts.fill(engine, record, wanted, points)
    except BaseException:
        engine.store.containers.remove(container_id)
        raise
    engine.store.events.append("container", "create", container_id, event_attributes(record))
    return Created(id=container_id, warnings=tuple(warnings))


def _record(
    engine: Engine,
    config: ContainerConfig,
    host: HostConfig,
    image: ImageRecord,
    points: Sequence[MountPoint],
) -> ContainerRecord:
    """Return the record of a new container, still without a name."""
    container_id = engine.store.containers.new_id()
    if not config.hostname:
        shown = "host" in {host.network_mode, host.uts_mode}
        own = os.uname().nodename if shown else container_id[:12]
        config = config.replace(hostname=own)
    return ContainerRecord(
        id=container_id,
        name="",
        created=clock.now(),
        image_id=image.id,
        layers=image.layers,
        config=config,
        host=host,
        mounts=tuple(point.to_json() for point in points),
    )


def network_mode(mode: str, privilege: Privilege) -> str:
    """Return the kind of network that "default" is."""
    if mode != "default":
        return mode
    if privilege.rung == "root":
        return "bridge"
    from tiffin.network import rules

    return "bridge" if rules.available() else "none"


def _networks(
    engine: Engine,
    config: ContainerConfig,
    host: HostConfig,
    asked: Mapping[str, EndpointConfig],
    warnings: list[str],
) -> tuple[ContainerConfig, Mapping[str, Mapping[str, Any]]]:
    """Return the configuration as the kind of network has it, and the bridge networks by id."""
    mode = host.network_mode
    if host.egress is not None:
        from tiffin.engine import egress

        egress.check(host)
    if mode in {"none", "host"}:
        if asked.keys() - {mode}:
            from tiffin.engine import wiring

            wiring.usable(engine, mode)  # which says that it goes with no other
        if host.port_bindings or host.publish_all_ports:
            warnings += _discarded(mode, engine.settings.privilege)
        return config, EMPTY
    from tiffin.engine import wiring

    if mode.startswith("container:"):
        wiring.check_shared(config, host, asked)
        other = engine.store.containers.resolve(mode.partition(":")[2])
        return config.replace(hostname=other.config.hostname, domainname=other.config.domainname), EMPTY
    endpoints = wiring.endpoints(engine, host, asked)
    warnings += wiring.warnings(engine, host)
    return config, endpoints


def _discarded(mode: str, privilege: Privilege) -> list[str]:
    """Return what is said of ports that cannot be published; docker says nothing of `--network none`."""
    if mode == "host":
        return ["Published ports are discarded when using host network mode"]
    if privilege.rung == "root":
        return []
    from tiffin.network import rules

    why = "nftables is not installed (apt-get install nftables)"
    return [] if rules.available() else [f"Published ports are discarded: there is no network, as {why}"]


def _needs_ids(engine: Engine, image: ImageRecord, wanted: list[Mount]) -> bool:
    """Tell whether making this container deals with files of others than this user."""
    if any(mount.chown or (mount.type == "volume" and not mount.no_copy) for mount in wanted):
        return True
    return not engine.store.snapshots.is_ready(image.layers)


def check_namespaces(privilege: Privilege) -> None:
    """Raise Unsupported where nothing can run, with the reason and what would change it."""
    if privilege.rung == "none":
        message = f"containers need user namespaces, which this user cannot have: {privilege.why}"
        raise Unsupported(message, hint=privilege.remedy)


def _check_privilege(host: HostConfig, privilege: Privilege) -> None:
    """Raise Unsupported for limits where this user has no cgroups: the runtime would just ignore them."""
    check_namespaces(privilege)
    for flag, controller in limits.wanted(host):
        if not privilege.cgroups:
            message = f"{flag} needs cgroups, which this user cannot write"
            advice = "leave it out; limits of ordinary users need systemd: a login, or enable-linger"
            raise Unsupported(message, hint=advice)
        if privilege.controllers and controller not in privilege.controllers:
            message = f"{flag} needs cgroups ({controller}) that systemd does not hand on to this user"
            advice = "root can: a drop-in of user@.service with Delegate=cpu cpuset io memory pids"
            raise Unsupported(message, hint=advice)
    for options in host.tmpfs.values():
        for option in options.split(","):
            _check_tmpfs_owner(option, privilege)


def _check_tmpfs_owner(option: str, privilege: Privilege) -> None:
    """Raise Unsupported for `uid=`, `gid=` of somebody who is not in this user's containers."""
    name, _, number = option.partition("=")
    if name not in {"uid", "gid"} or not number.isdigit():
        return
    count = privilege.id_counts()[name == "gid"]
    if int(number) >= count:
        there = "the only id inside is root's" if count == 1 else f"inside there are {count} ids"
        advice = privilege.remedy if count == 1 else "give this user a longer range in /etc/subuid"
        raise Unsupported(f"cannot make a tmpfs with {option}: {there}", hint=advice)


def check_config(config: ContainerConfig) -> None:
    """Raise InvalidArgument for what could only fail later: a signal that is none, a relative folder."""
    if config.working_dir and not config.working_dir.startswith("/"):
        message = f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        raise InvalidArgument(message)
    if config.stop_signal:
        from tiffin.spec import signals  # hardly anybody asks for one

        signals.number(config.stop_signal)
    if config.healthcheck:
        _check_health(config.healthcheck)


def check_host(host: HostConfig, privilege: Privilege, config: ContainerConfig) -> list[str]:
    """Raise for limits and modes that cannot be; return what the user should be warned of."""
    warnings = limits.check(host, Machine.here())
    if _is_unusual(host):
        _check_unusual(host, privilege, config)
    if privilege.rung != "root":
        _check_privilege(host, privilege)
    check_restart(host.restart_policy)
    if host.log_config.type != "json-file" or host.log_config.config:
        from tiffin.engine import logging_options

        logging_options.check(host.log_config)
    for name in host.sysctls:
        _check_sysctl(name, host)
    if host.ulimits or host.oom_score_adj:
        warnings += limits.lowered(host)
    for name in host.annotations:
        if not name or name.startswith(OBEYED):
            message = f"invalid annotation '{name}'"
            raise InvalidArgument(message, hint="names that a runtime obeys could take its protection away")
    if host.devices:
        devices.given(host.devices)
    if host.auto_remove and host.restart_policy.name not in {"", "no"}:
        message = "can't create 'AutoRemove' container with restart policy"
        raise InvalidArgument(message)
    return warnings


def _is_unusual(host: HostConfig) -> bool:
    """Tell whether the container has what few have: modes, device rules, devices by name."""
    return bool(
        host.ipc_mode
        or host.pid_mode
        or host.uts_mode
        or host.userns_mode
        or host.cgroupns_mode
        or host.cgroup_parent
        or host.isolation
        or host.device_cgroup_rules
        or host.device_requests
        or host.on_unhealthy
    )


def _check_unusual(host: HostConfig, privilege: Privilege, config: ContainerConfig) -> None:
    from tiffin.engine import sharing

    sharing.check(config, host, privilege)
    for rule in host.device_cgroup_rules:
        devices.check_rule(rule)
    if host.device_cgroup_rules and not privilege.cgroups:
        message = "--device-cgroup-rule needs cgroups, which this user cannot write"
        raise Unsupported(message, hint="a --device is the user's own to use already")
    if host.device_requests:
        from tiffin.runtime import cdi

        cdi.edits(host.device_requests)
    if host.on_unhealthy not in {"", "none", "restart", "kill"}:
        message = f"invalid --on-unhealthy: {host.on_unhealthy}"
        raise InvalidArgument(message, hint="use one of none, restart, kill")


def check_restart(policy: RestartPolicy) -> None:
    """Raise InvalidArgument for a restart policy that is none, in docker's words."""
    if policy.name not in {"", *_RESTARTS}:
        known = "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        raise InvalidArgument(f"invalid restart policy: unknown policy '{policy.name}'; {known}")
    negative = policy.maximum_retry_count < 0
    if policy.name != "on-failure" and policy.maximum_retry_count:
        message = "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        raise InvalidArgument(f"{message} and cannot be negative" if negative else message)
    if negative:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")


def _check_sysctl(name: str, host: HostConfig) -> None:
    """Raise InvalidArgument for a setting that is not the container's own (docker's list)."""
    if name.startswith("net.") and host.network_mode == "host":
        raise InvalidArgument(f"sysctl '{name}' not allowed with host net namespace")
    if not name.startswith(("net.", "fs.mqueue.")) and name not in _SYSCTLS:
        raise InvalidArgument(f"sysctl '{name}' is not allowed")


def _check_health(health: Healthcheck) -> None:
    times = {
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
    }
    for name, value in times.items():
        if value and value < _MILLISECOND:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def find_image(
    engine: Engine, name: str, *, platform: str, pull: str, progress: Callable[[Any], None] | None
) -> ImageRecord:
    """Return the image of a name, fetched first if the pull policy says so."""
    if pull not in _PULLS:
        message = f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"'
        raise InvalidArgument(message)
    if pull == "always":
        engine.images.pull(name, platform=platform, progress=progress)
    try:
        image = engine.store.images.resolve(name)
        if platform and not Platform.parse(platform).runs(image.platform):
            raise _other_platform(name, image, platform)
    except NotFound:
        if pull != "missing" or _is_id(name):
            raise
    else:
        return image
    if progress is not None:
        from tiffin.engine.progress import Progress

        familiar = Reference.parse(name).tagged().familiar
        progress(Progress(status=f"Unable to find image '{familiar}' locally"))
    engine.images.pull(name, platform=platform, progress=progress)
    return engine.store.images.resolve(name)


def _other_platform(name: str, image: ImageRecord, platform: str) -> NotFound:
    found = f"image with reference {name} was found but its platform ({image.platform})"
    return NotFound(f"{found} does not match the specified platform ({platform})")


def _of_platform(platform: Platform, *, asked: bool) -> list[str]:
    """Return what to say of an image whose programs this machine may not run by itself."""
    here = Platform.here()
    if here.executes(platform):
        return []
    warnings = []
    if not asked:
        found = f"The requested image's platform ({platform}) does not match the detected host platform"
        warnings.append(f"{found} ({here}) and no specific platform was requested")
    from tiffin.runtime import binfmt  # nearly all images are of this machine's platform

    if not binfmt.has_interpreter(platform.architecture):
        warnings.append(f"{platform} programs do not run here yet: {binfmt.ADVICE}")
    return warnings


def _is_id(name: str) -> bool:
    if name.startswith("sha256:"):
        return True
    try:
        Reference.parse(name)
    except InvalidArgument:
        return True
    return False
