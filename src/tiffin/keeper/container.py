"""One container in its keeper: start, the peers' requests, the exit, what comes after it."""

from __future__ import annotations

import time

from tiffin.errors import Corrupt, TiffinError
from tiffin.keeper import cgroup, frames, kernel
from tiffin.keeper.execs import Execs
from tiffin.keeper.facts import Facts
from tiffin.keeper.holdings import Holdings
from tiffin.keeper.listener import Listener
from tiffin.keeper.log import JsonLog
from tiffin.keeper.loop import READ, Loop
from tiffin.keeper.peer import Peer
from tiffin.keeper.process import Process, Reaper, launch
from tiffin.runtime import oci
from tiffin.spec import clock, jsontext
from tiffin.spec.state import ContainerState
from tiffin.spec.value import EMPTY
from tiffin.store import atomic, journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence

    from tiffin.keeper.care import Care
    from tiffin.keeper.execs import Hooks
    from tiffin.keeper.network import Networks
    from tiffin.keeper.request import StartRequest
    from tiffin.keeper.restart import Policy

_ACKNOWLEDGE_SECONDS = 10
"""How long a client that was told of the end may take to say that it cleans up."""

_FREEZING = {"pause": ("paused", "pause"), "resume": ("running", "unpause")}
_KILL, _TERMINATE = 9, 15
_GRACE_SECONDS = 10  # for a container to end when the host shuts down, as with `stop`


