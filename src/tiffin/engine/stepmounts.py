"""What a build step has mounted: mount points for its record, its secrets, and the way to an ssh agent.

Secrets, and the bundle with those that are variables, lie below the run folder, which is no disk on most
hosts, in a folder of their own that ends with the step; what a build left that was killed, its keepers
remove, and what those left, the next step.
"""

from __future__ import annotations

import contextlib
import os
import posix
import socket
import threading

from tiffin.errors import Unavailable
from tiffin.layer import owners
from tiffin.spec.mount import MountPoint
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.build.roles import StepMount

_CHUNK = 1 << 16


@contextlib.contextmanager
def points(private: str, mounts: Sequence[StepMount]) -> Iterator[tuple[MountPoint, ...]]:
    """Yield the mount points of a step; its secrets and sockets lie in its own `private` folder."""
    with contextlib.ExitStack() as held:
        found = []
        for number, mount in enumerate(mounts):
            place = mount.place
            if mount.kind == "secret":
                place = f"{private}/{number}"
                _write(place, mount)
            elif mount.kind == "ssh":
                place = f"{private}/{number}"
                held.enter_context(_agent(private, str(number), mount))
            found.append(_point(mount, place))
        yield tuple(found)


def _point(mount: StepMount, place: str) -> MountPoint:
    if mount.kind == "tmpfs":
        size = (f"size={mount.size}",) if mount.size else ()
        return MountPoint(
            type="tmpfs", destination=mount.target, options=("nosuid", "nodev", "mode=1777", *size)
        )
    if mount.kind == "image":
        return MountPoint(
            type="image",
            source="step",
            destination=mount.target,
            rw=False,
            propagation="rprivate",
            layers=mount.layers,
            subpath=place,
        )
    return MountPoint(
        type="bind",
        source=place,
        destination=mount.target,
        rw=not mount.read_only,
        propagation="rprivate",
    )


@contextlib.contextmanager
def private(folder: str) -> Iterator[str]:
    """Make a step's own folder below that of all steps; remove it, and those of the dead, again."""
    os.makedirs(folder, 0o711, exist_ok=True)
    for name in posix.listdir(folder):
        if not atomic.owner_lives(name.partition("_")[0]):
            atomic.delete_tree(f"{folder}/{name}")
    made = f"{folder}/{atomic.owner_tag()}_{os.urandom(6).hex()}"
    posix.mkdir(made, 0o700)
    try:
        yield made
    finally:
        atomic.delete_tree(made)


def _write(place: str, mount: StepMount) -> None:
    descriptor = posix.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        atomic.write_all(descriptor, mount.data)
        owners.give(descriptor, mount.uid, mount.gid)
        posix.fchmod(descriptor, mount.mode)
    finally:
        posix.close(descriptor)


@contextlib.contextmanager
def _agent(folder: str, name: str, mount: StepMount) -> Iterator[None]:
    """Listen in a folder for as long as the step runs, and pass every talk on to the user's agent."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(mount.place)
        except OSError as error:
            message = f"failed to connect to the ssh agent at {mount.place}: {error.strerror}"
            raise Unavailable(message, hint="is an agent running? ssh-add -l asks it") from None
    listener = socket.socket(socket.AF_UNIX)
    here = posix.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{here}/{name}")  # the path itself may be too long for a socket
    finally:
        posix.close(here)
    owners.give(f"{folder}/{name}", mount.uid, mount.gid)
    posix.chmod(f"{folder}/{name}", mount.mode)
    listener.listen()
    thread = threading.Thread(target=_serve, args=(listener, mount.place), daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        thread.join()
        listener.close()


def _serve(listener: socket.socket, agent: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(agent)
        except OSError:
            client.close()
            server.close()
            continue
        threading.Thread(target=_talk, args=(client, server), daemon=True).start()


def _talk(client: socket.socket, server: socket.socket) -> None:
    """Pass on what both say until neither says any more."""
    with client, server:
        answers = threading.Thread(target=_pump, args=(server, client), daemon=True)
        answers.start()
        _pump(client, server)
        answers.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
