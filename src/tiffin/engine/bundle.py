"""From a container's record to what its keeper is told: bundle, mounts, user, filter, log."""

from __future__ import annotations

import os
import sys

from tiffin.engine import mounts
from tiffin.engine.views import event_attributes
from tiffin.engine.views import log_path as container_log
from tiffin.errors import Unsupported
from tiffin.keeper.confinement import Confinement
from tiffin.keeper.request import StartRequest
from tiffin.runtime import bundle, capabilities, oci, seccomp, security, specgen, user
from tiffin.runtime.machine import Machine
from tiffin.runtime.specgen import ALONE
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.runtime.specgen import Shared
    from tiffin.runtime.user import User
    from tiffin.settings import Privilege
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.store import Store

_APPARMOR = "/sys/kernel/security/apparmor"
LOG_FILES = 3
LOG_SIZE = 100 << 20
"""Logs are bounded unless told otherwise: three files of 100 MB."""


def start_request(
    engine: Engine,
    record: ContainerRecord,
    *,
    attach: int,
    size: tuple[int, int],
    lenient: bool = False,
    shared: Shared = ALONE,
    place: str = "",
) -> StartRequest:
    """Write the bundle of a container and return the request for its keeper.

    `shared` is what is joined of another container; `lenient` lets calls that need other ids succeed
    without effect, where there are no other ids; `place` is a folder for `config.json`, for one that must not
    lie in the container's own, on the disk.

    Everything that can be wrong with a configuration is found here, before a process exists: an
    unknown user, a profile that cannot be read, no runtime.
    """
    store, config, host = engine.store, record.config, record.host
    folder = store.layout.container(record.id)
    mount = store.snapshots.prepare(record.id, record.layers)
    runtime = oci.find(host.runtime or engine.settings.runtime, engine.settings.environment.get("PATH", ""))
    found = mounts.mounted(engine, record)
    how = _How(runtime=runtime, rootfs=mount.target, size=size, lenient=lenient)
    spec = _spec(engine, record, how, shared=shared, mounted=found.mounts)
    if host.device_requests:
        from tiffin.runtime import cdi  # few ask for devices by name

        cdi.apply(spec, cdi.edits(host.device_requests))
    bundle.write_config(place or folder, spec)
    return StartRequest(
        container_id=record.id,
        bundle=place or folder,
        live=store.layout.live(record.id),
        state_path=f"{folder}/state",
        lock=store.layout.keeper_lock(record.id),
        runtime=oci.prefix(runtime, store.layout.runtime_root, cgroups=engine.settings.privilege.cgroups),
        program=config.argv[0],
        base=mount.base,
        target=mount.target if mount.lower else "",
        overlay=mount.data(),
        premounts=found.before,
        tty=config.tty,
        rows=size[0],
        columns=size[1],
        stdin=config.open_stdin,
        stdin_once=config.stdin_once,
        attach=attach,
        cgroup=_watched_cgroup(engine, record),
        cleanup=_cleanup(engine, record) if host.auto_remove else (),
        confinement=Confinement.of(spec["process"], filtered=seccomp.filters(spec)),
        discard=(folder,) if host.auto_remove else (),
        network=_plan(engine, record),
        **_log(store, record),
    )


def _watched_cgroup(engine: Engine, record: ContainerRecord) -> str:
    """Return the cgroup where kills for want of memory are counted: an update may bring a limit later."""
    host = record.host
    return specgen.cgroup_path(record.id, host.cgroup_parent) if engine.settings.privilege.cgroups else ""


def supervision(store: Store, record: ContainerRecord) -> dict[str, Any]:
    """Return the members of a StartRequest that say what a keeper does beyond one run of the process."""
    config, policy = record.config, record.host.restart_policy
    found: dict[str, Any] = {
        "events": store.layout.events,
        "attributes": tuple(event_attributes(record).items()),
        "restart": policy.name,
        "restart_limit": policy.maximum_retry_count,
    }
    if record.host.on_unhealthy:
        found["on_unhealthy"] = record.host.on_unhealthy
        if config.stop_timeout is not None:
            found["stop_timeout"] = config.stop_timeout
    if config.stop_signal:
        from tiffin.spec import signals  # few images name one

        found["stop_signal"] = signals.number(config.stop_signal)
    health = config.healthcheck
    argv = health.argv(config.shell) if health else ()
    if health and argv:
        times = (health.interval, health.timeout, health.retries, health.start_period, health.start_interval)
        found |= {"health": (argv, *times), "health_path": store.layout.health(record.id)}
    return found


class _How(Value):
    """What one start says beside the record."""

    runtime: str
    rootfs: str
    size: tuple[int, int]
    lenient: bool


