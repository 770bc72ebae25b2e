"""Terminals, input, attaching, exec: everything that goes in and out while a container runs."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import pytest

from tests.keeper.parts import collect, expect, read_until
from tiffin.errors import Conflict
from tiffin.keeper import frames
from tiffin.runtime.user import User
from tiffin.spec.container import ContainerConfig

if TYPE_CHECKING:
    from tests.keeper.parts import Box

INTERACTIVE = ContainerConfig(open_stdin=True, stdin_once=True)
TERMINAL = ContainerConfig(open_stdin=True, stdin_once=True, tty=True)


# --- input --------------------------------------------------------------------------------------


def test_input_is_copied_and_ends(box: Box) -> None:
    """`-i`: what is sent comes in, then the end of it."""
    with box.start("cat", config=INTERACTIVE) as connection:
        connection.send_stdin(b"one\n")
        connection.send_stdin(b"two\n")
        connection.close_stdin()
        assert collect(connection) == (b"one\ntwo\n", b"", 0)


def test_a_lot_of_input_goes_through(crun_box: Box) -> None:
    """Much more input than any buffer holds arrives whole, by the quota's rules."""
    total = 10_000_000
    with crun_box.start("sh", "-c", "wc -c", config=INTERACTIVE, log_path="") as connection:
        expect(connection, frames.STARTED)
        left = total
        while left:
            while not connection.input_quota:
                expect(connection, frames.QUOTA)
            count = min(left, connection.input_quota, 30_000)
            connection.send_stdin(b"x" * count)
            left -= count
        connection.close_stdin()
        out, _err, code = collect(connection)
        assert (int(out), code) == (total, 0)


def test_input_that_nobody_reads_blocks_nothing_else(box: Box) -> None:
    """With the pipe full and the quota used up, a signal on the same connection still arrives."""
    with box.start("sleep", "1000", config=INTERACTIVE) as connection:
        expect(connection, frames.STARTED)
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        while connection.input_quota or poller.poll(300):
            if connection.input_quota:
                connection.send_stdin(b"x" * connection.input_quota)
            else:
                expect(connection, frames.QUOTA)
        with pytest.raises(ValueError, match="granted"):
            connection.send_stdin(b"x")
        connection.send_kill(9)
        expect(connection, frames.DONE)
        assert collect(connection)[2] == 137


def test_stdin_once_ends_with_the_client(crun_box: Box) -> None:
    """With `-i` in the foreground the input ends when that client leaves."""
    connection = crun_box.start("sh", "-c", "cat >/dev/null; echo end; sleep 1000", config=INTERACTIVE)
    expect(connection, frames.STARTED)
    with crun_box.connect() as other:
        other.attach(stdin=False, stdout=True, stderr=True)
        connection.close()
        read_until(other, b"end\n")


def test_open_stdin_stays_open(crun_box: Box) -> None:
    """Without "stdin once" (`-d -i`) a client's end of input is not the container's."""
    script = "while read line; do echo got $line; done; echo never"
    connection = crun_box.start("sh", "-c", script, config=ContainerConfig(open_stdin=True))
    connection.send_stdin(b"one\n")
    read_until(connection, b"got one\n")
    connection.close_stdin()
    connection.close()
    with crun_box.connect() as other:
        other.attach(stdin=True, stdout=True, stderr=True)
        other.send_stdin(b"two\n")
        assert read_until(other, b"got two\n") == b"got two\n"


def test_input_to_a_program_that_has_closed_it(crun_box: Box) -> None:
    """Input that nobody will read is dropped and granted again; the container goes on."""
    with crun_box.start("sh", "-c", "exec <&-; echo closed; sleep 1000", config=INTERACTIVE) as connection:
        read_until(connection, b"closed\n")
        for _ in range(5):
            connection.send_stdin(b"x" * 60_000)
            while connection.input_quota < frames.INPUT_QUOTA:
                expect(connection, frames.QUOTA)
        connection.send_kill(9)
        expect(connection, frames.DONE)
        assert collect(connection)[2] == 137


# --- terminals ----------------------------------------------------------------------------------


def test_a_terminal_echoes_and_translates(box: Box) -> None:
    """With `-t` the streams are one terminal: input is echoed, lines end in CR LF."""
    with box.start(
        "sh", "-c", "test -t 0 && test -t 2 && read x && echo got $x >&2", config=TERMINAL
    ) as connection:
        expect(connection, frames.STARTED)
        connection.send_stdin(b"hi\n")
        assert collect(connection) == (b"hi\r\ngot hi\r\n", b"", 0)
    assert [(e["log"], e["stream"]) for e in box.log()] == [("hi\r\n", "stdout"), ("got hi\r\n", "stdout")]


def test_a_terminal_has_its_size_from_the_start(box: Box) -> None:
    """The first thing that a program sees is the right size."""
    more = {"size": (33, 111)}
    assert box.run("stty", "size", config=TERMINAL, more=more, rows=33, columns=111)[0] == b"33 111\r\n"


