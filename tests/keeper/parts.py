"""A container with nothing but busybox in it, started through a real keeper and a real runtime."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
from typing import TYPE_CHECKING, Any

from tiffin.errors import Conflict
from tiffin.keeper import client, frames
from tiffin.keeper.confinement import Confinement
from tiffin.keeper.request import StartRequest
from tiffin.keeper.zygote import Zygote
from tiffin.runtime import bundle, capabilities, oci, seccomp, specgen
from tiffin.runtime.machine import Machine
from tiffin.runtime.security import parse
from tiffin.runtime.user import User
from tiffin.spec import jsontext
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from tiffin.keeper.client import Connection

PATIENCE_MS = 20_000
APPLETS = (
    *(
        "sh",
        "cat",
        "echo",
        "sleep",
        "true",
        "false",
        "id",
        "ls",
        "stty",
        "seq",
        "head",
        "kill",
        "wc",
        "yes",
        "dd",
    ),
    *(
        "test",
        "mount",
        "env",
        "hostname",
        "ip",
        "stat",
        "touch",
        "df",
        "grep",
        "tty",
        "printf",
        "unshare",
        "ps",
    ),
)
BOTH = frames.STDOUT | frames.STDERR


def make_rootfs(folder: str) -> str:
    """Make a root file system of one program with many names; return its path."""
    os.makedirs(f"{folder}/bin")
    for name in ("etc", "proc", "sys", "dev", "tmp", "root"):
        os.makedirs(f"{folder}/{name}")
    shutil.copy("/bin/busybox", f"{folder}/bin/busybox")
    for name in APPLETS:
        os.symlink("busybox", f"{folder}/bin/{name}")
    with open(f"{folder}/etc/passwd", "w") as stream:
        stream.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    return folder


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process (of anybody's)."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    assert poller.poll(PATIENCE_MS), f"process {pid} is still there"
    os.close(handle)


class Box:
    """One container: its bundle, its request, and what is left of it."""

    def __init__(self, folder: str, rootfs: str, runtime: str, container_id: str) -> None:
        """Make the bundle's folder; `runtime` is crun or runc."""
        self.id = container_id
        self.rootfs = rootfs
        self.folder = f"{folder}/containers/{container_id}"
        self.live = f"{folder}/run/{container_id}"
        self.cache = f"{folder}/seccomp"
        self.runtime = oci.find(runtime)
        self.prefix = oci.prefix(self.runtime, f"{folder}/{runtime}")
        self.machine = Machine.here()
        os.makedirs(self.folder)
        bundle.write_etc(self.folder, hostname="box")

    @property
    def log_path(self) -> str:
        """Where the output is logged."""
        return f"{self.folder}/json.log"

    def spec(self, config: ContainerConfig, host: HostConfig, user: User, **more: Any) -> dict[str, Any]:
        """Return the runtime's configuration as the engine makes it."""
        security = parse(host.security_opt)
        granted = capabilities.granted(
            host.cap_add, host.cap_drop, privileged=host.privileged, available=self.machine.capabilities
        )
        option = "unconfined" if host.privileged else security.seccomp
        return specgen.generate(
            config,
            host,
            container_id=self.id,
            rootfs=self.rootfs,
            process_user=user,
            hostname="box",
            files=self.folder,
            machine=self.machine,
            security=security,
            filter=seccomp.choose(option, granted, self.machine, runtime=self.runtime, cache=self.cache),
            granted=granted,
            **{"mounts": (), "network": specgen.Network(), **more},
        )

    def request(
        self,
        *args: str,
        config: ContainerConfig | None = None,
        host: HostConfig | None = None,
        user: User | None = None,
        more: dict[str, Any] | None = None,
        **changes: Any,
    ) -> StartRequest:
        """Write the bundle and return the request for it; `changes` are the request's own fields."""
        config = (config or ContainerConfig()).replace(cmd=args)
        spec = self.spec(config, host or HostConfig(), user or User(), **(more or {}))
        bundle.write_config(self.folder, spec)
        fields = {
            "container_id": self.id,
            "bundle": self.folder,
            "live": self.live,
            "state_path": f"{self.folder}/state",
            "runtime": self.prefix,
            "program": args[0],
            "tty": config.tty,
            "stdin": config.open_stdin,
            "stdin_once": config.stdin_once,
            "attach": BOTH | (frames.STDIN if config.open_stdin else 0),
            "log_path": self.log_path,
            "confinement": Confinement.of(spec["process"], filtered=seccomp.filters(spec)),
            "cgroup": specgen.cgroup_path(self.id),
        }
        return StartRequest(**{**fields, **changes})

    def start(self, *args: str, **options: Any) -> Connection:
        """Start a program and return the attached connection."""
        with Zygote() as zygote:
            return client.start(zygote.take(), self.request(*args, **options))

    def run(self, *args: str, **options: Any) -> tuple[bytes, bytes, int]:
        """Run a program to its end; return output, errors and exit code."""
        with self.start(*args, **options) as connection:
            return collect(connection)

    def connect(self) -> Connection:
        """Connect to the living container."""
        return client.connect(self.live)

    def execute(self, *args: str, tty: bool = False, user: User | None = None, **options: Any) -> Connection:
        """Start one more process in it; return its connection."""
        config = ContainerConfig(tty=tty)
        security = parse(())
        process = specgen.process_of(
            config,
            user=user or User(),
            granted=capabilities.DEFAULT,
            args=args,
            env=specgen.environment(config, "box", "/root"),
            security=security,
        )
        connection = self.connect()
        connection.execute(process, **options)
        return connection

    def state(self) -> dict[str, Any]:
        """Return the exit record."""
        with open(f"{self.folder}/state", "rb") as stream:
            return jsontext.load_object(stream.read())

    def facts(self) -> dict[str, Any]:
        """Return the facts of the living."""
        with open(f"{self.live}/state", "rb") as stream:
            return jsontext.load_object(stream.read())

    def log(self) -> list[dict[str, Any]]:
        """Return the log's entries."""
        with open(self.log_path, "rb") as stream:
            return [jsontext.load_object(line) for line in stream]

    def wait_for_keeper(self) -> None:
        """Wait until the keeper of the ended container has gone."""
        try:
            keeper = self.facts()["keeper"]
        except FileNotFoundError:  # it is past that
            keeper = self.state()["keeper"]
        wait_until_gone(keeper)

    def end(self) -> None:
        """Kill what still runs, and wait for the keeper."""
        with contextlib.suppress(Conflict), self.connect() as connection:
            connection.kill(9)
        with contextlib.suppress(FileNotFoundError):
            self.wait_for_keeper()

    def leftovers(self) -> list[str]:
        """Return what a container that has ended should not have left."""
        left = [self.live] if os.path.exists(self.live) else []
        with open("/proc/self/mountinfo") as lines:
            left += [line for line in lines if self.id in line]
        for tree, folders, _files in os.walk("/sys/fs/cgroup"):
            if tree.count("/") >= 5:
                folders.clear()
            left += [f"{tree}/{name}" for name in folders if name == self.id]
        return left


