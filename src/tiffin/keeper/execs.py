"""Further processes in a container: what peers ask for, and the probes of its health check."""

from __future__ import annotations

import os

from tiffin.errors import Corrupt, TiffinError
from tiffin.keeper import frames
from tiffin.keeper.process import launch
from tiffin.runtime import oci
from tiffin.spec import clock, jsontext
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.health import Output
    from tiffin.keeper.peer import Peer
    from tiffin.keeper.process import Process, Reaper
    from tiffin.keeper.request import StartRequest

    Hooks = tuple[Callable[[Process], None], Callable[[Process, bytes], None], Callable[[Process], None]]
    """What is called when a process has started, when it could not, and when it has ended."""

_KILL = 9
_SHOWN = 900
"""So many ids fit into one frame."""


class Execs:
    """Starts them, and tells their peers how they ended."""

    def __init__(
        self,
        request: StartRequest,
        make: Callable[..., Process],
        forget: Callable[[Process], None],
        reaper: Reaper,
        announce: Callable[..., None],
    ) -> None:
        """`make` makes a process of the container, `forget` is called with one that has ended.

        `announce(action, **attributes)` tells of events.
        """
        self._request, self._announce = request, announce
        self._names: dict[Process, str] = {}
        self._make, self._forget, self._reaper = make, forget, reaper
        self._numbers = 0

    def update(self, resources: bytes) -> str:
        """Change the container's limits; return why that was not possible, "" if it was."""
        file, log = os.memfd_create("resources"), os.memfd_create("log")
        try:
            atomic.write_all(file, resources)
            own, request = f"/proc/{os.getpid()}/fd", self._request
            command = oci.update(
                request.runtime, request.container_id, resources=f"{own}/{file}", log=f"{own}/{log}"
            )
            if not self._reaper.collect(launch(command, [])):
                return ""
            return oci.last_error(os.pread(log, 65536, 0)) or "the runtime gave no reason"
        finally:
            os.close(file)
            os.close(log)

    def part(self, peer: Peer, data: bytes) -> None:
        """Keep a part of the description that an exec brings the last of."""
        peer.parts += data
        if len(peer.parts) > frames.EXEC_LIMIT:
            message = "keeper: an exec is too long"
            raise Corrupt(message)

    def execute(self, peer: Peer, data: bytes) -> None:
        """Start what a peer asks for; raise Corrupt for a description that is none."""
        body, peer.parts = jsontext.load_object(peer.parts + data), b""
        description = body.get("process")
        if not isinstance(description, dict) or peer.process:
            message = "keeper: exec needs a process, and a connection of its own"
            raise Corrupt(message)
        self._numbers += 1
        process = self._make(
            f"exec{self._numbers}",
            (self._started, self._failed, self._ended),
            program=str((description.get("args") or ("",))[0]),
            tty=description.get("terminal") is True,
            stdin=body.get("stdin") is True,
            stdin_once=True,
            size=(_small(body.get("rows")), _small(body.get("columns"))),
        )
        if isinstance(body.get("id"), str):
            self._names[process] = body["id"]
        process.attach(peer, _bits(body))
        if process.size != (0, 0):
            description["consoleSize"] = {"height": process.size[0], "width": process.size[1]}
        self._start(process, description)

    def names(self) -> bytes:
        """Return the ids of those that run, as they were given: a JSON list."""
        return jsontext.dumps_bytes(list(self._names.values())[-_SHOWN:])

    def _start(self, process: Process, description: dict[str, Any]) -> None:
        file = os.memfd_create("process")
        atomic.write_all(file, jsontext.dumps_bytes(description))
        request, path = self._request, f"/proc/{os.getpid()}/fd/{file}"
        asked = request.confinement
        process.start(
            lambda pid_file, console, log: [
                oci.execute(
                    *(request.runtime, request.container_id),
                    process=path,
                    pid_file=pid_file,
                    console=console,
                    log=log,
                )
            ],
            asked and asked.of_exec(description),
            held=file,
        )

    def probe(self, output: Output, done: Callable[[int, str], None]) -> Callable[[], None]:
        """Run the health check as the container's own user, with its environment; return how to end it."""

        def failed(process: Process, log: bytes) -> None:
            failure = oci.start_error(oci.last_error(log), process.program, verb="exec")
            self._forget(process)
            done(failure.exit_code, failure.message)

        def ended(process: Process) -> None:
            self._forget(process)
            done(process.exit_code, output.text)

        argv = self._request.health[0]
        self._numbers += 1
        process = self._make(
            f"health{self._numbers}", (lambda _process: None, failed, ended), program=argv[0]
        )
        process.log = output
        try:
            with open(f"{self._request.bundle}/config.json", "rb") as stream:
                description = jsontext.load_object(stream.read())["process"]
            self._start(process, {**description, "args": list(argv), "terminal": False})
        except (OSError, TiffinError) as error:
            self._forget(process)
            done(125, str(error))
        return lambda: _kill(process)

    def _started(self, process: Process) -> None:
        text = jsontext.dumps_bytes({"pid": process.pid, "started_at": clock.now()})
        for peer in tuple(process.peers):
            peer.send(frames.STARTED, text)

    def _failed(self, process: Process, log: bytes) -> None:
        failure = oci.start_error(oci.last_error(log), process.program, verb="exec")
        payload = bytes((failure.exit_code,)) + failure.message.encode()
        self._over(process, frames.FAILED, payload[: frames.PAYLOAD_LIMIT])

    def _ended(self, process: Process) -> None:
        name = self._names.get(process)
        if name:
            self._announce("exec_die", execID=name, exitCode=str(process.exit_code))
        self._over(process, frames.EXITED, bytes((process.exit_code, 0)))

    def _over(self, process: Process, kind: str, payload: bytes) -> None:
        for peer in tuple(process.peers):
            peer.send(kind, payload)
            peer.finish()
        self._names.pop(process, None)
        self._forget(process)


def _kill(process: Process) -> None:
    try:
        process.kill(_KILL)
    except OSError:
        return  # it has ended


def _bits(body: dict[str, Any]) -> int:
    bits = {"stdin": frames.STDIN, "stdout": frames.STDOUT, "stderr": frames.STDERR}
    return sum(bit for name, bit in bits.items() if body.get(name) is True)


def _small(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 65536 else 0
