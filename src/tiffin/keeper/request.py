"""StartRequest: everything that a keeper is told, in one packet over the channel."""

from __future__ import annotations

import marshal

from tiffin.keeper.confinement import Confinement
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StartRequest(Value):
    """What to run and how to keep it. Paths are absolute; the bundle holds a ready `config.json`.

    It travels by `marshal` (sender and receiver are the same installation: the keeper was forked or
    spawned for this one request), together with file descriptors that the keeper holds while the
    container lives.
    """

    container_id: str
    bundle: str
    live: str  # made by the keeper: socket, facts and pid files of the living
    state_path: str  # where the exit is recorded
    lock: str = ""  # a lock file that is held until everything is given back
    runtime: tuple[str, ...]  # path of the OCI runtime and its global options
    program: str = ""  # process.args[0], for the sentence that says it could not be started
    # The overlay mount: lower directories in `overlay` are relative to `base`; target "" mounts nothing.
    base: str = "/"
    target: str = ""
    overlay: str = ""
    premounts: tuple[tuple[str, ...], ...] = ()  # images and parts of volumes, see keeper.premount
    tty: bool = False
    rows: int = 0
    columns: int = 0
    stdin: bool = False  # a pipe (docker's OpenStdin); otherwise /dev/null
    stdin_once: bool = False
    bound: bool = False  # killed when the channel closes: a build's step, nobody's when its build is gone
    attach: int = 0  # what the channel itself is attached to: bits of frames.ATTACH
    log_path: str = ""  # "" logs nothing
    log_max_size: int = 0  # bytes; 0 never rotates
    log_max_file: int = 1
    log_compress: bool = False
    log_attributes: tuple[tuple[str, str], ...] = ()
    confinement: Confinement | None = None  # what is read back of each process; None believes the runtime
    cgroup: str = ""  # the config's cgroupsPath, "" where there is none
    scoped: bool = False  # found out by the keeper: it lives in a scope of systemd's, who may tell it to end
    cleanup: tuple[str, ...] = ()  # command that removes the container, when nobody acknowledged to do it
    restart: str = "no"  # docker's policies: no, on-failure, always, unless-stopped
    restart_limit: int = 0  # of on-failure; 0 is without end
    stop_signal: int = 15
    health: tuple[tuple[str, ...], int, int, int, int, int] = ((), 0, 0, 0, 0, 0)  # see keeper.health
    health_path: str = ""  # where the last results of the probes are kept
    events: str = ""  # the log of events; "" tells nobody
    attributes: tuple[tuple[str, str], ...] = ()  # what every event says of the container
    joined: tuple[str, ...] = ()  # what the first descriptors are of another container, see keeper.joining
    on_unhealthy: str = ""  # restart or kill; "" and none do nothing
    stop_timeout: int = 10  # seconds from the stop signal to the kill, where an unhealthy one is restarted
    network: dict[str, Any] | None = None  # see keeper.network; None where nothing is to be made
    discard: tuple[str, ...] = ()  # folders removed at the end, when acknowledged (or bound, and alone)

    def pack(self) -> bytes:
        """Return the packet."""
        confinement = self.confinement and self.confinement.as_dict()
        return marshal.dumps({**self.as_dict(), "confinement": confinement})

    @staticmethod
    def unpack(packet: bytes) -> StartRequest:
        """Read what `pack` wrote."""
        fields: dict[str, Any] = marshal.loads(packet)  # noqa: S302 - from our own process, see the class
        if fields["confinement"]:
            fields["confinement"] = Confinement(**fields["confinement"])
        return StartRequest(**fields)
