"""A container that an older tiffin started is managed by this one: its keeper is a recorded one.

`recorded/keeper-1.zip` is what the keeper of protocol version 1 consisted of (27 modules of November 2026,
as they stood). It is never changed; a new version of the protocol brings a second file beside it.
"""

from __future__ import annotations

import json
import marshal
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rungs import PRIVILEGE
from tiffin.engine.bundle import start_request, supervision
from tiffin.engine.exec import ExecRequest
from tiffin.keeper import frames
from tiffin.keeper.client import Connection
from tiffin.spec.container import ContainerConfig, Healthcheck, HostConfig, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine

RECORDED = os.path.join(os.path.dirname(__file__), "recorded", "keeper-1.zip")
_FIRST = "import sys; sys.path.insert(0, sys.argv[1]); from tiffin.keeper"


class OldZygote:
    """The recorded keeper's own zygote."""

    def __init__(self) -> None:
        """Start it, and ask which members of a request it knows."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = f"{_FIRST}.main import zygote; zygote(int(sys.argv[2]))"
        words = [sys.executable, "-I", "-S", "-c", program, RECORDED, str(theirs.fileno())]
        subprocess.run(words, pass_fds=(theirs.fileno(),), check=True)
        theirs.close()
        self.control = ours
        program = f"{_FIRST}.request import StartRequest; print(*StartRequest._fields)"
        words = [sys.executable, "-I", "-S", "-c", program, RECORDED]
        self.members = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()

    def start(self, engine: Engine, container: str) -> None:
        """Start a container with a keeper of then."""
        record = engine.containers.get(container)
        request = start_request(engine, record, attach=0, size=(0, 0))
        fields = request.replace(**supervision(engine.store, record)).as_dict()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.control, [b"k"], [theirs.fileno()])
        theirs.close()
        ours.send(marshal.dumps({key: fields[key] for key in self.members}))
        with Connection(ours, container) as channel:
            frame = channel.recv()
            assert frame is not None
            assert frame.kind == frames.STARTED, frame


@pytest.fixture(scope="module")
def old() -> Iterator[OldZygote]:
    """One zygote for all of them."""
    zygote = OldZygote()
    yield zygote
    zygote.control.close()


def make(engine: Engine, *command: str, **host: object) -> str:
    """Create a container; a keeper of then knew no networks but the host's, and none by its spec."""
    config = ContainerConfig(
        image="base:1",
        cmd=command,
        healthcheck=Healthcheck(test=("CMD", "true"), interval=20_000_000),
    )
    return engine.containers.create(config, HostConfig(network_mode="host", **host)).id


def test_everything_that_is_asked_of_a_keeper(engine: Engine, old: OldZygote) -> None:
    """ps, exec, attach, logs, pause, update, kill, wait, stop and rm do with it what they do with ours."""
    script = "trap 'echo told; exit 6' TERM; echo up; while :; do sleep 0.01; done"
    container = make(engine, "sh", "-c", script, **({"memory": 64 << 20} if PRIVILEGE.cgroups else {}))
    old.start(engine, container)
    containers = engine.containers
    assert containers.state(container).status == "running"
    for event in engine.system.events(since="1", filters={"container": [container]}):
        if event.action == "health_status: healthy":
            break
    with containers.exec(container, ExecRequest(argv=("sh", "-c", "echo hi; exit 4"))) as connection:
        said, code = b"", -1
        while (frame := connection.recv()) is not None:
            said += frame.data if frame.kind == frames.OUTPUT else b""
            code = frame.exit_code if frame.kind == frames.EXITED else code
        assert (said, code) == (b"hi\n", 4)
    if PRIVILEGE.cgroups:
        containers.pause(container)
        assert containers.state(container).status == "paused"
        containers.unpause(container)
        containers.update(container, memory=80 << 20)
    containers.update(container, restart_policy=RestartPolicy(name="always"))
    assert json.loads(json.dumps(containers.inspect(container)))["ExecIDs"] is None
    with containers.attach(container) as attached:
        containers.stop(container)
        last = None
        while (frame := attached.recv()) is not None:
            last = frame
        assert last is not None
        assert (last.kind, last.exit_code) == (frames.EXITED, 6)
    assert containers.wait(container) == 6
    assert [entry.data for entry in containers.logs(container)] == [b"up\n", b"told\n"]
    containers.start(container).close()  # by a keeper of ours
    containers.remove(container, force=True)


def test_an_old_keeper_is_forced_and_killed(engine: Engine, old: OldZygote) -> None:
    """A kill and a forced removal are the same with it."""
    container = make(engine, "sleep", "1000")
    old.start(engine, container)
    engine.containers.kill(container, "KILL")
    assert engine.containers.wait(container) == 137
    old.start(engine, container)
    engine.containers.remove(container, force=True)
    assert engine.containers.list(all=True) == ()
