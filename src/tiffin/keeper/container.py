"""One container in its keeper: start, the peers' requests, the exit, what comes after it."""

from __future__ import annotations

import _socket
import errno
import os

from tiffin.errors import Corrupt, TiffinError
from tiffin.keeper import cgroup, frames, kernel
from tiffin.keeper.facts import Facts
from tiffin.keeper.log import JsonLog
from tiffin.keeper.loop import READ, Loop
from tiffin.keeper.peer import Peer
from tiffin.keeper.process import Process, Reaper, launch
from tiffin.runtime import oci
from tiffin.spec import clock, jsontext
from tiffin.spec.state import ContainerState
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.keeper.request import StartRequest

_ACKNOWLEDGE_SECONDS = 10
"""How long a client that was told of the end may take to say that it cleans up."""

_CONNECTIONS = 128
_KILL = 9


class Container:
    """Owns the mount, the process, the socket and the peers of one container."""

    def __init__(self, request: StartRequest, channel: _socket.socket) -> None:
        """Make the folder of the living and mount the root file system."""
        self._request = request
        self._loop = Loop()
        self._reaper = Reaper()
        self._loop.watch(self._reaper.descriptor, READ, self._sweep)
        self._peers: list[Peer] = []
        self._processes: list[Process] = []
        self._numbers = 0
        self._state = ContainerState()
        self._ended = False
        self._acknowledged = False
        self._clean = False
        self._recorded = True
        self._mounted = False
        self._listener: _socket.socket | None = None
        self._dispatch: dict[str, Callable[[Peer, bytes], None]] = {
            frames.ATTACH: self._attach,
            frames.WAIT: self._wait,
            frames.EXEC: self._execute,
            frames.PART: self._part,
            frames.INPUT: self._input,
            frames.CLOSE_STDIN: self._close_stdin,
            frames.RESIZE: self._resize,
            frames.KILL: self._kill,
            frames.VERB: self._verb,
            frames.ACKNOWLEDGE: self._acknowledge,
        }
        # Held until everything is given back: who starts the container again waits for it.
        self._lock = atomic.Lock(request.lock) if request.lock else None
        if self._lock:
            self._lock.__enter__()
        os.makedirs(request.live, 0o700, exist_ok=True)
        self._folder = os.open(request.live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._facts = Facts(request.live, request.state_path)
        self._main = self._process(
            "container",
            program=request.program,
            tty=request.tty,
            stdin=request.stdin,
            stdin_once=request.stdin_once and not request.tty,
            size=(request.rows, request.columns),
        )
        channel.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        self._channel = self._peer(channel)
        self._main.attach(self._channel, request.attach)
        self._channel.waits = True

    # --- start ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Mount, call the runtime, and open log and socket while it works; raise OSError."""
        request = self._request
        try:
            if request.target:
                kernel.mount_overlay(request.base, request.target, request.overlay)
                self._mounted = True
            self._main.start(
                lambda pid_file, console, log: oci.run(
                    request.runtime,
                    request.container_id,
                    bundle=request.bundle,
                    pid_file=pid_file,
                    console=console,
                    log=log,
                )
            )
            if request.log_path:
                self._main.log = JsonLog(
                    request.log_path,
                    max_size=request.log_max_size,
                    max_file=request.log_max_file,
                    attributes=request.log_attributes,
                )
            self._facts.prepare()
            self._listen()
        except OSError:
            self._main.abandon()
            self._clear()
            raise

    def run(self) -> None:
        """Serve until the container has ended and everything about it is done."""
        self._loop.run()

    def _listen(self) -> None:
        """Make the socket; bound through /proc/self/fd, for paths longer than 108 bytes."""
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        path = f"/proc/self/fd/{self._folder}/{frames.SOCKET}"
        atomic.remove_file(f"{self._request.live}/{frames.SOCKET}")  # of a keeper that was killed
        self._listener.bind(path)
        self._listener.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        self._listener.listen(_CONNECTIONS)
        self._hear()

    def _connected(self, _events: int) -> None:
        if not self._listener:
            return
        # Without a free number for it the loop would spin: listen again when a peer has gone.
        self._loop.forget(self._listener.fileno())
        try:
            descriptor, _address = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - the C module's
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                self._hear()
            return
        self._peer(_socket.socket(fileno=descriptor))
        self._hear()

    def _hear(self) -> None:
        if self._listener:
            self._loop.watch(self._listener.fileno(), READ, self._connected)

    def _peer(self, sock: _socket.socket) -> Peer:
        peer = Peer(self._loop, sock, self._serve, self._gone)
        self._peers.append(peer)
        return peer

    def _process(
        self, name: str, *, program: str, tty: bool, stdin: bool, stdin_once: bool, size: tuple[int, int]
    ) -> Process:
        main = name == "container"
        process = Process(
            self._loop,
            self._reaper,
            folder=self._request.live,
            folder_fd=self._folder,
            name=name,
            program=program,
            tty=tty,
            stdin=stdin,
            stdin_once=stdin_once,
            size=size,
            on_started=self._main_started if main else self._exec_started,
            on_failed=self._main_failed if main else self._exec_failed,
            on_exit=self._main_ended if main else self._exec_ended,
        )
        self._processes.append(process)
        return process

    # --- the container's own process -----------------------------------------------------------

    def _main_started(self, process: Process) -> None:
        self._state = ContainerState(status="running", pid=process.pid, started_at=clock.now())
        try:
            self._facts.running(self._state)
        except OSError as error:
            # Nobody could find it: it must not run. Its end is recorded as any other.
            process.kill_now()
            self._tell_failed(125, f"failed to create task for container: {error.filename}: {error.strerror}")
            return
        self._tell_started(process, self._state.started_at)
        if self._orphaned:
            process.kill_now()

    def _main_failed(self, process: Process, log: bytes) -> None:
        failure = oci.start_error(oci.last_error(log), process.program)
        self._state = ContainerState(exit_code=failure.exit_code, error=failure.message)
        self._recorded = self._facts.ended(self._state)
        self._tell_failed(failure.exit_code, failure.message)
        self._forget(process)
        self._finish()

    def _main_ended(self, process: Process) -> None:
        """Record the end before anything else, then tell everybody."""
        if process.log:
            process.log.flush()
        killed = cgroup.out_of_memory(self._request.cgroup)
        end = {"exit_code": process.exit_code, "oom_killed": killed, "finished_at": clock.now()}
        self._state = self._state.replace(status="exited", pid=0, **end)
        self._recorded = self._facts.ended(self._state)
        self._tell_all(frames.EXITED, bytes((process.exit_code, frames.OUT_OF_MEMORY if killed else 0)))
        self._forget(process)
        self._finish()

    def _tell_started(self, process: Process, when: str) -> None:
        text = jsontext.dumps_bytes({"pid": process.pid, "started_at": when})
        for peer in tuple(process.peers):
            peer.send(frames.STARTED, text)

    def _tell_failed(self, code: int, message: str) -> None:
        self._tell_all(frames.FAILED, bytes((code,)) + message.encode())

    # --- after the end -------------------------------------------------------------------------

    def _tell_all(self, kind: str, payload: bytes) -> None:
        """Send the last frame about the container to whoever waits for it; others have no business left.

        The connections close later, in `_settle`: their end says that everything has been given back.
        """
        for peer in tuple(self._peers):
            if peer.waits or peer.process is self._main:
                peer.send(kind, payload[: frames.PAYLOAD_LIMIT])
            elif peer.process is None:
                peer.close()

    def _finish(self) -> None:
        """Forget the container in the runtime and the kernel, then wait for those who have not read all."""
        self._ended = True
        self._clear()
        if self._request.cleanup:
            self._loop.later(_ACKNOWLEDGE_SECONDS, self._impatient)
        self._settle()

    def _clear(self) -> None:
        """Undo the start, as far as it came; nothing in here may stop the rest."""
        request = self._request
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        self._reaper.collect(launch(oci.delete(request.runtime, request.container_id), []))
        self._main.drain()
        if self._main.log:
            self._main.log.close()
            self._main.log = None
        if self._mounted:
            self._mounted = False
            _try(kernel.unmount, request.target)
        if self._recorded:
            _try(atomic.remove_tree, request.live)
        if self._lock:
            self._lock.remove()
            self._lock.__exit__(None, None, None)
            self._lock = None

    def _impatient(self) -> None:
        """Nobody has acknowledged in time: clean up without them."""
        self._clean_up()
        self._settle()

    def _settle(self) -> None:
        """Leave once the container is cleaned up, all processes have ended and all peers have read all."""
        if not self._ended or self._processes:
            return
        if not self._clean:
            if self._request.cleanup and not self._acknowledged and not self._channel.closed:
                return  # it is still told, and may promise
            self._clean_up()
        for peer in tuple(self._peers):
            peer.finish()
        if not self._peers:
            self._loop.stop()

    def _clean_up(self) -> None:
        """Remove the folders when somebody does the rest; start the command that does it all otherwise."""
        if self._clean:
            return
        self._clean = True
        if self._acknowledged or self._orphaned:
            for folder in self._request.discard:
                _try(atomic.remove_tree, folder)
        elif self._request.cleanup:
            _try(launch, list(self._request.cleanup), [])

    # --- further processes ---------------------------------------------------------------------

    def _exec_started(self, process: Process) -> None:
        self._tell_started(process, clock.now())

    def _exec_failed(self, process: Process, log: bytes) -> None:
        failure = oci.start_error(oci.last_error(log), process.program, verb="exec")
        payload = bytes((failure.exit_code,)) + failure.message.encode()
        self._exec_over(process, frames.FAILED, payload[: frames.PAYLOAD_LIMIT])

    def _exec_ended(self, process: Process) -> None:
        self._exec_over(process, frames.EXITED, bytes((process.exit_code, 0)))

    def _exec_over(self, process: Process, kind: str, payload: bytes) -> None:
        for peer in tuple(process.peers):
            peer.send(kind, payload)
            peer.finish()
        self._forget(process)

    def _forget(self, process: Process) -> None:
        self._processes.remove(process)
        self._settle()

    def _sweep(self, _events: int) -> None:
        self._reaper.sweep()
        if all(p.started for p in self._processes):
            self._reaper.forget_others({p.pid for p in self._processes})

    # --- what peers ask for --------------------------------------------------------------------

    def _serve(self, peer: Peer, frame: frames.Frame) -> None:
        handler = self._dispatch.get(frame.kind)
        if handler is None:
            message = f"keeper: unknown frame {frame.kind!r}"
            raise Corrupt(message)
        handler(peer, frame.data)

    @property
    def _orphaned(self) -> bool:
        """Whether the container was to live as long as its channel, and that is closed."""
        return self._request.bound and self._channel.closed

    def _gone(self, peer: Peer) -> None:
        self._peers.remove(peer)
        if peer.process:
            peer.process.detach(peer)
        if self._orphaned:
            _try(self._main.kill, _KILL)
        self._hear()
        self._settle()

    def _attach(self, peer: Peer, data: bytes) -> None:
        _exactly(data, 1, "attach")
        if self._ended or peer.process:
            peer.refuse("the container is not running" if self._ended else "already attached")
            return
        self._main.attach(peer, data[0])
        peer.waits = True
        peer.send(frames.DONE)

    def _wait(self, peer: Peer, _data: bytes) -> None:
        peer.waits = True

    def _part(self, peer: Peer, data: bytes) -> None:
        peer.parts += data
        if len(peer.parts) > frames.EXEC_LIMIT:
            message = "keeper: an exec is too long"
            raise Corrupt(message)

    def _execute(self, peer: Peer, data: bytes) -> None:
        body, peer.parts = jsontext.load_object(peer.parts + data), b""
        description = body.get("process")
        if not isinstance(description, dict) or peer.process:
            message = "keeper: exec needs a process, and a connection of its own"
            raise Corrupt(message)
        if self._ended or self._state.status != "running":
            peer.refuse(f"the container is {'paused' if self._state.status == 'paused' else 'not running'}")
            return
        self._numbers += 1
        process = self._process(
            f"exec{self._numbers}",
            program=str((description.get("args") or ("",))[0]),
            tty=description.get("terminal") is True,
            stdin=body.get("stdin") is True,
            stdin_once=True,
            size=(_small(body.get("rows")), _small(body.get("columns"))),
        )
        process.attach(peer, _bits(body))
        if process.size != (0, 0):
            description["consoleSize"] = {"height": process.size[0], "width": process.size[1]}
        file = os.memfd_create("process")
        atomic.write_all(file, jsontext.dumps_bytes(description))
        request, path = self._request, f"/proc/{os.getpid()}/fd/{file}"
        process.start(
            lambda pid_file, console, log: oci.execute(
                *(request.runtime, request.container_id),
                process=path,
                pid_file=pid_file,
                console=console,
                log=log,
            ),
            held=file,
        )

    def _input(self, peer: Peer, data: bytes) -> None:
        peer.quota -= len(data)
        if peer.quota < 0 or not peer.process or not peer.bits & frames.STDIN:
            message = "keeper: input that was not granted"
            raise Corrupt(message)
        peer.process.write(data, peer)

    def _close_stdin(self, peer: Peer, _data: bytes) -> None:
        if peer.process:
            peer.process.end_input_of(peer)

    def _resize(self, peer: Peer, data: bytes) -> None:
        _exactly(data, 4, "resize")
        rows, columns = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
        (peer.process or self._main).resize(rows, columns)

    def _kill(self, peer: Peer, data: bytes) -> None:
        _exactly(data, 1, "kill")
        try:
            (peer.process or self._main).kill(data[0])
        except OSError as error:
            peer.refuse(error.strerror or str(error))
            return
        if data[0] == _KILL and self._state.status == "paused":
            self._call("resume")  # a frozen process cannot even die
        peer.send(frames.DONE)

    def _verb(self, peer: Peer, data: bytes) -> None:
        words = {b"pause": "paused", b"resume": "running"}
        if data not in words:
            message = "keeper: unknown verb"
            raise Corrupt(message)
        if self._ended or not self._call(data.decode()):
            peer.refuse(f"the runtime cannot {data.decode()} the container")
            return
        self._state = self._state.replace(status=words[data])
        _try(self._facts.running, self._state)
        peer.send(frames.DONE)

    def _call(self, word: str) -> bool:
        """Call a verb of the runtime and wait for it; tell whether it went well."""
        command = oci.verb(self._request.runtime, word, self._request.container_id)
        return not self._reaper.collect(launch(command, []))

    def _acknowledge(self, peer: Peer, _data: bytes) -> None:
        self._acknowledged = peer is self._channel
        self._settle()


def _try(action: Callable[..., object], *arguments: object) -> None:
    """Do one step of a cleaning; one that fails must not stop the others."""
    try:
        action(*arguments)
    except (OSError, TiffinError):
        return


def _bits(body: dict[str, Any]) -> int:
    bits = {"stdin": frames.STDIN, "stdout": frames.STDOUT, "stderr": frames.STDERR}
    return sum(bit for name, bit in bits.items() if body.get(name) is True)


def _small(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 65536 else 0


def _exactly(data: bytes, length: int, what: str) -> None:
    if len(data) != length:
        message = f"keeper: {what} is {length} bytes long, not {len(data)}"
        raise Corrupt(message)
