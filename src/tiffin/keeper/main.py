"""The keeper: one process per running container, which owns its mounts, its stdio and its end.

Both ways to start come here: `keep` in a fork of the command or of a `zygote`. The order matters (each
step hides behind the command's own work, or is needed by the next): session, cgroup, mount namespace;
then the request; then overlay, runtime, socket; at the end exit record, X to everybody, delete, unmount.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import os
import sys

from tiffin.errors import NotFound, StartFailed, TiffinError, Unavailable, Unsupported
from tiffin.keeper import cgroup, frames, kernel
from tiffin.keeper.container import Container
from tiffin.keeper.request import StartRequest
from tiffin.runtime import oci
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.keeper.scope import Scope

_IGNORED = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGPIPE,
    _signal.SIGXFSZ,
)
CRASH = "keeper.crash"
"""File beside the bundle with the traceback of a keeper that ended by a bug."""

_SYSTEMD = "/run/systemd/private"
_CONFIG = "config.json"
_FREE = 3
"""The first descriptor that is no standard stream."""

_REQUEST_LIMIT = 1 << 20
_DESCRIPTORS_LIMIT = 16


def zygote(control: int) -> NoReturn:
    """Fork a keeper for every channel that comes over a socket, until that closes. Does not return."""
    if os.fork():
        os._exit(0)  # the program that started us need not wait
    os.setsid()
    for number in (*_IGNORED, _signal.SIGCHLD):  # ended keepers leave no zombies
        _signal.signal(number, _signal.SIG_IGN)
    kernel.set_name("tiffin-zygote")
    os.set_inheritable(control, False)  # noqa: FBT003 - the C module takes it by position
    sock = _socket.socket(fileno=control)
    while True:
        packet, channels = _receive(sock)
        if not packet:
            os._exit(0)
        for channel in channels:
            if not os.fork():
                _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
                keep(channel)
            os.close(channel)


def keep(channel: int, *, bridged: bool = False) -> NoReturn:
    """Prepare, wait for the request on the channel's descriptor, and see it through. Does not return.

    What a container needs that will probably be `bridged` is imported while the command still works (3 ms).
    """
    code, report = 1, os.devnull
    try:
        if channel < _FREE:
            channel = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, _FREE)
        refusal = ready = ""
        scope = None
        try:
            scope, ready = _prepare(channel)
            if bridged:
                from tiffin.keeper import network  # noqa: F401 - so that it is there when it is needed
        except Unsupported as error:
            refusal = f"{error.message} ({error.hint})"
        sock = _socket.socket(fileno=channel)
        packet, held = _receive(sock)
        if packet and refusal:
            _fail(sock, refusal)
        elif packet:
            request = StartRequest.unpack(packet)
            report = f"{request.bundle}/{CRASH}"
            _see_through(sock, request, held, (scope, ready))
        elif scope:  # the command has ended without one
            scope.settle()  # a scope that nobody ever came into would stay
        code = 0
    except BaseException:  # noqa: BLE001 - a bug of ours; there is nobody to raise it to
        _report(report)
    finally:
        os._exit(code)


def _report(path: str) -> None:
    """Write the exception that ends this keeper into a file beside the bundle."""
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    sys.excepthook(*sys.exc_info())


def _prepare(channel: int) -> tuple[Scope | None, str]:
    """Become a process of its own; return its scope, and the runtime that has been bound read-only.

    Raises Unsupported where this user cannot have what a container needs.
    """
    os.setsid()
    for number in _IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number, inheritable=True)
    _close_others(channel)
    os.set_inheritable(channel, False)  # noqa: FBT003 - the C module takes it by position
    os.umask(0o022)
    os.chdir("/")
    kernel.set_name("tiffin-keeper")
    scope = _leave()
    kernel.own_mounts()
    kernel.hide_unified_cgroups()
    kernel.adopt_orphans()
    try:
        runtime = oci.find()
    except NotFound:
        return scope, ""
    kernel.bind_read_only(runtime)
    return scope, runtime


def _leave() -> Scope | None:
    """Leave the caller's cgroup and, as an ordinary user, its user namespace."""
    if not os.geteuid() and not os.path.exists(_SYSTEMD):
        cgroup.leave()
        return None
    from tiffin import settings

    allowed = settings.privilege()
    scope = None
    if allowed.manager:
        from tiffin.keeper.scope import Scope  # hosts without systemd do without

        scope = Scope(allowed.manager, allowed.owner)
    elif allowed.rung == "root":
        cgroup.leave()
    if allowed.rung != "root":
        from tiffin.keeper import userns

        userns.enter(allowed)
    return scope


def _placed(request: StartRequest, scope: Scope | None) -> StartRequest:
    """Wait until we are in our scope, and say in the bundle that the container belongs there, too.

    Where there is none after all, root's containers have a place without systemd; raises Unavailable for
    others.
    """
    if scope is None:
        return request
    try:
        path = scope.settle()
    except Unavailable:
        if scope.owner:
            raise
        cgroup.leave()
        return request
    if not request.cgroup.startswith("/tiffin/"):  # the user has said where
        return request.replace(scoped=True)
    place = f"{path}/{request.container_id}"
    config = f"{request.bundle}/{_CONFIG}"
    with open(config, "rb") as stream:
        text = stream.read()
    atomic.write_file(config, text.replace(b'"%s"' % request.cgroup.encode(), b'"%s"' % place.encode(), 1))
    return request.replace(cgroup=place, scoped=True)


def _close_others(channel: int) -> None:
    """Close whatever the command had open, which may be the write end of somebody's pipe."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number >= _FREE and number != channel:
            try:
                os.close(number)
            except OSError:
                continue  # the one that listed them


def _receive(sock: _socket.socket) -> tuple[bytes, list[int]]:
    """Return the request's packet and the descriptors that came with it; b"" if there will be none."""
    try:
        space = _socket.CMSG_SPACE(4 * _DESCRIPTORS_LIMIT)
        packet, ancillary, _flags, _address = sock.recvmsg(_REQUEST_LIMIT, space, _socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return b"", []
    held = []
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            held += list(memoryview(data[: len(data) - len(data) % 4]).cast("i"))
    return packet, held


def _see_through(
    sock: _socket.socket, request: StartRequest, held: list[int], prepared: tuple[Scope | None, str]
) -> None:
    """Run the container from its start to its cleanup; `held` stays open meanwhile."""
    scope, ready = prepared
    container: Container | None = None
    try:
        request = _placed(request, scope)
        if request.runtime[0] != ready:
            kernel.bind_read_only(request.runtime[0])
        container = Container(request, sock)
        container.start(held)
    except StartFailed as error:
        _tell(sock, error)
    except frames.Elsewhere:
        sock.send(frames.pack(frames.AGAIN))
    except (OSError, TiffinError) as error:
        text = error.message if isinstance(error, TiffinError) else f"{error.filename}: {error.strerror}"
        _fail(sock, text)
    else:
        container.run()
    for descriptor in held:
        os.close(descriptor)
    if container:
        sock.close()
        container.fold()


def _fail(sock: _socket.socket, text: str) -> None:
    """Say why the container did not start."""
    _tell(sock, StartFailed(f"failed to create task for container: {text}"))


def _tell(sock: _socket.socket, failure: StartFailed) -> None:
    text = f"{failure.message}\n{failure.hint}" if failure.hint else failure.message
    sock.send(frames.pack(frames.FAILED, bytes((failure.exit_code,)) + text.encode()))
