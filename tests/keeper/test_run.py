"""A container from its start to its end: output, exit codes, records, nothing left behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.keeper.parts import BOTH, collect, expect, read_until
from tiffin.keeper import client, frames
from tiffin.runtime.user import User
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.state import ContainerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.keeper.parts import Box


def test_output_errors_and_exit_code_arrive(box: Box) -> None:
    """Both streams come separately, then the exit code; the record on disk says the same."""
    assert box.run("sh", "-c", "echo out; echo err >&2; exit 7") == (b"out\n", b"err\n", 7)
    state = box.state()
    assert (state["status"], state["exit_code"], state["pid"], state["oom_killed"]) == ("exited", 7, 0, False)
    assert ContainerState.from_json(state).finished_at > state["started_at"]
    assert [(e["log"], e["stream"]) for e in box.log()] == [("out\n", "stdout"), ("err\n", "stderr")]


def test_nothing_is_left_behind(box: Box) -> None:
    """After the end there is no mount, cgroup, socket, runtime state or keeper."""
    box.run("true")
    box.wait_for_keeper()
    assert box.leftovers() == []
    assert not os.path.exists(f"{box.prefix[2]}/{box.id}")


def test_started_comes_first_and_names_the_process(box: Box) -> None:
    """The first frame names the process, and by then the facts of the living are there."""
    with box.start("sh", "-c", "echo ready; sleep 1000; true") as connection:
        started = expect(connection, frames.STARTED)
        facts = box.facts()
        assert facts["status"] == "running"
        assert started.text == f'{{"pid":{facts["pid"]},"started_at":"{facts["started_at"]}"}}'
        read_until(connection, b"ready\n")
        with open(f"/proc/{facts['pid']}/cmdline") as stream:
            assert stream.read().split("\0")[0] == "sh"
        connection.send_kill(9)
        expect(connection, frames.DONE)
        assert collect(connection) == (b"", b"", 137)


@pytest.mark.parametrize(
    ("program", "code", "sentence"),
    [
        ("nope", 127, 'exec: "nope": executable file not found in $PATH'),
        ("/no/pe", 127, 'exec: "/no/pe": stat /no/pe: no such file or directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": permission denied'),
    ],
)
def test_a_program_that_cannot_start(box: Box, program: str, code: int, sentence: str) -> None:
    """Docker's sentence and exit code; the record says `created`, and nothing is left or logged."""
    out, message, found = box.run(program)
    assert (out, found) == (b"", code)
    assert (
        message.decode()
        == f"failed to create task for container: unable to start container process: {sentence}"
    )
    state = box.state()
    assert (state["status"], state["exit_code"], state["error"]) == ("created", code, message.decode())
    box.wait_for_keeper()
    assert box.leftovers() == []
    assert box.log() == []


def test_a_program_that_the_kernel_cannot_execute(box: Box) -> None:
    """As with docker it has started, ends with 1, and its errors hold the reason as a plain sentence."""
    path = f"{box.rootfs}/root/{box.id}"
    with open(path, "w") as stream:
        stream.write("no program\n")
    os.chmod(path, 0o700)
    out, err, code = box.run(f"/root/{box.id}")
    os.unlink(path)
    assert (out, code) == (b"", 1)
    assert err.lower().endswith(b": exec format error\n")
    assert err.startswith(b"exec ")


def test_a_broken_mount_fails_with_125(crun_box: Box) -> None:
    """An overlay that the kernel refuses is a failed start, with the kernel's reason."""
    out, message, code = crun_box.run("true", target=crun_box.folder, overlay="lowerdir=/no/such", base="/")
    assert (out, code) == (b"", 125)
    assert b"failed to create task for container" in message
    assert b"No such file or directory" in message
    assert not os.path.exists(crun_box.live)


def test_the_root_file_system_is_an_overlay_in_a_private_place(crun_box: Box) -> None:
    """What is written lands in the upper folder, and the host sees no mount meanwhile."""
    box, root = crun_box, f"{crun_box.folder}/rootfs"
    for name in ("rootfs", "upper", "work"):
        os.mkdir(f"{box.folder}/{name}")
    lower, base = os.path.basename(box.rootfs), os.path.dirname(box.rootfs)
    box.rootfs = root
    overlay = f"lowerdir={lower},upperdir={box.folder}/upper,workdir={box.folder}/work,redirect_dir=off"
    with box.start(
        "sh", "-c", "echo new >/tmp/file; echo ok; sleep 1000", base=base, target=root, overlay=overlay
    ) as c:
        read_until(c, b"ok\n")
        assert os.listdir(root) == []
        with open(f"{box.folder}/upper/tmp/file") as stream:
            assert stream.read() == "new\n"
        c.send_kill(9)
        assert collect(c)[2] == 137
    box.wait_for_keeper()
    assert box.leftovers() == []


def test_a_killed_client_changes_nothing(box: Box) -> None:
    """When the starting client is gone the container goes on, is logged, and can be attached to again."""
    connection = box.start("sh", "-c", "echo one; cat", config=ContainerConfig(open_stdin=True))
    read_until(connection, b"one\n")
    connection.close()
    with box.connect() as second:
        second.attach(stdin=True, stdout=True, stderr=True)
        second.send_stdin(b"two\n")
        read_until(second, b"two\n")
        with box.connect() as third:
            third.kill(9)
        assert collect(second)[2] == 137
    assert [e["log"] for e in box.log()] == ["one\n", "two\n"]


def test_signals_reach_the_process(box: Box) -> None:
    """A signal that is handled is handled; the answer comes back; an ended one's code is 128 + n."""
    script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with box.start("sh", "-c", script) as connection:
        read_until(connection, b"ready\n")
        with box.connect() as other:
            other.kill(15)
        assert collect(connection) == (b"got\n", b"", 5)