def _spec(
    engine: Engine,
    record: ContainerRecord,
    how: _How,
    *,
    shared: Shared,
    mounted: Sequence[specgen.Bind | specgen.Tmpfs | specgen.FileSystem],
) -> dict[str, Any]:
    """Return the runtime's config.json, having written the files of /etc that it mounts."""
    network, files = _network(engine, record)
    store, config, host = engine.store, record.config, record.host
    options = security.parse(host.security_opt)
    machine = confined(Machine.here(), options, engine.settings.privilege)
    privileged = host.privileged
    granted = capabilities.granted(
        host.cap_add, host.cap_drop, privileged=privileged, available=machine.capabilities
    )
    filtering = "unconfined" if privileged and not options.seccomp else options.seccomp
    return specgen.generate(
        config,
        host,
        container_id=record.id,
        rootfs=how.rootfs,
        process_user=process_user(engine, record, config.user),
        mounts=mounted,
        hostname=config.hostname,
        files=files,
        machine=machine,
        security=options,
        filter=seccomp.choose(
            filtering,
            granted,
            machine,
            runtime=how.runtime,
            cache=store.layout.seccomp,
            lenient=how.lenient and engine.settings.privilege.records_owners,
        ),
        granted=granted,
        network=network,
        shared=shared,
        privilege=engine.settings.privilege,
        init=specgen.find_init() if host.init else "",
        size=how.size,
    )


def confined(machine: Machine, options: security.Security, privilege: Privilege) -> Machine:
    """Return the machine with the AppArmor profile of containers that don't ask for one."""
    if not options.apparmor and not os.path.exists(_APPARMOR):
        return machine
    from tiffin.runtime import apparmor  # hosts without it do without

    return machine.replace(apparmor=apparmor.prepare(options.apparmor, privilege))


def _network(engine: Engine, record: ContainerRecord) -> tuple[specgen.Network, str]:
    """Return the namespace of a container's network, and the folder of its files of /etc, now written."""
    config, host, layout = record.config, record.host, engine.store.layout
    mode = host.network_mode
    if mode.startswith("container:"):
        from tiffin.engine import sharing
        from tiffin.keeper import joining

        other = engine.store.containers.resolve(mode.partition(":")[2])
        joined = joining.place(layout.live(record.id), sharing.NETWORK)
        return specgen.Network(namespace=joined), layout.container(other.id)
    folder = layout.container(record.id)
    bundle.write_etc(
        folder,
        hostname=config.hostname,
        host_network=mode == "host",
        names=host.egress is not None or any(v["Name"] != "bridge" for v in record.networks.values()),
        extra_hosts=host.extra_hosts,
        dns=host.dns,
        stub=_stub(engine) if record.networks else "",
        dns_search=host.dns_search,
        dns_options=host.dns_options,
    )
    if record.networks:
        return specgen.Network(namespace=f"{layout.live(record.id)}/netns"), folder
    return specgen.Network(host=mode == "host"), folder


def _stub(engine: Engine) -> str:
    """Return who answers names on the default network, "" for the host's own servers."""
    if engine.settings.privilege.rung == "root":
        return ""
    from tiffin.network import uplink  # which root has not

    return uplink.NAMES


def _plan(engine: Engine, record: ContainerRecord) -> dict[str, Any] | None:
    if not record.networks:
        return None
    from tiffin.engine import wiring  # with the room below it, 3 ms; not everybody has networks

    return wiring.plan(engine, record)


def process_user(engine: Engine, record: ContainerRecord, text: str) -> User:
    """Return the user that a process of the container runs as; Unsupported for ids that are not there."""
    # Looked up in the container's own files, as they are now (upper folder first).
    stack = engine.store.snapshots.view(record.id, record.layers)
    found = user.resolve(text, stack.read)
    added = user.groups(record.host.group_add, stack.read)
    groups = dict.fromkeys((*found.groups, *added))
    users_there, groups_there = engine.settings.privilege.id_counts()
    if users_there:
        if found.uid >= users_there or found.gid >= groups_there:
            raise _no_such_id(engine, f"run as user {found.uid}:{found.gid}", "--user")
        if added and max(added) >= groups_there:
            raise _no_such_id(engine, f"add group {max(added)}", "--group-add")
        groups = dict.fromkeys(group for group in groups if group < groups_there)
    return found.replace(groups=tuple(groups))


def _no_such_id(engine: Engine, what: str, flag: str) -> Unsupported:
    users, groups = engine.settings.privilege.id_counts()
    there = f"inside there are {users} user and {groups} group ids"
    if users == groups == 1:
        there = "the only id inside is root's"
    hint = engine.settings.privilege.remedy if users == 1 else "give this user a longer range in /etc/subuid"
    return Unsupported(f"cannot {what}: {there}", hint=hint or f"leave {flag} out")


def _log(store: Store, record: ContainerRecord) -> dict[str, Any]:
    """Return the members of a StartRequest that say where output is kept, and how much of it."""
    settings = record.host.log_config
    found: dict[str, Any] = {"log_max_size": LOG_SIZE, "log_max_file": LOG_FILES}
    if settings.type != "json-file" or settings.config:
        from tiffin.engine import logging_options  # few containers have any

        found = logging_options.settings(record)
    path = "" if settings.type == "none" else container_log(store.layout, record.id)
    return {"log_path": path, **found}


def _cleanup(engine: Engine, record: ContainerRecord) -> tuple[str, ...]:
    """Return the command that a keeper starts when nobody is there to remove the container."""
    settings = engine.settings
    where = ("--root", settings.root, "--run", settings.run)
    return (sys.executable, "-m", "tiffin", *where, "internal", "cleanup", record.id)
