"""Containers through the library: real processes, from create to remove."""

from __future__ import annotations

import os
import select
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import tiffin
from tests.rungs import PRIVILEGE, needs_cgroups, needs_ids
from tiffin.engine.exec import ExecRequest
from tiffin.engine.streams import communicate
from tiffin.errors import Conflict, InvalidArgument, NotFound, NotModified, StartFailed
from tiffin.spec import jsontext
from tiffin.spec.container import ContainerConfig, HostConfig, LogConfig
from tiffin.spec.mount import Mount

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.engine.engine import Engine

# A first process that dies at once of SIGTERM (one without a handler ignores it).
SLEEPER = ("sh", "-c", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait")


def config(*argv: str, **more: object) -> ContainerConfig:
    return ContainerConfig(image="base:1", cmd=argv or SLEEPER, **more)


def shell(engine: Engine, script: str, host: HostConfig | None = None, **more: object) -> tiffin.Completed:
    """Run a script to its end and return what it printed."""
    from tiffin.engine.quick import run_to_end

    wanted = config("sh", "-c", script, **more)
    return run_to_end(engine, wanted, (host or HostConfig()).replace(auto_remove=True), b"")


def started(engine: Engine, *argv: str, name: str = "", **more: object) -> str:
    """Start a container in the background and return its id once it has printed a line."""
    container = engine.containers.create(config(*argv, **more), name=name).id
    with engine.containers.start(container, attach=True) as connection:
        frame = connection.recv()
        assert frame is not None
        assert frame.kind == "O"
    return container


def test_run_returns_output_and_exit_code(engine: Engine) -> None:
    """`tiffin.run` is a container from start to end in one call, and leaves no container."""
    done = tiffin.run("base:1", ["sh", "-c", "cat; echo err >&2; exit 3"], stdin=b"in\n", engine=engine)
    assert (done.stdout, done.stderr, done.exit_code) == (b"in\n", b"err\n", 3)
    assert engine.containers.list(all=True) == ()


def test_a_program_that_is_not_there_is_127(engine: Engine) -> None:
    """A missing program is docker's 127, one that is no program 126; the container stays as created."""
    container = engine.containers.create(config("nothing-like-it")).id
    with pytest.raises(StartFailed) as missing:
        engine.containers.start(container)
    assert missing.value.exit_code == 127
    assert "executable file not found in $PATH" in missing.value.message
    state = engine.containers.state(container)
    assert (state.status, state.exit_code) == ("created", 127)
    other = engine.containers.create(config("/etc/passwd")).id
    with pytest.raises(StartFailed) as refused:
        engine.containers.start(other)
    assert refused.value.exit_code == 126


def test_life_from_create_to_remove(engine: Engine) -> None:
    """Created, running, exited with its code; start again keeps what was written."""
    container = engine.containers.create(
        config("sh", "-c", "echo x >> /log; cat /log; exit 4"), name="life"
    ).id
    assert engine.containers.state("life").status == "created"
    assert engine.containers.wait("life") == 0
    for expected in (b"x\n", b"x\nx\n"):
        output = []
        with engine.containers.start("life", attach=True) as connection:
            assert communicate(connection, b"", lambda _s, data, out=output: out.append(data)) == 4
        assert b"".join(output) == expected
        assert engine.containers.wait("life") == 4
    state = engine.containers.state(container[:10])
    assert (state.status, state.exit_code, state.pid) == ("exited", 4, 0)
    assert state.started_at < state.finished_at
    assert [entry.data for entry in engine.containers.logs("life")] == [b"x\n", b"x\n", b"x\n"]
    assert engine.containers.remove("life") == container
    with pytest.raises(NotFound, match="No such container: life"):
        engine.containers.get("life")
    assert not os.path.exists(engine.store.layout.container(container))


def test_stop_sends_the_stop_signal_and_then_kills(engine: Engine) -> None:
    """Stop gives the process its time; what ignores the signal is killed: 137."""
    polite = started(engine)
    engine.containers.stop(polite, timeout=20)
    assert engine.containers.state(polite).exit_code == 7
    with pytest.raises(NotModified):
        engine.containers.stop(polite)
    deaf = started(engine, "sh", "-c", "trap '' TERM; echo ready; sleep 1000")
    engine.containers.stop(deaf, timeout=0)
    assert engine.containers.state(deaf).exit_code == 137
    own = started(
        engine, "sh", "-c", "trap 'exit 9' USR1; echo ready; sleep 1000 & wait", stop_signal="SIGUSR1"
    )
    engine.containers.stop(own, timeout=20)
    assert engine.containers.state(own).exit_code == 9


def test_kill_and_what_is_not_running(engine: Engine) -> None:
    """Kill sends any signal; on what does not run it is docker's conflict."""
    container = started(engine)
    engine.containers.kill(container, "TERM")
    assert engine.containers.wait(container) == 7
    with pytest.raises(Conflict, match="is not running"):
        engine.containers.kill(container)
    with pytest.raises(InvalidArgument, match="invalid signal: NOPE"):
        engine.containers.kill(container, "NOPE")
    with pytest.raises(Conflict, match="start it first"):
        engine.containers.attach(container)
    with pytest.raises(Conflict, match="is not running"):
        engine.containers.exec(container, ExecRequest(argv=("true",)))


CONDITIONS = ("next-exit", "removed")


def test_waiting_for_the_next_end_and_for_the_removal(engine: Engine) -> None:
    """`next-exit` waits for a run that has not begun, `removed` until the record has gone."""
    container = engine.containers.create(config("sh", "-c", "exit 5")).id
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(engine.containers.wait, container, condition=c) for c in CONDITIONS]
        while not all(one.running() for one in waits):
            pass
        while not waits[0].done():  # a run may have ended before that one looked
            engine.containers.start(container).close()
            engine.containers.wait(container)
        assert waits[0].result() == 5
        engine.containers.remove(container)
        assert waits[1].result() == 5
    with pytest.raises(InvalidArgument, match="invalid condition"):
        engine.containers.wait(engine.containers.create(config("true")).id, condition="odd")