def test_a_terminal_is_resized(box: Box) -> None:
    """A resize arrives, with its signal."""
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    more = {"size": (10, 20)}
    with box.start("sh", "-c", script, config=TERMINAL, more=more, rows=10, columns=20) as connection:
        read_until(connection, b"ready\r\n")
        connection.resize(40, 132)
        assert collect(connection) == (b"40 132\r\n", b"", 0)


def test_control_c_interrupts(box: Box) -> None:
    """The terminal controls its program: the interrupt character becomes a signal."""
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with box.start("sh", "-c", script, config=TERMINAL) as connection:
        read_until(connection, b"ready\r\n")
        connection.send_stdin(b"\x03")
        out, _err, code = collect(connection)
        assert (b"caught" in out, code) == (True, 9)


def test_a_terminal_loses_nothing_at_the_end(crun_box: Box) -> None:
    """Everything written to a terminal right before the exit arrives."""
    out, _err, code = crun_box.run("seq", "20000", config=ContainerConfig(tty=True))
    assert code == 0
    assert out.decode().split() == [str(n) for n in range(1, 20001)]


def test_a_missing_program_with_a_terminal(box: Box) -> None:
    """A start that fails leaves no terminal behind."""
    assert box.run("nope", config=TERMINAL)[2] == 127
    box.wait_for_keeper()
    assert box.leftovers() == []


# --- attach -------------------------------------------------------------------------------------


def test_two_clients_see_the_same(box: Box) -> None:
    """Each attached client gets all output from its attaching on, and the exit."""
    with box.start("cat", config=ContainerConfig(open_stdin=True)) as first:
        expect(first, frames.STARTED)
        with box.connect() as second:
            second.attach(stdin=True, stdout=True, stderr=True)
            second.send_stdin(b"from two\n")
            read_until(first, b"from two\n")
            first.send_stdin(b"from one\n")
            assert read_until(second, b"from one\n") == b"from two\nfrom one\n"
            with box.connect() as third:
                third.kill(9)
            assert (collect(first)[2], collect(second)[2]) == (137, 137)


def chatter(size: int) -> tuple[str, str, str]:
    """Return a program that waits for a line, then prints so many bytes."""
    return ("sh", "-c", f"read x; yes | head -c {size}; read y")


def test_readers_that_stop_stop_nobody_else(crun_box: Box) -> None:
    """Neither the starter nor an observer that reads nothing stops the process or the others; all is kept."""
    size = 30_000_000
    config = ContainerConfig(open_stdin=True)
    with crun_box.start(*chatter(size), config=config, log_path="") as starter:
        expect(starter, frames.STARTED)
        with crun_box.connect() as idle, crun_box.connect() as reader:
            idle.attach(stdin=False, stdout=True, stderr=True)
            reader.attach(stdin=True, stdout=True, stderr=True)
            reader.send_stdin(b"go\n")
            seen = 0
            while seen < size:  # it could not get this far if it were held back
                frame = reader.recv()
                assert frame is not None
                seen += len(frame.data) if frame.kind == frames.OUTPUT else 0
            reader.send_stdin(b"end\n")
            assert collect(reader)[2] == 0
            for late in (starter, idle):
                output, _, code = collect(late)
                assert (len(output), code) == (size, 0)


def test_an_observer_too_far_behind_is_cut_off(crun_box: Box) -> None:
    """Beyond 64 MiB it gets what was kept and a word about the rest; the others get everything."""
    size = 100_000_000
    config = ContainerConfig(open_stdin=True)
    with crun_box.start(*chatter(size), config=config, log_path="", attach=0) as starter:
        expect(starter, frames.STARTED)
        with crun_box.connect() as idle, crun_box.connect() as reader:
            idle.attach(stdin=False, stdout=True, stderr=True)
            reader.attach(stdin=True, stdout=True, stderr=True)
            reader.send_stdin(b"go\nend\n")
            output, _, code = collect(reader)
            assert (len(output), code) == (size, 0)
            kept, last = 0, ""
            while frame := idle.recv():
                kept += len(frame.data) if frame.kind == frames.OUTPUT else 0
                last = frame.text if frame.kind == frames.NOT_DONE else last
            assert 60 << 20 < kept < size
            assert "fell more than 64 MiB behind" in last


def test_wait_tells_the_exit_only(box: Box) -> None:
    """`wait` hears of the end and of nothing else."""
    with box.start(
        "sh", "-c", "read x; echo noise; exit 6", config=ContainerConfig(open_stdin=True)
    ) as connection:
        expect(connection, frames.STARTED)
        with box.connect() as waiter:
            waiter.wait()
            connection.send_stdin(b"\n")
            frame = waiter.recv()
            assert frame
            assert (frame.kind, frame.exit_code, waiter.recv()) == (frames.EXITED, 6, None)


def test_connecting_to_what_does_not_run(crun_box: Box) -> None:
    """Without a keeper there is docker's word for it."""
    with pytest.raises(Conflict, match=f"container {crun_box.id} is not running"):
        crun_box.connect()