def test_default_signals_are_not_ignored_inside(box: Box) -> None:
    """The keeper ignores signals for itself; the container starts with none ignored or blocked."""
    out, _err, _code = box.run("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    internal = 3 << 31  # 32 and 33 belong to the C library, which has them ignored across posix_spawn
    assert [int(line.split()[1], 16) & ~internal for line in out.decode().splitlines()] == [0, 0]


def test_only_what_is_said_gets_in(box: Box) -> None:
    """Environment and open files of the process are those that docker gives it."""
    out, _err, _code = box.run("env", config=ContainerConfig(env=("A=1",)))
    assert sorted(out.decode().splitlines()) == sorted(
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box", "A=1", "HOME=/"]
    )


def test_no_descriptors_leak(box: Box) -> None:
    """A process has its three streams and nothing of the keeper's."""
    out, _err, _code = box.run("sh", "-c", "ls /proc/$$/fd; true")
    assert out.decode().split()[:3] == ["0", "1", "2"]
    assert set(out.decode().split()) <= {"0", "1", "2", "10"}


def test_without_stdin_it_is_the_null_device(box: Box) -> None:
    """No `-i`: the end of input at once; and the host's /dev/null keeps its owner."""
    before = os.stat("/dev/null")
    user = User(uid=1000, gid=1000, groups=(1000,))
    assert box.run("cat", user=user) == (b"", b"", 0)
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_an_ordinary_user_may_open_its_streams(box: Box) -> None:
    """`/dev/stdout` can be opened by a user who isn't root."""
    user = User(uid=1000, gid=1000, groups=(1000,))
    assert box.run("sh", "-c", "echo hi >/dev/stdout; id -u", user=user) == (b"hi\n1000\n", b"", 0)


def test_out_of_memory_is_recognised(box: Box) -> None:
    """A process killed for want of memory ends with 137, and the record says why."""
    host = HostConfig(memory=16 << 20, memory_swap=16 << 20)
    _out, _err, code = box.run("sh", "-c", "x=$(yes | head -c 100000000)", host=host)
    assert code == 137
    assert box.state()["oom_killed"] is True


def test_print_and_exit_loses_nothing(make_box: Callable[[str], Box]) -> None:
    """What is printed right before the exit always arrives, in order and before it (200 runs)."""
    print_and_exit(make_box, 200)


def test_print_and_exit_under_each_runtime_with_a_terminal(box: Box, make_box: Callable[[str], Box]) -> None:
    """The same on a terminal, where the kernel passes output on a little later."""
    for number in range(10):
        box = make_box(box.runtime.rpartition("/")[2])
        config = ContainerConfig(tty=True)
        assert box.run("sh", "-c", f"echo {number}; exit 3", config=config) == (b"%d\r\n" % number, b"", 3)


@pytest.mark.long
def test_print_and_exit_loses_nothing_2000(make_box: Callable[[str], Box]) -> None:
    """The same, 2,000 runs."""
    print_and_exit(make_box, 2000)


def print_and_exit(make_box: Callable[[str], Box], times: int) -> None:
    for number in range(times):
        box = make_box("crun")
        assert box.run("sh", "-c", f"echo {number}; echo e >&2; exit 3") == (b"%d\n" % number, b"e\n", 3)


def test_a_slow_client_loses_nothing_and_memory_stays_bounded(crun_box: Box) -> None:
    """A starter that does not read holds the output back when enough is kept for it; nothing is dropped."""
    size = 150_000_000
    with crun_box.start("sh", "-c", f"yes | head -c {size}", log_path="") as connection:
        expect(connection, frames.STARTED)
        with crun_box.connect() as other:  # while nobody reads, requests are answered
            other.kill(0)
        out, _err, code = collect(connection)
        assert (len(out), code) == (size, 0)


def test_a_long_path_works(make_box: Callable[[str], Box], tmp_path: object) -> None:
    """A run folder deeper than a socket's address (108 bytes) works, with a terminal too."""
    box = make_box("crun")
    box.live = f"{tmp_path}/{'d' * 100}/{'e' * 100}/{box.id}"
    assert box.run("tty", config=ContainerConfig(tty=True)) == (b"/dev/pts/0\r\n", b"", 0)


def test_the_starter_who_leaves_early_leaves_nothing(crun_box: Box) -> None:
    """A keeper whose command ends without a request ends too, and so does the zygote that made it."""
    from tiffin.keeper.zygote import Zygote

    with Zygote() as zygote:
        zygote.take().close()
        kept = zygote.take()  # made after the other: when it answers, that one had its chance
        with client.start(kept, crun_box.request("true")) as connection:
            assert collect(connection) == (b"", b"", 0)
    assert not os.path.exists(crun_box.live)


def test_keepers_of_one_zygote_are_independent(crun_box: Box) -> None:
    """A keeper goes on when the zygote that made it has ended."""
    from tiffin.keeper.zygote import Zygote

    zygote = Zygote()
    channel = zygote.take()
    zygote.close()
    with client.start(channel, crun_box.request("sh", "-c", "echo still here")) as connection:
        assert collect(connection) == (b"still here\n", b"", 0)


def test_attach_bits_choose_the_streams(crun_box: Box) -> None:
    """A channel that is attached to nothing gets S and X only; the log has everything."""
    assert crun_box.run("sh", "-c", "echo out; echo err >&2", attach=0) == (b"", b"", 0)
    assert len(crun_box.log()) == 2
    assert BOTH == 6