def test_names_are_unique_and_removal_respects_running(engine: Engine) -> None:
    """A taken name is docker's conflict; a running container is removed only by force."""
    container = started(engine, name="web")
    with pytest.raises(
        Conflict, match=f'The container name "/web" is already in use by container "{container}"'
    ):
        engine.containers.create(config("true"), name="web")
    with pytest.raises(Conflict, match="stop the container before removing or force remove"):
        engine.containers.remove("web")
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        engine.containers.create(config("true"), name="-web")
    engine.containers.rename("web", "shop")
    assert engine.containers.get("/shop").id == container
    with pytest.raises(NotModified):
        engine.containers.start("shop")
    engine.containers.remove("shop", force=True)
    assert engine.containers.list(all=True) == ()


def test_restart_starts_what_ran_and_what_did_not(engine: Engine) -> None:
    """Restart of a running container gives it a new process, of a stopped one a process."""
    container = started(engine)
    first = engine.containers.state(container).pid
    engine.containers.restart(container, timeout=20)
    second = engine.containers.state(container).pid
    assert second not in {0, first}
    engine.containers.stop(container, timeout=20)
    engine.containers.restart(container)
    assert engine.containers.state(container).running


@needs_ids
def test_exec_has_its_own_streams_user_and_exit(engine: Engine) -> None:
    """A process in a running container gets environment, user and folder as asked, and its own code."""
    container = started(engine, env=("A=1",))
    request = ExecRequest(
        argv=("sh", "-c", "id -u; pwd; echo $A $B $HOME; cat; exit 5"),
        env=("B=2",),
        user="web",
        working_dir="/data",
        stdin=True,
    )
    output: list[bytes] = []
    with engine.containers.exec(container, request) as connection:
        code = communicate(connection, b"hello", lambda _stream, data: output.append(data))
    assert (code, b"".join(output)) == (5, b"7\n/data\n1 2 /srv\nhello")
    with pytest.raises(StartFailed) as missing:
        engine.containers.exec(container, ExecRequest(argv=("nothing",)))
    assert missing.value.exit_code == 127


@needs_ids
def test_environment_user_and_names_as_docker_makes_them(engine: Engine) -> None:
    """HOME comes from passwd, HOSTNAME from the id, groups from /etc/group; unknown users are refused."""
    done = shell(engine, "id; echo $HOME; hostname; cat /etc/hostname; umask", user="web")
    identity, home, hostname, file, umask = done.stdout.decode().splitlines()
    assert identity == "uid=7(web) gid=8(web) groups=8(web),9(mail)"
    assert (home, umask) == ("/srv", "0022")
    assert hostname == file
    assert len(hostname) == 12
    with pytest.raises(
        InvalidArgument, match="unable to find user ghost: no matching entries in passwd file"
    ):
        shell(engine, "true", user="ghost")


@needs_ids
def test_a_working_folder_that_is_missing_is_made(engine: Engine) -> None:
    """It is root's, 0755, whoever the process is."""
    script = "pwd; id -u; stat -c '%u:%g %a' /new /new/deep"
    done = shell(engine, script, user="web", working_dir="/new/deep")
    assert done.stdout == b"/new/deep\n7\n0:0 755\n0:0 755\n"


