"""exec: one more process in a running container, with what docker gives it."""

from __future__ import annotations

import os

from tiffin.engine.bundle import confined, process_user
from tiffin.engine.start import connect
from tiffin.engine.views import event_attributes
from tiffin.errors import Conflict, InvalidArgument, StartFailed
from tiffin.keeper import frames
from tiffin.runtime import capabilities, security, specgen
from tiffin.runtime.machine import Machine
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection
    from tiffin.store.containers import ContainerRecord


class ExecRequest(Value):
    """What to start. Empty words mean the container's own; `size` is the terminal's (rows, columns).

    `id` is what events and `inspect` call it, made up where it is "".
    """

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
    detach: bool = False
    size: tuple[int, int] = (0, 0)
    id: str = ""


def execute(engine: Engine, record: ContainerRecord, request: ExecRequest) -> Connection:
    """Start the process and return its connection: output, exit, input.

    Raises Conflict if the container does not run or is paused, StartFailed (126, 127) if the program
    cannot be started.
    """
    store = engine.store
    if not request.argv or not request.argv[0]:
        message = "No exec command specified"
        raise InvalidArgument(message)
    state = store.containers.state(record.id)
    if state.status == "paused":
        message = f"Container {record.id} is paused, unpause the container before exec"
        raise Conflict(message)
    if state.status == "restarting":
        message = f"Container {record.id} is restarting, wait until the container is running"
        raise Conflict(message)
    if not state.running:
        message = f"container {record.id} is not running"
        raise Conflict(message)
    process = _process(engine, record, request)
    connection = connect(store, record)
    attached = not request.detach
    attributes = {**event_attributes(record), "execID": request.id or os.urandom(32).hex()}
    words = " ".join(request.argv)
    # Both before it runs, as docker: the keeper tells of its end, maybe before we hear of its start.
    for action in ("exec_create", "exec_start"):
        store.events.append("container", f"{action}: {words}", record.id, attributes)
    connection.execute(
        process,
        stdin=request.stdin and attached,
        stdout=attached,
        stderr=attached,
        rows=request.size[0],
        columns=request.size[1],
        exec_id=attributes["execID"],
    )
    frame = connection.recv()
    if frame is None or frame.kind != frames.STARTED:
        connection.close()
        if frame is None:
            raise connection.lost()
        if frame.kind == frames.FAILED:
            raise StartFailed(frame.text, exit_code=frame.exit_code)
        raise Conflict(frame.text)
    return connection


def _process(engine: Engine, record: ContainerRecord, request: ExecRequest) -> dict[str, object]:
    config, host = record.config, record.host
    options = security.parse(host.security_opt)
    machine = confined(Machine.here(), options, engine.settings.privilege)
    try:
        user = process_user(engine, record, request.user or config.user)
    except InvalidArgument as error:
        raise StartFailed(error.message, exit_code=126, hint=error.hint) from error
    granted = capabilities.granted(
        host.cap_add,
        host.cap_drop,
        privileged=host.privileged or request.privileged,
        available=machine.capabilities,
    )
    own = config.replace(tty=request.tty, working_dir=request.working_dir or config.working_dir or "/")
    if not own.working_dir.startswith("/"):
        message = "Cwd must be an absolute path"
        raise InvalidArgument(message)
    return specgen.process_of(
        own,
        user=user,
        granted=granted,
        args=request.argv,
        env=specgen.environment(own, config.hostname, user.home, request.env),
        security=options,
        apparmor="" if host.privileged else machine.apparmor,
        size=request.size,
    )
