"""The OCI runtime configuration of a container, with exactly what docker grants by default.

Pure: what it needs of the host comes in as `Machine`, of the store as paths, of the network as a
namespace's path.
"""

from __future__ import annotations

import os

from tiffin.errors import NotFound, Unsupported
from tiffin.runtime import devices, limits, seccomp
from tiffin.settings import ROOT
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from tiffin.runtime.machine import Machine
    from tiffin.runtime.security import Security
    from tiffin.runtime.user import User
    from tiffin.settings import Privilege
    from tiffin.spec.container import ContainerConfig, HostConfig

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT = "/sbin/docker-init"
_OCI_VERSION = "1.0.2"
_INITS = ("docker-init", "tini-static", "catatonit")
_INIT_FOLDERS = (
    "/usr/libexec/docker",
    "/usr/local/bin",
    "/usr/bin",
    "/usr/libexec/podman",
    "/usr/local/libexec",
)
_MASKED = (
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
    "/sys/devices/virtual/powercap",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CGROUPS = "/sys/fs/cgroup"
_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
_RECURSIVE_READ_ONLY = (5, 12)
_CPUS = "/sys/devices/system/cpu"
OBEYED = ("run.oci.", "io.crun.", "io.podman.", "org.opencontainers.", "org.systemd.property.")
"""How annotations begin that change what a runtime does."""

# Options of a mount that contradict each other: the last one counts.
_OPPOSITES = (("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), ("rw", "ro"), ("sync", "async"))


class Bind(Value):
    """A path of the host (or a volume's data) in the container. `propagation` "" is rprivate."""

    source: str
    target: str
    read_only: bool = False
    recursive: bool = True
    propagation: str = ""
    below: str = ""  # of a read-only one: what the mounts below it are, see spec.mount.MountPoint


class Tmpfs(Value):
    """A file system in memory; `options` are added to noexec, nosuid, nodev, and win over them."""

    target: str
    options: tuple[str, ...] = ()


class FileSystem(Value):
    """Any other file system, as mount(8) is told; `options` are as given."""

    kind: str
    source: str
    target: str
    options: tuple[str, ...] = ()


class Shared(Value):
    """What is joined of another container: namespaces as (kind, path), and its /dev/shm."""

    namespaces: tuple[tuple[str, str], ...] = ()
    shm: str = ""


ALONE = Shared()


class Network(Value):
    """`namespace` is a path to join, "" a new one; with `host` there is none and nothing is set in it."""

    host: bool = False
    namespace: str = ""


def generate(  # the parts of one document
    config: ContainerConfig,
    host: HostConfig,
    *,
    container_id: str,
    rootfs: str,
    process_user: User,
    mounts: Sequence[Bind | Tmpfs | FileSystem],
    hostname: str,
    files: str,
    machine: Machine,
    security: Security,
    filter: seccomp.Filter,
    granted: Sequence[str],
    network: Network,
    shared: Shared = ALONE,
    privilege: Privilege = ROOT,
    args: Sequence[str] = (),
    env: Sequence[str] | None = None,
    init: str = "",
    size: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """Return the content of `config.json`.

    `args` default to entrypoint and cmd, `env` to `environment(...)`; `files` is the folder with hosts,
    hostname and resolv.conf (see `bundle`), "" for none; `granted` come from `capabilities.granted`,
    `filter` from `seccomp.choose`, `init` from `find_init`; `size` is rows and columns of the terminal;
    `privilege` says what the runtime itself may do.
    """
    privileged = host.privileged
    process = process_of(
        config,
        user=process_user,
        granted=granted,
        args=[*((INIT, "--") if init else ()), *(args or config.argv)],
        env=environment(config, hostname, process_user.home) if env is None else env,
        security=security,
        apparmor="" if privileged else machine.apparmor,
        size=size,
    )
    spec: dict[str, Any] = {
        "ociVersion": _OCI_VERSION,
        "process": process,
        "root": {"path": rootfs, "readonly": host.readonly_rootfs},
        "hostname": hostname,
        "mounts": _mounts(host, mounts, files, init, machine, shm=shared.shm, privilege=privilege),
        "linux": _linux(host, container_id, machine, security, network, shared=shared, privilege=privilege),
    }
    _burden(process, host)
    _name(spec, config, host, privilege)
    propagation = {m.propagation.removeprefix("r") for m in mounts if isinstance(m, Bind)}
    if "shared" in propagation or "slave" in propagation:
        spec["linux"]["rootfsPropagation"] = "shared" if "shared" in propagation else "slave"
    if filter.profile is not None:
        spec["linux"]["seccomp"] = filter.profile
    annotations = _annotations(host, filter)
    if annotations:
        spec["annotations"] = annotations
    return spec


def _name(spec: dict[str, Any], config: ContainerConfig, host: HostConfig, privilege: Privilege) -> None:
    """Give the domain's name beside the host's; with the host's UTS namespace there is neither to give."""
    if host.uts_mode == "host":
        del spec["hostname"]
    elif config.domainname and privilege.uid_map:
        spec["domainname"] = config.domainname  # there only the call may set it; old runtimes do not know it
    elif config.domainname:
        spec["linux"]["sysctl"]["kernel.domainname"] = config.domainname


def _annotations(host: HostConfig, filter: seccomp.Filter) -> dict[str, str]:
    """Return the user's annotations, less those that a runtime obeys, and the compiled filter."""
    # `create` refuses them; a filter must not be lost by an old record either.
    found = {key: value for key, value in host.annotations.items() if not key.startswith(OBEYED)}
    if filter.compiled:
        found[seccomp.ANNOTATION] = filter.compiled
    return found


def _burden(process: dict[str, Any], host: HostConfig) -> None:
    """Add what only the container's own process has: rlimits, and the blame for a full memory."""
    score = limits.oom_score(host.oom_score_adj)
    if score is not None:
        process["oomScoreAdj"] = score
    if host.ulimits:
        process["rlimits"] = limits.rlimits(host.ulimits)


# --- the process --------------------------------------------------------------------------------


def process_of(
    config: ContainerConfig,
    *,
    user: User,
    granted: Sequence[str],
    args: Sequence[str],
    env: Sequence[str],
    security: Security,
    apparmor: str = "",
    size: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """Return an OCI `process`: of the container itself, and of each exec (`config` says tty and folder).

    Capabilities of a user who isn't root are only the bound of what could be gained.
    """
    sets = {"bounding": list(granted)}
    if user.uid == 0:
        sets |= {"effective": list(granted), "permitted": list(granted)}
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": list(args),
        "env": list(env),
        "cwd": config.working_dir or "/",
        "capabilities": sets,
        "noNewPrivileges": security.no_new_privileges,
    }
    profile = security.apparmor or apparmor
    if profile and profile != "unconfined":
        process["apparmorProfile"] = profile
    if config.tty and all(size):
        process["consoleSize"] = {"height": size[0], "width": size[1]}
    return process


def environment(config: ContainerConfig, hostname: str, home: str, extra: Iterable[str] = ()) -> list[str]:
    """Return a process's environment as docker makes it: nothing of the caller's own gets in.

    PATH, HOSTNAME and TERM (with a terminal) are what is not said, HOME comes from the passwd file; the
    last of two values counts, and `NAME` without a value takes the variable away.
    """
    made = {"PATH": PATH, "HOSTNAME": hostname}
    if config.tty:
        made["TERM"] = "xterm"
    for word in (*config.env, *extra):
        name, equals, value = word.partition("=")
        if equals:
            made[name] = value
        else:
            made.pop(name, None)
    made.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in made.items()]


def find_init() -> str:
    """Return the host's static init program for `--init`; raise NotFound naming the package."""
    for name in _INITS:
        for folder in _INIT_FOLDERS:
            path = f"{folder}/{name}"
            if os.access(path, os.X_OK) and os.path.isfile(path):
                return path
    message = 'exec: "docker-init": executable file not found in $PATH'
    raise NotFound(message, hint="--init needs a small init program: apt-get install tini (or catatonit)")


# --- mounts -------------------------------------------------------------------------------------


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _mounts(
    host: HostConfig,
    mounts: Sequence[Bind | Tmpfs | FileSystem],
    files: str,
    init: str,
    machine: Machine,
    *,
    shm: str,
    privilege: Privilege,
) -> list[dict[str, Any]]:
    """Return all mounts, those above before those below them."""
    write = "rw" if host.privileged else "ro"
    safe = ("nosuid", "noexec", "nodev")
    system = [
        _mount("/proc", "proc", "proc", *safe),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            *("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
            *(("gid=5",) if privilege.rung != "single" else ()),  # an id that is not there is EINVAL
        ),
        _mount("/sys", "sysfs", "sysfs", *safe, write),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", write, *safe),
        _mount("/dev/mqueue", "mqueue", "mqueue", *safe),
        _mount("/dev/shm", "tmpfs", "shm", *safe, "mode=1777", f"size={host.shm_size}"),  # noqa: S108 - in there
    ]
    if privilege.uid_map and host.privileged and host.network_mode == "host":
        # A sysfs shows a network namespace, and this user does not own the host's: the kernel refuses one.
        system = [
            m if m["destination"] != "/sys" else _mount("/sys", "bind", "/sys", "rbind", "rslave")
            for m in system
        ]
    if host.ipc_mode not in {"", "private", "shareable"}:
        system = _shared_memory(system, host.ipc_mode, shm)
    if not privilege.cgroups and machine.cgroup_version == 1:
        system = [m for m in system if m["type"] != "cgroup"]  # it would show all trees of the host
    wanted = [_wanted(m, machine) for m in mounts]
    if privilege.uid_map:  # no nodes are made in a user namespace, and the runtime would bind none renamed
        wanted += [_mount(d.target, "bind", os.path.realpath(d.source), "rbind") for d in host.devices]
    wanted += [
        _tmpfs(Tmpfs(target=os.path.normpath(target), options=tuple(filter(None, options.split(",")))))
        for target, options in host.tmpfs.items()
    ]
    targets = {m["destination"] for m in wanted}
    if files:
        for name in ("resolv.conf", "hostname", "hosts"):
            if f"/etc/{name}" not in targets:
                wanted.append(_mount(f"/etc/{name}", "bind", f"{files}/{name}", "rbind", "rprivate"))
    if init:
        wanted.append(_mount(INIT, "bind", init, "bind", "ro", "rprivate"))
    wanted.sort(key=lambda m: str(m["destination"]).count("/"))
    return [m for m in system if m["destination"] not in targets] + wanted


def _shared_memory(system: list[dict[str, Any]], mode: str, shm: str) -> list[dict[str, Any]]:
    """Return docker's own mounts with what an IPC mode makes of /dev/shm and the message queues."""
    system = [m for m in system if m["destination"] != "/dev/shm"]  # noqa: S108 - in there
    if mode == "none":
        return system
    options = ("rbind", "rprivate", "nosuid", "noexec", "nodev")
    if mode == "host":
        system = [m for m in system if m["destination"] != "/dev/mqueue"]
        if os.path.isdir("/dev/mqueue"):
            system.append(_mount("/dev/mqueue", "bind", "/dev/mqueue", *options))
    return [*system, _mount("/dev/shm", "bind", shm or "/dev/shm", *options)]  # noqa: S108 - in there


def _wanted(mount: Bind | Tmpfs | FileSystem, machine: Machine) -> dict[str, Any]:
    if isinstance(mount, Bind):
        return _bind(mount, machine)
    if isinstance(mount, Tmpfs):
        return _tmpfs(mount)
    return _mount(mount.target, mount.kind, mount.source, *mount.options)


def _bind(mount: Bind, machine: Machine) -> dict[str, Any]:
    options = ["rbind" if mount.recursive else "bind", mount.propagation or "rprivate"]
    if mount.read_only:
        options.append("ro")
        # Mounts below it too, as docker does where the kernel can (mount_setattr(2)).
        can = mount.recursive and machine.kernel >= _RECURSIVE_READ_ONLY
        if mount.below == "readonly" and machine.kernel < _RECURSIVE_READ_ONLY:
            raise Unsupported("rro is not supported: kernel version must be >= 5.12")
        options += ["rro"] if can and mount.below != "writable" else []
    return _mount(mount.target, "bind", mount.source, *options)


def _tmpfs(mount: Tmpfs) -> dict[str, Any]:
    options = ["noexec", "nosuid", "nodev"]
    for option in mount.options:
        pair: tuple[str, ...] = next((p for p in _OPPOSITES if option in p), (option,))
        key = option.partition("=")[0]
        options = [o for o in options if o not in pair and not o.startswith(f"{key}=")]
        options.append(option)
    return _mount(mount.target, "tmpfs", "tmpfs", *options)


# --- linux --------------------------------------------------------------------------------------


def _linux(
    host: HostConfig,
    container_id: str,
    machine: Machine,
    security: Security,
    network: Network,
    *,
    shared: Shared,
    privilege: Privilege,
) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "namespaces": _namespaces(host, machine, network, shared),
        "cgroupsPath": cgroup_path(container_id, host.cgroup_parent),
        "sysctl": ({} if network.host else dict(_SYSCTLS)) | dict(host.sysctls),
        "resources": limits.resources(host, machine),
    }
    linux["resources"]["devices"] = devices.ALL_RULES if host.privileged else devices.rules(host)
    if not privilege.cgroups:
        del linux["cgroupsPath"], linux["resources"]
    if privilege.uid_map and linux["sysctl"]:
        last = sum(count for _, _, count in privilege.gid_map) - 1  # the kernel wants ids that are there
        linux["sysctl"]["net.ipv4.ping_group_range"] = f"0 {last}"
    if host.privileged:
        return linux | {"devices": devices.of_host()}
    if host.devices and not privilege.uid_map:
        linux["devices"], rules = devices.given(host.devices)
        if privilege.cgroups:
            linux["resources"]["devices"] = [*linux["resources"]["devices"], *rules]
    masked, read_only = system_paths(host, security)
    linux["maskedPaths"] = list(masked)
    # The runtimes leave the small file system that holds v1's trees writable.
    trees = (_CGROUPS,) if read_only and machine.cgroup_version == 1 and privilege.cgroups else ()
    linux["readonlyPaths"] = [*read_only, *trees]
    return linux


def system_paths(host: HostConfig, security: Security) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what of /proc and /sys is hidden, and what is read-only."""
    if host.privileged or security.system_paths:
        return (), ()
    masked = (*_MASKED, *_throttles()) if host.masked_paths is None else host.masked_paths
    return masked, _READ_ONLY if host.readonly_paths is None else host.readonly_paths


def _namespaces(host: HostConfig, machine: Machine, network: Network, shared: Shared) -> list[dict[str, str]]:
    """Return the namespaces of a container: its own, or another's that it joins; the host's are left out."""
    modes = (("mount", ""), ("uts", host.uts_mode), ("pid", host.pid_mode), ("ipc", host.ipc_mode))
    joined = dict(shared.namespaces)
    found = [
        {"type": kind, "path": joined[kind]} if kind in joined else {"type": kind}
        for kind, mode in modes
        if mode != "host"
    ]
    if cgroup_namespace(host, machine) == "private":
        found.append({"type": "cgroup"})
    if not network.host:
        found.append(
            {"type": "network", "path": network.namespace} if network.namespace else {"type": "network"}
        )
    return found


def cgroup_namespace(host: HostConfig, machine: Machine) -> str:
    """Return the mode that is meant: private on v2 by default, but for privileged containers."""
    own = machine.cgroup_version == 2 and not host.privileged
    return host.cgroupns_mode or ("private" if own else "host")


def cgroup_path(container_id: str, parent: str = "") -> str:
    """Return where a container's cgroup lies, below the root of each tree."""
    return f"/{parent.strip('/') or 'tiffin'}/{container_id}"


def _throttles() -> list[str]:
    """Return the folders that tell how hot the processor is."""
    try:
        names = os.listdir(_CPUS)
    except OSError:
        return []
    found = [f"{_CPUS}/{n}/thermal_throttle" for n in sorted(names) if n[:3] == "cpu" and n[3:].isdigit()]
    return [path for path in found if os.path.exists(path)]