# --- exec ---------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(box: Box) -> Box:
    """Return a box that runs until it is killed."""
    with box.start("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
    return box


def test_exec_has_streams_and_a_code(sleeper: Box) -> None:
    """One more process, with its own streams and exit code, in the container's namespaces."""
    with sleeper.execute("sh", "-c", "hostname; echo e >&2; exit 4") as connection:
        expect(connection, frames.STARTED)
        assert collect(connection) == (b"box\n", b"e\n", 4)


def test_exec_is_not_in_the_log(sleeper: Box) -> None:
    """What an exec prints is its client's, not the container's."""
    with sleeper.execute("echo", "hi") as connection:
        assert collect(connection)[0] == b"hi\n"
    assert sleeper.log() == []


def test_exec_takes_input(sleeper: Box) -> None:
    """`exec -i`: input arrives and ends."""
    with sleeper.execute("cat", stdin=True) as connection:
        connection.send_stdin(b"x" * 50_000)
        connection.close_stdin()
        out, _err, code = collect(connection)
        assert (len(out), code) == (50_000, 0)


def test_exec_with_a_terminal(sleeper: Box) -> None:
    """`exec -t`: a terminal of its own, of the wanted size, that can be resized."""
    script = "tty; stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"
    with sleeper.execute("sh", "-c", script, tty=True, stdin=True, rows=20, columns=50) as connection:
        out = read_until(connection, b"ready\r\n")
        assert out == b"/dev/pts/0\r\n20 50\r\nready\r\n"
        connection.resize(21, 51)
        assert collect(connection) == (b"21 51\r\n", b"", 3)


def test_exec_of_a_missing_program(sleeper: Box) -> None:
    """Docker's sentence and 127; the container goes on."""
    with sleeper.execute("nope") as connection:
        out, message, code = collect(connection)
    assert (out, code) == (b"", 127)
    start = b"OCI runtime exec failed: exec failed: unable to start container process: "
    assert message == start + b'exec: "nope": executable file not found in $PATH'
    with sleeper.execute("true") as connection:
        assert collect(connection)[2] == 0


def test_exec_as_another_user(sleeper: Box) -> None:
    """`exec -u`: ids and groups are those that were asked for."""
    with sleeper.execute("id", user=User(uid=1000, gid=50, groups=(50, 60))) as connection:
        assert collect(connection)[0] == b"uid=1000(user) gid=50 groups=50,60\n"


def test_a_large_environment_fits_an_exec(sleeper: Box) -> None:
    """An exec's description may be larger than one packet."""
    process = {
        "user": {"uid": 0, "gid": 0},
        "args": ["sh", "-c", "echo ${#BIG}"],
        "env": ["PATH=/bin", "BIG=" + "x" * 120_000],
        "cwd": "/",
    }
    with sleeper.connect() as connection:
        connection.execute(process)
        expect(connection, frames.STARTED)
        assert collect(connection)[0] == b"120000\n"


def test_execs_run_side_by_side(sleeper: Box) -> None:
    """Several at once, each with its own code."""
    connections = [sleeper.execute("sh", "-c", f"sleep 0.1; exit {n}") for n in range(5)]
    assert [collect(connection)[2] for connection in connections] == list(range(5))
    for connection in connections:
        connection.close()


def test_an_exec_whose_client_left_goes_on(crun_box: Box) -> None:
    """`exec -d`: nobody needs to stay for it."""
    with crun_box.start(
        "sh", "-c", "trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    ) as connection:
        read_until(connection, b"ready\n")
        with crun_box.execute("sh", "-c", "sleep 0.2; kill -USR1 1") as other:
            expect(other, frames.STARTED)
        assert collect(connection)[2] == 3


def test_an_exec_ends_with_its_container(sleeper: Box) -> None:
    """When the container's process ends, so do the others, and their clients are told."""
    with sleeper.execute("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
        with sleeper.connect() as other, sleeper.connect() as waiter:
            waiter.wait()
            other.kill(9)
            assert expect(waiter, frames.EXITED).exit_code == 137
        assert collect(connection)[2] == 137
    sleeper.wait_for_keeper()
    assert sleeper.leftovers() == []


def test_a_signal_on_an_exec_is_for_that_process(sleeper: Box) -> None:
    """K on an exec's connection signals its process, not the container's."""
    with sleeper.execute("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
        connection.send_kill(15)
        expect(connection, frames.DONE)
        assert collect(connection)[2] == 143
    assert sleeper.facts()["status"] == "running"


def test_pause_and_resume(sleeper: Box) -> None:
    """A paused container says so, refuses exec, and goes on afterwards."""
    with sleeper.connect() as connection:
        connection.pause()
        assert sleeper.facts()["status"] == "paused"
        with sleeper.execute("true") as refused:
            assert expect(refused, frames.NOT_DONE).text == "the container is paused"
        connection.resume()
    with sleeper.execute("echo", "on") as again:
        assert collect(again)[0] == b"on\n"


def test_a_paused_container_can_be_killed(sleeper: Box) -> None:
    """A frozen process cannot die: the keeper thaws it for a SIGKILL."""
    with sleeper.connect() as waiter, sleeper.connect() as connection:
        waiter.wait()
        connection.pause()
        connection.kill(9)
        assert expect(waiter, frames.EXITED).exit_code == 137
