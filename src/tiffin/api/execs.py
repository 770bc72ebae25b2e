"""The execs of the API: a process is asked for, started, looked at."""

from __future__ import annotations

import os
import threading

from tiffin.api import answers
from tiffin.api.router import Operation
from tiffin.api.streams import Pump, taken_over
from tiffin.engine.exec import ExecRequest
from tiffin.errors import Conflict, InvalidArgument, TiffinError
from tiffin.spec import detach
from tiffin.spec.members import a_list, strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from tiffin.api.call import Call
    from tiffin.api.desk import Exec
    from tiffin.http.message import Response
    from tiffin.keeper.client import Connection


def create(call: Call) -> Response:
    """POST /containers/NAME/exec."""
    body = call.body()
    record = call.engine.containers.get(call.name)
    state = call.engine.containers.state(record.id)
    if state.status == "paused":
        raise Conflict(f"container {record.id} is paused, unpause the container before exec")
    if not state.running:
        raise Conflict(f"container {record.id} is not running")
    request = ExecRequest(
        argv=strings(body.get("Cmd")),
        env=strings(body.get("Env")),
        user=str(body.get("User") or ""),
        working_dir=str(body.get("WorkingDir") or ""),
        tty=bool(body.get("Tty")),
        stdin=bool(body.get("AttachStdin")),
        privileged=bool(body.get("Privileged")),
        size=_console(body),
        id=os.urandom(32).hex(),
    )
    if not request.argv:
        raise InvalidArgument("No exec command specified")
    detach.keys_of(str(body.get("DetachKeys") or ""))
    wanted = {name for name in ("stdout", "stderr") if body.get(f"Attach{name.capitalize()}")}
    made = call.desk.add_exec(record.id, request, wanted=wanted, keys=str(body.get("DetachKeys") or ""))
    return answers.document({"Id": made.id}, 201)


def _console(body: dict[str, Any]) -> tuple[int, int]:
    size = a_list(body.get("ConsoleSize"))
    rows, columns = size if len(size) == 2 else (0, 0)
    return (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else (0, 0)


def start(call: Call) -> Response:
    """POST /exec/ID/start."""
    body = call.body(needed=False)
    one = call.desk.exec(call.name)
    call.desk.begin(one)
    size = one.state.size if one.state.size != (0, 0) else _console(body)
    request = one.request.replace(size=size if size != (0, 0) else one.request.size)
    if body.get("Detach"):
        try:
            connection = call.engine.containers.exec(one.container, request)
        except TiffinError as error:
            one.state.failed(error)
            raise
        one.state.began(connection)
        threading.Thread(target=_follow, args=(one, connection), daemon=True).start()
        return answers.nothing(200)

    def upgrade(sock: socket.socket, early: bytes) -> None:
        keys = detach.keys_of(one.keys)
        pump = Pump(sock, early, tty=request.tty, stdin=request.stdin, wanted=set(one.wanted), keys=keys)
        try:
            connection = call.engine.containers.exec(one.container, request)
        except TiffinError as error:
            one.state.failed(error)
            pump.say(f"{error.message}\r\n".encode())
            return
        one.state.began(connection)
        try:
            code = pump.run(connection)
        except OSError:
            code = None  # the client has left
        if code is None:
            _follow(one, connection)
        else:
            with connection:
                one.state.ended(code)

    return taken_over(call, upgrade, tty=request.tty)


def _follow(one: Exec, connection: Connection) -> None:
    """Stay with an exec that nobody reads any more until it has ended."""
    from tiffin.keeper import frames

    with connection:
        while True:
            frame = connection.recv()
            if frame is None or frame.kind == frames.EXITED:
                one.state.ended(frame.exit_code if frame else -1)
                return


def resize(call: Call) -> Response:
    """POST /exec/ID/resize."""
    one = call.desk.exec(call.name)
    one.state.resize(call.number("h"), call.number("w"))
    return answers.nothing(200)


def inspect(call: Call) -> Response:
    """GET /exec/ID/json."""
    one = call.desk.exec(call.name)
    request, state = one.request, one.state
    return answers.document(
        {
            "ID": one.id,
            "Running": state.running,
            "ExitCode": state.exit_code,
            "ProcessConfig": {
                "tty": request.tty,
                "entrypoint": request.argv[0],
                "arguments": list(request.argv[1:]),
                "privileged": request.privileged,
                "user": request.user,
            },
            "OpenStdin": request.stdin,
            "OpenStderr": "stderr" in one.wanted,
            "OpenStdout": "stdout" in one.wanted,
            "CanRemove": False,
            "ContainerID": one.container,
            "DetachKeys": "",
            "Pid": state.pid,
        }
    )


OPERATIONS = (
    Operation(method="POST", path="/containers/{name}/exec", act=create),
    Operation(method="POST", path="/exec/{id}/start", act=start),
    Operation(method="POST", path="/exec/{id}/resize", act=resize),
    Operation(method="GET", path="/exec/{id}/json", act=inspect),
)