def collect(connection: Connection) -> tuple[bytes, bytes, int]:
    """Read a connection to its end; return output, errors and exit code (-1: it broke off)."""
    streams: dict[str, list[bytes]] = {frames.OUTPUT: [], frames.ERRORS: []}
    code = -1
    while frame := connection.recv():
        if frame.kind in streams:
            assert code == -1, "output after the exit"
            streams[frame.kind].append(frame.data)
        elif frame.kind in {frames.EXITED, frames.FAILED}:
            code = frame.exit_code
            if frame.kind == frames.FAILED:
                streams[frames.ERRORS] = [frame.text.encode()]
    return b"".join(streams[frames.OUTPUT]), b"".join(streams[frames.ERRORS]), code


def expect(connection: Connection, kind: str) -> frames.Frame:
    """Return the next frame, which must be of this kind (grants of input are passed over)."""
    while True:
        frame = connection.recv()
        assert frame is not None, f"the connection ended; {kind} was expected"
        if frame.kind != frames.QUOTA or kind == frames.QUOTA:
            assert frame.kind == kind, frame
            return frame


def read_until(connection: Connection, wanted: bytes) -> bytes:
    """Read output until it holds the wanted bytes."""
    out = b""
    while wanted not in out:
        frame = connection.recv()
        assert frame is not None, out
        if frame.kind in {frames.OUTPUT, frames.ERRORS}:
            out += frame.data
        assert frame.kind != frames.EXITED, out
    return out