def test_a_new_volume_is_filled_from_the_image(engine: Engine) -> None:
    """A named volume gets content, owner and mode of the image's folder once; a bind never does."""
    host = HostConfig(binds=("pool:/data",))
    first = shell(engine, "cat /data/seed; stat -c %u:%g /data; echo new > /data/seed", host)
    assert first.stdout == (b"seed\n0:0\n" if PRIVILEGE.records_owners else b"seed\n7:8\n")
    assert shell(engine, "cat /data/seed", host).stdout == b"new\n"
    assert shell(engine, "cat /data/seed").stdout == b"seed\n"
    engine.volumes.remove("pool")


def test_anonymous_volumes_go_with_a_container_of_one_run(engine: Engine) -> None:
    """`--rm` takes the volumes that only this container had; named ones stay."""
    shell(engine, "echo x > /data/x", volumes=("/data",))
    assert engine.volumes.list() == ()
    container = engine.containers.create(config("true", volumes=("/data",))).id
    (volume,) = engine.volumes.list()
    with pytest.raises(Conflict, match="volume is in use"):
        engine.volumes.remove(volume.name)
    engine.containers.remove(container, volumes=True)
    assert engine.volumes.list() == ()


def test_mounts_are_seen_from_inside(engine: Engine, tmp_path: Path) -> None:
    """A bind shows the host's folder, read-only where asked; a tmpfs has its size; so may the root be."""
    (tmp_path / "file").write_text("host\n")
    host = HostConfig(
        mounts=(
            Mount(type="bind", source=str(tmp_path), target="/mnt", read_only=True),
            Mount(type="tmpfs", target="/fast", tmpfs_size=1 << 20),
        ),
        tmpfs={"/run": "size=64k"},
        readonly_rootfs=True,
    )
    script = (
        "cat /mnt/file; echo x > /mnt/y || echo ro; echo x > /fast/y && df -k /fast /run | tail -n 2;"
        "touch /z || echo root"
    )
    done = shell(engine, script, host)
    lines = done.stdout.decode().splitlines()
    assert lines[:2] == ["host", "ro"]
    assert [line.split()[1] for line in lines[2:4]] == ["1024", "64"]
    assert lines[4] == "root"


@needs_cgroups
def test_limits_are_what_the_kernel_has(engine: Engine) -> None:
    """Memory, cpu and pids limits stand in the container's cgroup; a program over its memory is killed."""
    host = HostConfig(memory=16 << 20, nano_cpus=500_000_000, pids_limit=33)
    script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max"
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        script = (
            "cat /sys/fs/cgroup/memory.max; cut -d' ' -f1 /sys/fs/cgroup/cpu.max; cat /sys/fs/cgroup/pids.max"
        )
    assert shell(engine, script, host).stdout.split() == [b"16777216", b"50000", b"33"]
    container = engine.containers.create(
        config("sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=40"), host.replace(shm_size=64 << 20)
    ).id
    engine.containers.start(container).close()
    assert engine.containers.wait(container) == 137
    assert engine.containers.state(container).oom_killed
    with pytest.raises(InvalidArgument, match="Minimum memory limit allowed is 6MB"):
        engine.containers.create(config("true"), HostConfig(memory=1000))


def test_no_network_has_only_a_loopback_that_is_up(engine: Engine) -> None:
    """`none` is a namespace with lo alone; `host` is the host's own."""
    done = shell(
        engine, "ls /sys/class/net; ip addr show lo | grep -c 127.0.0.1", HostConfig(network_mode="none")
    )
    assert done.stdout == b"lo\n1\n"
    host = shell(engine, "readlink /proc/self/ns/net", HostConfig(network_mode="host"))
    assert host.stdout.decode().strip() == os.readlink("/proc/self/ns/net")


def test_a_lost_keeper_is_seen_and_its_container_ended(engine: Engine) -> None:
    """Kill -9 of the keeper: exited 255, and whoever looks next ends the process; then it starts again."""
    container = started(engine)
    with open(f"{engine.store.layout.live(container)}/state", "rb") as stream:
        facts = jsontext.load_object(stream.read())
    process, keeper = os.pidfd_open(facts["pid"]), os.pidfd_open(facts["keeper"])
    signal.pidfd_send_signal(keeper, signal.SIGKILL)
    assert select.select([keeper], [], [], 10)[0]
    (view,) = engine.containers.list(all=True)
    assert (view.state.status, view.state.exit_code, view.state.error) == ("exited", 255, "keeper lost")
    assert select.select([process], [], [], 10)[0], "the container's process outlived its keeper"
    os.close(process)
    os.close(keeper)
    with engine.containers.start(container, attach=True) as connection:
        frame = connection.recv()
        assert frame is not None
    engine.containers.remove(container, force=True)


