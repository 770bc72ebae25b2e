"""start: from a record to a running process with its keeper, and talking to it afterwards."""

from __future__ import annotations

import os
import select
import time

from tiffin.engine.bundle import start_request, supervision
from tiffin.engine.views import event_attributes
from tiffin.errors import NotModified, StartFailed
from tiffin.keeper import client, frames
from tiffin.runtime.specgen import ALONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection
    from tiffin.keeper.request import StartRequest
    from tiffin.runtime.specgen import Shared
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.store import Store


def start(
    engine: Engine, record: ContainerRecord, *, attach: bool, stdin: bool, size: tuple[int, int]
) -> Connection:
    """Start a container that does not run; its keeper has the request and the process is up on return."""
    store = engine.store
    with store.containers.lock(record.id):
        record = store.containers.get(record.id)  # a fork may have changed its layers meanwhile
        if store.containers.state(record.id).running:
            message = f"container {record.name} is already running"
            raise NotModified(message)
        if record.id in store.containers.living():
            from tiffin.engine import lost

            with store.containers.keeper_lock(record.id):  # its last keeper is still leaving
                lost.settle(engine, record.id, alone=True)
        bits = (frames.STDOUT | frames.STDERR if attach else 0) | (frames.STDIN if stdin else 0)
        shared, joined, held = _joined(engine, record)
        try:
            request = start_request(engine, record, attach=bits, size=size, shared=shared)
            if attach:
                store.events.append("container", "attach", record.id, event_attributes(record))
            told = supervision(store, record)
            return launch(engine, request.replace(joined=joined, **told), descriptors=held)
        finally:
            for descriptor in held:
                os.close(descriptor)


def _joined(engine: Engine, record: ContainerRecord) -> tuple[Shared, tuple[str, ...], list[int]]:
    """Return what the container joins of another, see `sharing.of_others`."""
    host = record.host
    if ":" not in host.ipc_mode + host.pid_mode + host.network_mode:
        return ALONE, (), []
    from tiffin.engine import sharing  # few containers share something

    return sharing.of_others(engine, host, engine.store.layout.live(record.id))


def launch(engine: Engine, request: StartRequest, *, descriptors: Sequence[int] = ()) -> Connection:
    """Hand a request to a fresh keeper and wait until the process is up; raises StartFailed if it is not."""
    connection = client.start(engine.keepers.take(), request, descriptors=descriptors)
    frame = connection.recv()
    if frame is not None and frame.kind == frames.AGAIN:
        connection.close()
        connection = client.start(engine.keepers.fresh(), request, descriptors=descriptors)
        frame = connection.recv()
    if frame is not None and frame.kind == frames.STARTED:
        return connection
    connection.close()
    if frame is None:
        raise connection.lost()
    if frame.kind == frames.AGAIN:
        message = "the network namespace of this user's containers is another user namespace's"
        raise StartFailed(message, hint="start the container from another process, or stop the others first")
    message, _, hint = frame.text.partition("\n")
    raise StartFailed(message, exit_code=frame.exit_code, hint=hint)


def connect(store: Store, record: ContainerRecord) -> Connection:
    """Connect to a running container's keeper; raises Conflict if it does not run."""
    return client.connect(store.layout.live(record.id))


def until_exit(connection: Connection, seconds: float | None, gone: int = -1) -> int | None:
    """Wait for the end of the container's process on an unattached connection; None if it did not come.

    Returns its exit code, -1 where the keeper broke off. The exit is recorded then. It is not waited for
    any longer once the other side of the socket `gone` has left.
    """
    from tiffin.engine.patience import ready  # not while something is run

    connection.wait()
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        woken = ready(connection.fileno(), gone=gone, seconds=left)
        if not woken or gone in woken:
            return None
        frame = connection.recv()
        if frame is None or frame.kind == frames.EXITED:
            return frame.exit_code if frame else -1


def until_closed(connection: Connection, seconds: float) -> bool:
    """Wait until the keeper has given everything back and closes; tell whether it did in time."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    deadline = time.monotonic() + seconds
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if connection.recv() is None:
            return True
    return False
