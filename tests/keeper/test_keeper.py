"""The keeper itself: killed, flooded, lied to; what it costs and where it lives."""

from __future__ import annotations

import _socket
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.keeper.parts import collect, expect, read_until, wait_until_gone
from tiffin.errors import Conflict
from tiffin.keeper import frames
from tiffin.settings import privilege
from tiffin.spec.container import ContainerConfig

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from tests.keeper.parts import Box


def raw(box: Box) -> _socket.socket:
    """Connect without manners."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    folder = os.open(box.live, os.O_PATH)
    sock.connect(f"/proc/self/fd/{folder}/{frames.SOCKET}")
    os.close(folder)
    return sock


def start_sleeper(box: Box) -> int:
    """Start a container that stays; return its keeper's pid."""
    with box.start("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
    return int(box.facts()["keeper"])


@pytest.mark.parametrize(
    "packet",
    [
        b"\x01",
        b"\x02A\x06",
        b"\x00",
        b"\x01?",
        b"\x01A",
        b"\x01A\x01\x02",
        b"\x01Iwithout a grant",
        b"\x01R\x00",
        b"\x01K",
        b"\x01Vdestroy",
        b"\x01E",
        b"\x01E{",
        b"\x01E[]",
        b'\x01E{"process":7}',
        b"\x01E" + b"[" * 60_000,
        b"\x01P" + b"x" * 65_537,
        b"\xff" * 65_000,
    ],
)
def test_a_hostile_frame_costs_the_connection_only(crun_box: Box, packet: bytes) -> None:
    """Junk is answered by N and a closed connection; the container and its keeper go on."""
    start_sleeper(crun_box)
    sock = raw(crun_box)
    sock.send(packet)
    assert sock.recv(70_000)[:2] == b"\x01N"
    assert sock.recv(70_000) == b""
    sock.close()
    with crun_box.execute("true") as connection:
        assert collect(connection)[2] == 0


def test_an_endless_exec_is_cut_off(crun_box: Box) -> None:
    """Parts of an exec beyond the limit end the connection."""
    start_sleeper(crun_box)
    sock = raw(crun_box)
    sent = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < 100:
            sock.send(b"\x01P" + b"x" * 65_000, _socket.MSG_NOSIGNAL)
            sent += 1
    assert sent < 70
    sock.close()


def test_descriptors_that_are_sent_are_not_kept(crun_box: Box) -> None:
    """Descriptors in a packet's ancillary data end up nowhere."""
    keeper = start_sleeper(crun_box)
    sock = raw(crun_box)
    sock.send(b"\x01K\x00")
    assert sock.recv(100) == b"\x01D"
    before = os.listdir(f"/proc/{keeper}/fd")
    numbers = b"".join(n.to_bytes(4, sys.byteorder) for n in (0, 1, 2))
    sock.sendmsg([b"\x01K\x00"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    assert sock.recv(100) == b"\x01D"
    assert os.listdir(f"/proc/{keeper}/fd") == before
    sock.close()


def test_many_connections_that_say_nothing(crun_box: Box) -> None:
    """Idle connections hinder nobody, and are gone when the container is."""
    start_sleeper(crun_box)
    idle = [raw(crun_box) for _ in range(200)]
    with crun_box.execute("echo", "hi") as connection:
        assert collect(connection)[0] == b"hi\n"
    with crun_box.connect() as connection:
        connection.kill(9)
    crun_box.wait_for_keeper()
    for sock in idle:
        sock.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_signals_of_a_dying_session_are_ignored(crun_box: Box, number: int) -> None:
    """The end of the caller's session does not end the keeper."""
    if number == signal.SIGTERM and privilege().manager:
        number = signal.SIGHUP  # TERM comes from systemd alone, see the test of scopes
    keeper = start_sleeper(crun_box)
    os.kill(keeper, number)
    with crun_box.execute("echo", "hi") as connection:
        assert collect(connection)[0] == b"hi\n"


def test_the_keeper_is_a_world_of_its_own(crun_box: Box) -> None:
    """Own session, own mount namespace, own cgroup, null streams, in the root folder."""
    keeper = start_sleeper(crun_box)
    assert os.getsid(keeper) == os.getsid(keeper) != os.getsid(0)
    assert os.readlink(f"/proc/{keeper}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    assert os.readlink(f"/proc/{keeper}/cwd") == "/"
    assert {os.readlink(f"/proc/{keeper}/fd/{n}") for n in (0, 1, 2)} == {"/dev/null"}
    with open(f"/proc/{keeper}/cgroup") as stream:
        trees = [line.strip().split(":") for line in stream]
    tracked = [path for _, name, path in trees if name in {"", "name=systemd"}]
    if privilege().manager:
        assert re.fullmatch(r"/tiffin\.slice/tiffin-[-0-9a-f]+\.scope/keeper", tracked[0])
    else:
        assert set(tracked) == {"/tiffin/keepers"}


def test_a_scope_that_is_stopped_ends_the_container(crun_box: Box) -> None:
    """In a scope TERM is the host's shutdown: the stop signal, the exit recorded, and nobody's wish."""
    script = "trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done"
    options = {"stop_signal": int(signal.SIGUSR1), "restart": "always", "scoped": True}
    with crun_box.start("sh", "-c", script, **options) as connection:
        read_until(connection, b"up")
        os.kill(crun_box.facts()["keeper"], signal.SIGTERM)
        assert expect(connection, frames.EXITED).exit_code == 7
    crun_box.wait_for_keeper()
    state = crun_box.state()
    assert (state["status"], state["exit_code"], state["stopped"]) == ("exited", 7, False)


def test_a_killed_keeper_leaves_facts_that_tell(box: Box) -> None:
    """After kill -9 the facts name a keeper that is dead, and the process is still there to be killed."""
    keeper = start_sleeper(box)
    facts = box.facts()
    os.kill(keeper, signal.SIGKILL)
    wait_until_gone(keeper)
    assert box.facts() == facts
    with pytest.raises(Conflict):
        box.connect()
    os.kill(facts["pid"], signal.SIGKILL)
    wait_until_gone(facts["pid"])
    # As the next command will: with the same view of the cgroups that the keeper had.
    hidden = "umount /sys/fs/cgroup/unified 2>/dev/null; exec $0 $@"
    command = ["unshare", "-m", "sh", "-c", hidden, *box.prefix, "delete", "--force", box.id]
    subprocess.run(command, check=True)


def test_an_early_fork_does_the_same(crun_box: Box, tmp_path: object) -> None:
    """A keeper forked by a command works as a spawned one does, and outlives the command."""
    request = f"{tmp_path}/request"
    with open(request, "wb") as stream:
        stream.write(crun_box.request("sh", "-c", "echo hi; sleep 0.2; echo later").pack())
    program = (
        "import sys\n"
        "from tiffin.keeper.early import fork\n"
        "channel = fork()\n"
        "from tiffin.keeper import client\n"
        "from tiffin.keeper.request import StartRequest\n"
        "connection = client.start(channel, StartRequest.unpack(open(sys.argv[1], 'rb').read()))\n"
        "print(connection.recv().kind, connection.recv().data)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, request], capture_output=True, check=True)
    assert result.stdout == b"S b'hi\\n'\n"
    with crun_box.connect() as connection:
        connection.wait()
        assert expect(connection, frames.EXITED).exit_code == 0
    assert [entry["log"] for entry in crun_box.log()] == ["hi\n", "later\n"]


def test_auto_remove_is_left_to_whoever_acknowledges(crun_box: Box, tmp_path: object) -> None:
    """A client that promises to clean up spares the cleanup command; the folders are removed for it."""
    folder, mark = f"{tmp_path}/discard", f"{tmp_path}/mark"
    os.makedirs(f"{folder}/upper/x")
    cleanup = ("/bin/busybox", "touch", mark)
    with crun_box.start("true", cleanup=cleanup, discard=(folder,)) as connection:
        assert collect_until_exit(connection) == 0
        connection.acknowledge()
        assert connection.recv() is None
    crun_box.wait_for_keeper()
    assert (os.path.exists(folder), os.path.exists(mark)) == (False, False)


def test_auto_remove_is_done_by_the_keeper_otherwise(crun_box: Box, tmp_path: object) -> None:
    """Nobody promised: the cleanup command runs, once, after the end."""
    fifo = f"{tmp_path}/fifo"
    os.mkfifo(fifo)
    cleanup = ("/bin/busybox", "sh", "-c", f"echo cleaned >{fifo}")
    with crun_box.start("sleep", "1000", cleanup=cleanup) as connection:
        expect(connection, frames.STARTED)
    with crun_box.connect() as connection:
        connection.kill(9)
    with open(fifo) as stream:
        assert stream.read() == "cleaned\n"
    assert crun_box.state()["status"] == "exited"


def test_only_the_starter_can_promise_to_clean_up(crun_box: Box, tmp_path: object) -> None:
    """Somebody else's promise does not count, and nobody else is waited for."""
    fifo = f"{tmp_path}/fifo"
    os.mkfifo(fifo)
    cleanup = ("/bin/busybox", "sh", "-c", f"echo cleaned >{fifo}")
    with crun_box.start("sleep", "1000", cleanup=cleanup) as connection:
        expect(connection, frames.STARTED)
    with crun_box.connect() as other, crun_box.connect() as killer:
        other.wait()
        other.acknowledge()
        killer.kill(9)
        with open(fifo) as stream:
            assert stream.read() == "cleaned\n"
        assert expect(other, frames.EXITED).exit_code == 137
        assert other.recv() is None


def collect_until_exit(connection: object) -> int:
    while frame := connection.recv():  # type: ignore[attr-defined]
        if frame.kind == frames.EXITED:
            return int(frame.exit_code)
    return -1


def test_memory_of_an_idle_keeper(crun_box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """A spawned keeper's share of memory stays small; the figure is printed."""
    keeper = start_sleeper(crun_box)
    with open(f"/proc/{keeper}/smaps_rollup") as stream:
        pss = next(int(line.split()[1]) for line in stream if line.startswith("Pss:"))
    with capsys.disabled():
        print(f"\nkeeper: PSS {pss / 1024:.1f} MiB")
    assert pss < 12_000


def test_memory_does_not_grow_with_output(crun_box: Box) -> None:
    """100 MB of output through a keeper leave it as small as it was."""
    with crun_box.start(
        "sh", "-c", "yes | head -c 100000000; echo; echo done; sleep 1000", log_path=""
    ) as connection:
        read_until_done(connection)
        keeper = crun_box.facts()["keeper"]
        with open(f"/proc/{keeper}/status") as stream:
            peak = next(int(line.split()[1]) for line in stream if line.startswith("VmHWM"))
        assert peak < 30_000


def read_until_done(connection: object) -> None:
    tail = b""
    while b"done\n" not in tail:
        frame = connection.recv()  # type: ignore[attr-defined]
        assert frame is not None
        tail = (tail + frame.data)[-16:]


def test_ten_at_once(make_box: Callable[[str], Box]) -> None:
    """Keepers do not get into each other's way."""
    boxes = [make_box("crun") for _ in range(10)]
    connections = [box.start("sh", "-c", f"echo {n}; exit {n}") for n, box in enumerate(boxes)]
    assert [collect(c) for c in connections] == [(b"%d\n" % n, b"", n) for n in range(10)]
    for connection in connections:
        connection.close()


def test_a_terminal_is_closed_with_its_container(crun_box: Box) -> None:
    """The keeper of a terminal keeps running and answers while nobody is attached."""
    with crun_box.start("cat", config=ContainerConfig(tty=True, open_stdin=True)) as connection:
        expect(connection, frames.STARTED)
    with crun_box.connect() as connection:
        connection.attach(stdin=True, stdout=True, stderr=True)
        connection.send_stdin(b"again\n")
        read_until(connection, b"again\r\nagain\r\n")


def test_a_full_disk_does_not_lose_the_exit(crun_box: Box, tmp_path: object) -> None:
    """An exit that cannot be recorded where it belongs is kept among the facts of the living."""
    box = crun_box
    with box.start("sh", "-c", "exit 5", state_path="/dev/full/no/state") as connection:
        assert collect(connection) == (b"", b"", 5)
    facts = box.facts()
    assert (facts["status"], facts["exit_code"]) == ("exited", 5)
    wait_until_gone(facts["keeper"])


def test_a_live_folder_that_cannot_be_made(crun_box: Box) -> None:
    """Without a place for its facts a container does not start, and says why."""
    crun_box.live = "/proc/no/such/folder"
    _out, message, code = crun_box.run("true")
    assert (code, b"/proc/no" in message) == (125, True)


def test_a_killed_runtime_has_no_child_that_goes_on(
    make_box: Callable[[str], Box], tmp_path: pathlib.Path
) -> None:
    """What a runtime had begun when it was killed is ended with it, before all is said to be given back."""
    gate, begun, program = tmp_path / "gate", tmp_path / "begun", tmp_path / "dying"
    os.mkfifo(gate)
    os.mkfifo(begun)
    program.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" create "*) (exec 3<>{gate}; echo >{begun}; read x <&3) &\n'
        f"read x <{begun}; kill -9 $$;; esac\n"
        f'exec {shutil.which("crun")} "$@"\n'
    )
    program.chmod(0o755)
    with make_box(str(program)).start("true") as connection:
        expect(connection, frames.FAILED)
        assert connection.recv() is None  # everything has been given back
    with pytest.raises(OSError, match="No such device or address"):  # nobody has it open for reading
        os.open(gate, os.O_WRONLY | os.O_NONBLOCK)


def test_a_log_that_cannot_be_opened(crun_box: Box) -> None:
    """The start fails with 125, and the container that was being made is gone."""
    _out, message, code = crun_box.run("sleep", "1000", log_path=f"{crun_box.folder}/no/log")
    assert (code, b"No such file or directory" in message) == (125, True)
    assert crun_box.leftovers() == []


def test_many_short_execs_leave_no_descriptors(crun_box: Box) -> None:
    """A keeper that has served many execs is as it was before."""
    keeper = start_sleeper(crun_box)
    counts = []
    for _ in range(3):
        for _ in range(5):
            with crun_box.execute("true") as connection:
                assert collect(connection)[2] == 0
        with crun_box.connect() as connection:
            connection.kill(0)
            counts.append(len(os.listdir(f"/proc/{keeper}/fd")))
    assert counts[0] == counts[1] == counts[2]
    with open(f"/proc/{keeper}/task/{keeper}/children") as stream:
        assert len(stream.read().split()) == 1