class Container:
    """Owns the mount, the process, the socket and the peers of one container."""

    def __init__(self, request: StartRequest, channel: _socket.socket) -> None:
        """Take the lock and make the folder of the living."""
        self._request = request
        self._loop = Loop()
        self._reaper = Reaper()
        self._loop.watch(self._reaper.descriptor, READ, self._sweep)
        self._peers: list[Peer] = []
        self._processes: list[Process] = []
        self._execs = Execs(request, self._process, self._forget, self._reaper, self._announce)
        self._state = ContainerState()
        self._ended = False
        self._acknowledged = False
        self._clean = False
        self._recorded = True
        self._dispatch: dict[str, Callable[[Peer, bytes], None]] = {
            frames.ATTACH: self._attach,
            frames.WAIT: self._wait,
            frames.EXEC: self._execute,
            frames.PART: self._execs.part,
            frames.INPUT: Peer.take_input,
            frames.CLOSE_STDIN: lambda peer, _data: peer.end_input(),
            frames.RESIZE: self._resize,
            frames.KILL: self._kill,
            frames.VERB: self._verb,
            frames.ACKNOWLEDGE: self._acknowledge,
        }
        self._holdings = Holdings(request)
        self._listener = Listener(self._loop, request.live, self._holdings.folder, self._peer)
        self._facts = Facts(request.live, request.state_path)
        self._policy: Policy | None = None
        self._care: Care | None = None
        self._stay = False
        """The user has ended it: it is not started again."""
        self._leaving = False  # the host shuts down: its policy decides when that is back
        if request.scoped:
            self._reaper.hear(_TERMINATE)
        self._asked: set[int] = set()
        """Signals that the user has sent."""
        self._began = 0.0
        self._timer = 0
        if request.restart != "no":
            self._set_policy(request.restart, request.restart_limit)
        self._networks: Networks | None = None
        self._main = self._main_process()
        channel.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        self._channel = self._peer(channel)
        self._main.attach(self._channel, request.attach)
        self._channel.waits = True

    # --- start ---------------------------------------------------------------------------------

    def start(self, held: Sequence[int] = ()) -> None:
        """Mount, call the runtime, and open log and socket while it works; raise OSError.

        `held` begins with the descriptors of what is joined of another container.
        """
        request = self._request
        try:
            self._holdings.join(held)
            self._connect()
            self._holdings.mount()
            self._run_main()
            if request.log_path:
                self._main.log = JsonLog(
                    request.log_path,
                    max_size=request.log_max_size,
                    max_file=request.log_max_file,
                    compress=request.log_compress,
                    attributes=request.log_attributes,
                )
            self._facts.prepare()
            self._listener.open()
        except (OSError, TiffinError):
            self._main.abandon()
            self._clear()
            raise

    def _connect(self) -> None:
        """Make the container's networks, if it has any of its own."""
        if self._request.network:
            from tiffin.keeper.network import Networks  # not everybody has them

            self._networks = Networks(self._request, self._request.network, self._loop)
            self._networks.start()

    def _main_process(self) -> Process:
        request = self._request
        return self._process(
            "container",
            (self._main_started, self._main_failed, self._main_ended),
            program=request.program,
            tty=request.tty,
            stdin=request.stdin,
            stdin_once=request.stdin_once and not request.tty,
            size=(request.rows, request.columns),
        )

    def _run_main(self) -> None:
        request = self._request
        self._main.start(
            lambda pid_file, console, log: oci.run(
                request.runtime,
                request.container_id,
                bundle=request.bundle,
                pid_file=pid_file,
                console=console,
                log=log,
            ),
            request.confinement,
        )

    def run(self) -> None:
        """Serve until the container has ended and everything about it is done."""
        self._loop.run()

    def fold(self) -> None:
        """Take down the networks that nobody is on any more: when all else is done."""
        if self._networks:
            self._networks.fold()

    def _peer(self, sock: _socket.socket) -> Peer:
        peer = Peer(self._loop, sock, self._serve, self._gone, folder=self._request.bundle)
        self._peers.append(peer)
        return peer

    def _process(
        self,
        name: str,
        hooks: Hooks,
        *,
        program: str,
        tty: bool = False,
        stdin: bool = False,
        stdin_once: bool = False,
        size: tuple[int, int] = (0, 0),
    ) -> Process:
        process = Process(
            self._loop,
            self._reaper,
            folder=self._request.live,
            folder_fd=self._holdings.folder,
            name=name,
            program=program,
            tty=tty,
            stdin=stdin,
            stdin_once=stdin_once,
            size=size,
            on_started=hooks[0],
            on_failed=hooks[1],
            on_exit=hooks[2],
        )
        self._processes.append(process)
        return process

    # --- the container's own process -----------------------------------------------------------

    def _main_started(self, process: Process) -> None:
        self._began = time.monotonic()
        self._asked.clear()
        self._state = ContainerState(
            status="running",
            pid=process.pid,
            started_at=clock.now(),
            restart_count=self._state.restart_count,
            finished_at=self._state.finished_at,
            health="starting" if self._request.health[0] else "",
            network=self._networks.facts() if self._networks else EMPTY,
        )
        try:
            self._facts.running(self._state)
        except OSError as error:
            # Nobody could find it: it must not run. Its end is recorded as any other.
            process.kill_now()
            self._tell_failed(125, f"failed to create task for container: {error.filename}: {error.strerror}")
            return
        self._announce("start")
        text = jsontext.dumps_bytes({"pid": process.pid, "started_at": self._state.started_at})
        for peer in tuple(process.peers):
            peer.send(frames.STARTED, text)
        if self._orphaned or self._stay:
            process.kill_now()
        elif self._request.health[0]:
            self._watch_health()

    def _main_failed(self, process: Process, log: bytes) -> None:
        failure = oci.start_error(oci.last_error(log), process.program)
        again = {"status": "exited", "finished_at": clock.now()} if self._state.restart_count else {}
        self._state = ContainerState(exit_code=failure.exit_code, error=failure.message).replace(
            restart_count=self._state.restart_count, **again
        )
        self._recorded = self._facts.ended(self._state)
        self._tell_failed(failure.exit_code, failure.message)
        self._forget(process)
        self._finish()

    def _main_ended(self, process: Process) -> None:
        """Record the end before anything else, then tell everybody."""
        if process.log:
            process.log.flush()
        renewed = self._care.ended() if self._care else None
        if self._care:
            self._state = self._state.replace(health="unhealthy")
        killed = cgroup.out_of_memory(self._request.cgroup)
        pause = self._again(process.exit_code, renewed)
        self._state = self._state.replace(
            status="exited" if pause is None else "restarting",
            pid=0,
            exit_code=process.exit_code,
            oom_killed=killed,
            network=self._state.network if pause is not None else EMPTY,
            finished_at=clock.now(),
        )
        if pause is None:
            self._recorded = self._facts.ended(self._state)
        else:
            kernel.attempt(self._facts.running, self._state)
        if killed:
            self._announce("oom")
        ran = int(time.monotonic() - self._began)
        self._announce("die", exitCode=str(process.exit_code), execDuration=str(ran))
        if pause is None:
            self._end_with_exit()
        else:
            self._start_again(pause)

    def _end_with_exit(self) -> None:
        self._tell_all(frames.EXITED, self._exit_payload())
        if self._main in self._processes:
            self._forget(self._main)
        self._finish()

    def _exit_payload(self) -> bytes:
        return bytes((self._state.exit_code, self._state.oom_killed * frames.OUT_OF_MEMORY))

    # --- restart -------------------------------------------------------------------------------

    def _set_policy(self, name: str, limit: int) -> None:
        if self._policy:
            self._policy.name, self._policy.limit = name, limit
            return
        from tiffin.keeper.restart import Policy  # few containers have one

        self._policy = Policy(name, limit)

    def _again(self, code: int, renewed: float | None) -> float | None:
        """Return how long to wait before the process is started again; None if it is not."""
        stopped = self._stay or code - 128 in self._asked or self._asked & {_KILL, self._request.stop_signal}
        self._state = self._state.replace(stopped=bool(stopped))
        if stopped or self._leaving:
            return None
        if renewed is not None:
            return renewed
        return self._policy.again(code, time.monotonic() - self._began) if self._policy else None

    def _start_again(self, pause: float) -> None:
        """Tell of the end whoever waits for it, forget the process in the runtime, and wait."""
        for peer in tuple(self._peers):
            if peer.waits or peer.process is self._main:
                peer.send(frames.EXITED, self._exit_payload())
                peer.finish()
        self._processes.remove(self._main)
        self._reaper.collect(launch(oci.delete(self._request.runtime, self._request.container_id), []))
        self._main.drain()
        self._timer = self._loop.later(pause, self._restart)

    def _restart(self) -> None:
        log = self._main.log
        self._main = self._main_process()
        self._main.log = log
        self._state = self._state.replace(restart_count=self._state.restart_count + 1)
        try:
            self._run_main()
        except OSError as error:
            self._main_failed(self._main, f"{error.filename}: {error.strerror}".encode())

    def _end_with_host(self) -> None:
        """End the container because our scope is stopped: the host shuts down, or its user has logged out."""
        if self._leaving or self._ended:
            return
        self._leaving = True
        self._end_wait()
        kernel.attempt(self._main.kill, self._request.stop_signal)
        if self._state.status == "paused":
            self._freeze("resume")
        self._loop.later(_GRACE_SECONDS, lambda: kernel.attempt(self._main.kill, _KILL))

    def _stay_down(self) -> None:
        """Start it no more; where it waits for the next start, this is its end."""
        self._stay = True
        self._end_wait()

    def _end_wait(self) -> None:
        """Give up the next start where one is due."""
        if self._loop.cancel(self._timer):
            self._state = self._state.replace(status="exited", stopped=self._stay)
            self._recorded = self._facts.ended(self._state)
            self._end_with_exit()

    # --- health --------------------------------------------------------------------------------

    def _watch_health(self) -> None:
        if not self._care:
            from tiffin.keeper.care import Care  # few containers have one

            self._care = Care(
                self._loop,
                self._request,
                probe=self._execs.probe,
                kill=lambda number: kernel.attempt(self._main.kill, number),
                changed=self._health_is,
            )
        self._care.health.begin()

    def _health_is(self, word: str) -> None:
        self._state = self._state.replace(health=word)
        kernel.attempt(self._facts.running, self._state)
        self._announce(f"health_status: {word}")

    def _announce(self, action: str, **more: str) -> None:
        request = self._request
        if request.events:
            attributes = {**dict(request.attributes), **more}
            journal.append(request.events, "container", action, request.container_id, attributes)

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
        self._listener.close()
        self._holdings.forget_runtime(self._reaper, begun=self._main.started)
        self._main.drain()
        if self._main.log:
            self._main.log.close()
            self._main.log = None
        self._holdings.unmount()
        if self._networks:
            kernel.attempt(self._networks.close)
        self._holdings.release(facts=self._recorded)

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
                kernel.attempt(atomic.remove_tree, folder)
        elif self._request.cleanup:
            kernel.attempt(launch, list(self._request.cleanup), [])

    # --- further processes ---------------------------------------------------------------------

    def _forget(self, process: Process) -> None:
        self._processes.remove(process)
        self._settle()

    def _sweep(self, _events: int) -> None:
        if _TERMINATE in self._reaper.sweep():
            self._end_with_host()
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
            kernel.attempt(self._main.kill, _KILL)
        self._listener.hear()
        self._settle()

    def _attach(self, peer: Peer, data: bytes) -> None:
        frames.exactly(data, 1, "attach")
        if self._ended or peer.process or self._state.status == "restarting":
            peer.refuse("already attached" if peer.process else "the container is not running")
            return
        peer.started = False
        self._main.attach(peer, data[0])
        peer.waits = True
        peer.send(frames.DONE)

    def _wait(self, peer: Peer, _data: bytes) -> None:
        peer.waits = True

    def _execute(self, peer: Peer, data: bytes) -> None:
        if self._ended or self._state.status != "running":
            state = self._state.status if self._state.status in {"paused", "restarting"} else "not running"
            peer.refuse(f"the container is {state}")
            return
        self._execs.execute(peer, data)

    def _resize(self, peer: Peer, data: bytes) -> None:
        frames.exactly(data, 4, "resize")
        rows, columns = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
        (peer.process or self._main).resize(rows, columns)

    def _kill(self, peer: Peer, data: bytes) -> None:
        frames.exactly(data, 1, "kill")
        process = peer.process if peer.process in self._processes else self._main
        if process is self._main and self._state.restart_count and not process.started:
            self._stay = True  # it is just being started again, and ends then
            peer.send(frames.DONE)
            return
        if self._state.status == "restarting":
            peer.send(frames.DONE)
            self._stay_down()
            return
        try:
            process.kill(data[0])
        except OSError as error:
            peer.refuse(error.strerror or str(error))
            return
        if process is self._main:
            self._asked.add(data[0])
            self._announce("kill", signal=str(data[0]))
            if data[0] in {_KILL, self._request.stop_signal} and self._state.status == "paused":
                self._freeze("resume")  # a frozen process cannot even die
        peer.send(frames.DONE)

    def _verb(self, peer: Peer, data: bytes) -> None:
        if data == b"execs":
            peer.send(frames.DONE, self._execs.names())
            return
        word, _, rest = data.decode(errors="replace").partition(" ")
        if word == "stay" and not rest:
            peer.send(frames.DONE)
            self._stay_down()
            return
        reason = self._do(word, rest)
        peer.refuse(reason) if reason else peer.send(frames.DONE)

    def _do(self, word: str, rest: str) -> str:
        """Do what a verb says; return why it could not be done, "" if it was."""
        if word in {"update", "network"}:
            if self._ended:
                return "the container is not running"
            return self._execs.update(rest.encode()) if word == "update" else self._change_network(rest)
        name, _, limit = rest.partition(" ")
        if word == "policy" and limit.isdigit():
            self._set_policy(name, int(limit))
        elif word not in _FREEZING or rest:
            message = "keeper: unknown verb"
            raise Corrupt(message)
        elif self._ended or self._state.status == "restarting" or not self._freeze(word):
            return f"the runtime cannot {word} the container"
        return ""

    def _change_network(self, text: str) -> str:
        if not self._networks:
            return "the container has no network of its own"
        reason = self._networks.act(jsontext.load_object(text))
        self._state = self._state.replace(network=self._networks.facts())
        kernel.attempt(self._facts.running, self._state)
        return reason

    def _freeze(self, word: str) -> bool:
        """Pause or resume; tell whether it went well."""
        status, action = _FREEZING[word]
        command = oci.verb(self._request.runtime, word, self._request.container_id)
        if self._reaper.collect(launch(command, [])):
            return False
        self._state = self._state.replace(status=status)
        kernel.attempt(self._facts.running, self._state)
        self._announce(action)
        if self._care:
            (self._care.health.pause if word == "pause" else self._care.health.go_on)()
        return True

    def _acknowledge(self, peer: Peer, _data: bytes) -> None:
        self._acknowledged = peer is self._channel
        self._settle()
