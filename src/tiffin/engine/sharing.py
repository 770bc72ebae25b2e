"""Namespaces that containers share: what `--ipc`, `--pid` and `--uts` may say, and whose they are."""

from __future__ import annotations

import os
import select

from tiffin.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tiffin.keeper import joining
from tiffin.runtime.specgen import Shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.settings import Privilege
    from tiffin.spec.container import ContainerConfig, HostConfig

_CONTAINER = "container:"
NETWORK = "net"
_MODES = {
    "ipc_mode": ("IPC", frozenset({"", "none", "private", "shareable", "host"})),
    "pid_mode": ("PID", frozenset({"", "host"})),
    "uts_mode": ("UTS", frozenset({"", "host"})),
    "userns_mode": ("USER", frozenset({"", "host"})),
    "cgroupns_mode": ("CGROUP", frozenset({"", "host", "private"})),
}
_JOINABLE = frozenset({"ipc_mode", "pid_mode"})


def check(config: ContainerConfig, host: HostConfig, privilege: Privilege) -> None:
    """Raise for modes that are none, that contradict something, or that this user cannot have."""
    for field, (word, known) in _MODES.items():
        mode = getattr(host, field)
        named = field in _JOINABLE and mode.startswith(_CONTAINER)
        if mode not in known and not (named and mode != _CONTAINER):
            raise InvalidArgument(f"invalid {word} mode: {mode}")
        if named and privilege.rung != "root":
            message = f"cannot join another container's {word} namespace as an ordinary user"
            raise Unsupported(message, hint="it belongs to that container's own user namespace")
    if host.uts_mode == "host" and (config.hostname or config.domainname):
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if host.pid_mode == "host" and not privilege.cgroups:
        message = "--pid host needs cgroups, which this user cannot write"
        raise Unsupported(message, hint="without them the container's processes could not be found again")
    if ".." in host.cgroup_parent.split("/"):
        raise InvalidArgument(f"invalid cgroup parent: {host.cgroup_parent}")
    if host.isolation not in {"", "default"}:
        raise InvalidArgument(f"invalid isolation ({host.isolation}): linux only supports 'default'")


def of_others(engine: Engine, host: HostConfig, live: str) -> tuple[Shared, tuple[str, ...], list[int]]:
    """Return where a container finds what it joins, the kinds in order, and their open descriptors.

    The caller closes them. Raises NotFound, and Conflict or InvalidArgument in docker's words.
    """
    kinds: list[str] = []
    descriptors: list[int] = []
    try:
        for kind, mode in (("ipc", host.ipc_mode), ("pid", host.pid_mode), (NETWORK, host.network_mode)):
            if mode.startswith(_CONTAINER):
                names = (kind, joining.SHM) if kind == "ipc" else (kind,)
                descriptors += _open(engine, mode.removeprefix(_CONTAINER), names)
                kinds += names
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    shm = joining.place(live, joining.SHM) if joining.SHM in kinds else ""
    namespaces = tuple((kind, joining.place(live, kind)) for kind in kinds if kind in {"ipc", "pid"})
    return Shared(namespaces=namespaces, shm=shm), tuple(kinds), descriptors


def _open(engine: Engine, name: str, kinds: tuple[str, ...]) -> list[int]:
    """Open the namespaces of a container's first process, which still is that one afterwards."""
    containers = engine.store.containers
    try:
        donor = containers.resolve(name)
    except NotFound as error:
        raise NotFound(error.message, hint="the container whose namespace is to be joined") from error
    mode = donor.host.ipc_mode
    if "ipc" in kinds and mode not in {"shareable", "host"} and not mode.startswith(_CONTAINER):
        message = f"container {name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        raise InvalidArgument(message)
    state = containers.state(donor.id)
    if state.status == "restarting":
        raise Conflict(f"Container {donor.id} is restarting, wait until the container is running")
    try:
        handle = os.pidfd_open(state.pid or -1)
    except (OSError, ValueError):
        raise Conflict(f"cannot join namespaces of a non running container: {name}") from None
    try:
        found: list[int] = []
        for kind in kinds:
            file = "mnt" if kind == joining.SHM else kind
            found.append(os.open(f"/proc/{state.pid}/ns/{file}", os.O_RDONLY | os.O_CLOEXEC))
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        # The pid was the container's at first, and its process has not ended since: these are its own.
        if containers.state(donor.id).pid == state.pid and not ended.poll(0):
            return found
    except FileNotFoundError:
        pass
    finally:
        os.close(handle)
    for descriptor in found:
        os.close(descriptor)
    raise Conflict(f"cannot join namespaces of a non running container: {name}")