def test_logs_from_the_end_and_by_stream(engine: Engine) -> None:
    """`tail` counts entries from the end, streams can be chosen, long lines come in pieces."""
    script = "for i in 1 2 3 4 5; do echo $i; done; echo e >&2; head -c 40000 /dev/zero | tr '\\0' x"
    container = engine.containers.create(config("sh", "-c", script)).id
    engine.containers.start(container).close()
    engine.containers.wait(container)
    entries = list(engine.containers.logs(container))
    assert b"".join(e.data for e in entries if e.stream == "stdout") == b"1\n2\n3\n4\n5\n" + b"x" * 40000
    assert [e.data for e in engine.containers.logs(container, stdout=False)] == [b"e\n"]
    for count in (0, 1, 3, 100):
        tail = [e.data for e in engine.containers.logs(container, tail=count)]
        assert tail == [e.data for e in entries][len(entries) - min(count, len(entries)) :]


def test_following_logs_ends_with_the_container(engine: Engine) -> None:
    """`follow` yields what is written later and stops when the container does, without a clock."""
    script = "echo one; read line; echo $line; exit 0"
    container = engine.containers.create(config("sh", "-c", script, open_stdin=True, stdin_once=True)).id
    with engine.containers.start(container, attach=True, stdin=True) as connection:
        follower = engine.containers.logs(container, follow=True)
        assert next(follower).data == b"one\n"
        connection.send_stdin(b"two\n")
        assert [entry.data for entry in follower] == [b"two\n"]
    engine.containers.wait(container)


@pytest.mark.parametrize("options", [{"max-file": "9"}, {"max-file": "9", "compress": "true"}], ids=str)
def test_following_misses_no_file_of_a_log_that_is_rotated(engine: Engine, options: dict[str, str]) -> None:
    """A reader that was slow goes on with the file that came next, however many there are meanwhile."""
    numbers = "for i in $(seq 100); do echo line $i; done"
    script = f"echo one; read line; {numbers}; echo done >&2; read line; echo last"
    log = LogConfig(type="json-file", config={"max-size": "2k", **options})
    wanted = config("sh", "-c", script, open_stdin=True, stdin_once=True)
    container = engine.containers.create(wanted, HostConfig(log_config=log)).id
    with engine.containers.start(container, attach=True, stdin=True) as connection:
        follower = engine.containers.logs(container, stderr=False, follow=True)
        assert next(follower).data == b"one\n"
        connection.send_stdin(b"go\n")
        while b"done" not in connection.recv().data:
            pass
        connection.send_stdin(b"go\n")
        said = [entry.data for entry in follower]
    assert said == [*(b"line %d\n" % number for number in range(1, 101)), b"last\n"]
    engine.containers.wait(container)
    again = [entry.data for entry in engine.containers.logs(container, stderr=False)]
    assert again == [b"one\n", *said]


def test_a_log_of_one_file_is_followed_from_its_beginning(engine: Engine) -> None:
    """With one file only, that begins again when it is full: who follows it sees what is written then."""
    script = "echo $(printf %01500d 1); read line; echo $(printf %0700d 2); echo last"
    log = LogConfig(type="json-file", config={"max-size": "2k", "max-file": "1"})
    wanted = config("sh", "-c", script, open_stdin=True, stdin_once=True)
    container = engine.containers.create(wanted, HostConfig(log_config=log)).id
    with engine.containers.start(container, attach=True, stdin=True) as connection:
        follower = engine.containers.logs(container, follow=True)
        assert next(follower).data == b"1\n".rjust(1501, b"0")
        connection.send_stdin(b"go\n")
        assert [entry.data for entry in follower] == [b"2\n".rjust(701, b"0"), b"last\n"]
    engine.containers.wait(container)


def test_filters_of_the_list(engine: Engine) -> None:
    """Values of one filter are OR-ed, filters AND-ed, labels AND-ed; unknown keys are refused."""
    one = started(engine, name="one", labels={"a": "1", "b": "2"})
    two = engine.containers.create(config("true", labels={"a": "1"}), name="two").id

    def ids(**filters: list[str]) -> set[str]:
        return {view.id for view in engine.containers.list(all=True, filters=filters)}

    assert {view.id for view in engine.containers.list()} == {one}
    assert ids(name=["one", "tw"]) == {one, two}
    assert ids(label=["a=1", "b"]) == {one}
    assert ids(status=["created"]) == {two}
    assert ids(ancestor=["base:1"], name=["two"]) == {two}
    assert ids(before=["two"]) == {one}
    with pytest.raises(InvalidArgument, match="invalid filter 'nope'"):
        ids(nope=["1"])


def test_prune_removes_what_does_not_run(engine: Engine) -> None:
    """Containers that run stay; the others go, and what they wrote is counted."""
    running = started(engine)
    ended = engine.containers.create(config("sh", "-c", "head -c 5000 /dev/zero > /big")).id
    engine.containers.start(ended).close()
    engine.containers.wait(ended)
    pruned = engine.containers.prune()
    assert pruned.removed == (ended,)
    assert pruned.reclaimed >= 5000
    assert [view.id for view in engine.containers.list(all=True)] == [running]
