"""Every flag that is called done does what it says, in a real session (see docs/compatibility.md)."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Tiffin
from tests.rungs import PRIVILEGE, needs_cgroups
from tests.servers import DOCKER_REGISTRY, DockerRegistry
from tiffin.engine.doctor import RUNGS

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@pytest.fixture
def box(tiffin: Tiffin) -> Iterator[str]:
    """The name of a running container with a terminal and an open stdin."""
    tiffin("run", "-dit", "--name", "flagged", "box:1", "sh", "-c", "while read x; do echo got:$x; done")
    yield "flagged"
    tiffin("rm", "-f", "-v", "flagged")


def on_a_terminal(argv: list[str], typed: bytes, until: bytes) -> tuple[bytes, int]:
    """Run a command on a terminal, type when it has begun; return what it showed and its exit code."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(sys.executable, argv)
    os.write(master, typed)
    shown = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        shown += data
        if until and until in shown:
            os.write(master, b"\x18")
            until = b""
    os.close(master)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_run_attaches_what_is_asked_for(tiffin: Tiffin) -> None:
    """-a chooses the streams."""
    script = "echo out; echo err >&2"
    done = tiffin.run("run", "--rm", "-a", "stdout", "box:1", "sh", "-c", script)
    assert (done.stdout, done.stderr) == (b"out\n", b"")
    done = tiffin.run("run", "--rm", "--attach", "STDERR", "box:1", "sh", "-c", script)
    assert (done.stdout, done.stderr) == (b"", b"err\n")


def test_run_capabilities(tiffin: Tiffin) -> None:
    """--cap-add, --cap-drop and --privileged by docker's names, with and without CAP_."""
    text = tiffin(
        *("run", "--rm", "--cap-drop", "all", "--cap-add", "CAP_CHOWN", "--cap-add", "setuid"),
        *("box:1", "cat", "/proc/self/status"),
    )
    assert f"CapEff:\t{1 | 1 << 7:016x}\n" in text
    assert "Seccomp:\t0\n" in tiffin("run", "--rm", "--privileged", "box:1", "cat", "/proc/self/status")


@needs_cgroups
def test_run_limits(tiffin: Tiffin) -> None:
    """--memory, --memory-swap, --cpus, --pids-limit and --shm-size are what the kernel enforces."""
    made = tiffin(
        *("create", "--memory", "32m", "--memory-swap", "32m", "--cpus", "0.5", "--pids-limit", "3"),
        *("--shm-size", "1m", "box:1"),
    ).strip()
    template = (
        "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.PidsLimit}} {{.ShmSize}}{{end}}"
    )
    assert tiffin("inspect", "-f", template, made) == f"{32 << 20} {32 << 20} 500000000 3 {1 << 20}\n"
    tiffin("rm", made)
    forks = "sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait"
    said = tiffin.wrong("run", "--rm", "--pids-limit", "3", "box:1", "sh", "-c", forks, code=2)
    assert "can't fork" in said
    mounts = tiffin("run", "--rm", "--shm-size", "1m", "--cpus", "0.5", "box:1", "cat", "/proc/mounts")
    assert any(line.startswith("shm /dev/shm tmpfs") and "size=1024k" in line for line in mounts.splitlines())
    quota = "cd /sys/fs/cgroup; cat cpu.max 2>/dev/null || cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us"
    said = tiffin("run", "--rm", "--cpus", "0.5", "box:1", "sh", "-c", quota)
    assert said.split() == ["50000", "100000"]
    eater = "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done"
    done = tiffin.run("run", "--rm", "--memory", "32m", "--memory-swap", "32m", "box:1", "sh", "-c", eater)
    assert done.returncode == 137


def test_run_networks(tiffin: Tiffin) -> None:
    """`none` has a loopback of its own; `host` has the host's interfaces."""
    mine = tiffin("run", "--rm", "--network", "none", "box:1", "cat", "/proc/net/dev")
    assert mine.count(":") == 1
    theirs = tiffin("run", "--rm", "--network", "host", "box:1", "ls", "/sys/class/net")
    assert sorted(theirs.split()) == sorted(os.listdir("/sys/class/net"))


def test_run_names_its_runtime(tiffin: Tiffin) -> None:
    """--runtime by name or by path."""
    runtime = shutil.which("runc") or shutil.which("crun")
    assert runtime
    name = os.path.basename(runtime)
    assert tiffin("run", "--rm", "--runtime", name, "box:1", "echo", "by name") == "by name\n"
    assert tiffin("run", "--rm", "--runtime", runtime, "box:1", "echo", "by path") == "by path\n"


def test_run_and_what_it_says_of_itself(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """Labels, ports, names and the stop signal stand in inspect; --cidfile holds the id."""
    (tmp_path / "labels").write_text("a=1\n")
    made = tiffin(
        *("run", "-d", "--cidfile", f"{tmp_path}/id", "--label", "b=2", "--label-file", f"{tmp_path}/labels"),
        *("--expose", "80", "--domainname", "dom", "--hostname", "name", "--stop-signal", "INT"),
        *("--stop-timeout", "3", "--disable-content-trust", "box:1"),
        *("sh", "-c", "trap 'exit 9' INT; while :; do sleep 0.1; done"),
    ).strip()
    assert (tmp_path / "id").read_text() == made
    config = json.loads(tiffin("container", "inspect", "--format", "{{json .Config}}", "--size", made))
    assert config["Labels"] == {"a": "1", "b": "2"}
    assert (config["Hostname"], config["Domainname"]) == ("name", "dom")
    assert (config["StopSignal"], config["StopTimeout"]) == ("INT", 3)
    assert config["ExposedPorts"] == {"80/tcp": {}}
    inside = tiffin("exec", made, "cat", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname")
    assert inside == "name\ndom\n"
    tiffin("stop", made)
    assert tiffin("wait", made) == "9\n"
    tiffin("rm", made)


def test_run_mounts(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """--mount of a folder of the host; rm -v takes the anonymous volume with it, and no other."""
    (tmp_path / "here").write_text("x")
    words = f"type=bind,source={tmp_path},target=/x"
    assert tiffin("run", "--rm", "--mount", words, "box:1", "ls", "/x") == "here\n"
    tiffin("volume", "create", "--driver", "local", "kept")
    made = tiffin("run", "-d", "-v", "kept:/k", "-v", "/anonymous", "box:1", "true").strip()
    tiffin("wait", made)
    assert len(tiffin("volume", "ls", "-q").split()) == 2
    tiffin("rm", "-v", made)
    assert tiffin("volume", "ls", "--format", "{{.Name}}", "--filter", "name=kept") == "kept\n"
    assert tiffin("volume", "ls", "-q") == "kept\n"
    assert tiffin("volume", "rm", "-f", "kept", "never-there") == "kept\nnever-there\n"


def test_detach_keys_of_ones_own(tiffin: Tiffin, box: str) -> None:
    """run, start, attach and exec leave by --detach-keys; the process goes on."""
    attach = tiffin.argv("attach", "--detach-keys", "ctrl-x", box)
    shown, code = on_a_terminal(attach, b"typed\r", b"got:typed")
    assert (b"read escape sequence" in shown, code) == (True, 1)
    execute = tiffin.argv(
        "exec", "-it", "--detach-keys", "ctrl-x", box, "sh", "-c", "read x; echo $x; sleep 9"
    )
    assert on_a_terminal(execute, b"there\r", b"there\r\nthere")[1] == 0
    tiffin("stop", "-t", "0", box)
    start = tiffin.argv("start", "-a", "-i", "--detach-keys", "ctrl-x", box)
    assert on_a_terminal(start, b"again\r", b"got:again")[1] == 0
    assert tiffin("ps", "--format", "{{.Names}}") == f"{box}\n"
    run = tiffin.argv(
        *("run", "-it", "--name", "flagged2", "--detach-keys", "ctrl-x"),
        *("box:1", "sh", "-c", "read x; echo got:$x; read x"),
    )
    assert on_a_terminal(run, b"run\r", b"got:run")[1] == 0
    assert tiffin("rm", "-f", "flagged2") == "flagged2\n"


def test_attach_without_a_hand_in_it(tiffin: Tiffin) -> None:
    """--no-stdin sends nothing, --sig-proxy=false no signals; what is printed still comes."""
    script = "sleep 0.5; echo later; exit 4"
    made = tiffin("run", "-d", "-i", "box:1", "sh", "-c", script).strip()
    done = tiffin.run("attach", "--no-stdin", "--sig-proxy=false", made)
    assert done.returncode == 4
    assert done.stdout in {b"later\n", b""}  # it may have ended before
    tiffin("rm", made)
    assert tiffin("run", "--rm", "--sig-proxy=false", "box:1", "echo", "hi") == "hi\n"


def test_exec_in_the_background_and_on_a_terminal(tiffin: Tiffin, box: str, tmp_path: pathlib.Path) -> None:
    """-d returns at once, -t is a terminal, --env-file and --privileged hold for this process only."""
    assert tiffin("exec", "-d", box, "sh", "-c", "echo done > /made") == ""
    (tmp_path / "env").write_text("FROM_FILE=yes\n")
    script = "while ! cat /made; do sleep 0.1; done; echo $FROM_FILE"
    assert tiffin("exec", "--env-file", f"{tmp_path}/env", box, "sh", "-c", script).endswith("done\nyes\n")
    assert tiffin("exec", "-t", box, "sh", "-c", "test -t 1 && echo tty") == "tty\r\n"
    plain = tiffin("exec", box, "cat", "/proc/self/status").split("CapEff:")[1][:18]
    assert tiffin("exec", "--privileged", box, "cat", "/proc/self/status").split("CapEff:")[1][:18] > plain


def test_lives_of_containers(tiffin: Tiffin, box: str) -> None:
    """Restart and stop with a signal, logs -f to the end, and the lists' own flags."""
    assert tiffin("ps", "--latest", "-q", "--no-trunc").strip() == tiffin("ps", "-aq", "--no-trunc").strip()
    assert tiffin("ps", "--last", "1", "--size").splitlines()[0].endswith("SIZE")
    tiffin("exec", "-i", box, "sh", "-c", "echo to the log > /proc/1/fd/1")
    assert tiffin("restart", "--signal", "KILL", "--timeout", "5", box) == f"{box}\n"
    assert tiffin("stop", "--signal", "KILL", box) == f"{box}\n"
    assert tiffin("logs", "--follow", box) == "to the log\r\n"
    assert tiffin("container", "prune", "--force", "--filter", "label=never") == "Total reclaimed space: 0B\n"
    assert tiffin("fsck", "--repair") == "the store is whole\n"


def test_doctor_and_reset(tiffin: Tiffin) -> None:
    """Doctor says what this user may do, as JSON too; a store goes, with what runs; only a store does."""
    assert f"rung: {RUNGS[PRIVILEGE.rung]}" in tiffin.run("doctor").stdout.decode()
    assert '"name": "containers", "good": true' in tiffin.run("doctor", "--json").stdout.decode()
    archive = tiffin.run("save", "box:1").stdout
    tiffin = Tiffin(f"{tiffin.root}-other")
    tiffin("load", stdin=archive)
    tiffin("run", "-d", "--network", "none", "--restart", "always", "box:1", "sleep", "1000")
    assert "removed: " in tiffin("system", "reset", "--force")
    assert not os.path.exists(tiffin.root)
    os.makedirs(f"{tiffin.root}/precious")
    assert "is no store of tiffin" in tiffin.wrong("system", "reset", "-f")


def test_what_comes_back_after_a_boot(tiffin: Tiffin) -> None:
    """`system start` starts what `always` wants, and the generated unit calls it for this store."""
    tiffin(
        "run", "-d", "--name", "back", "--restart", "always", "--network", "none", "box:1", "sleep", "1000"
    )
    tiffin("stop", "-t", "0", "back")
    assert tiffin("system", "start") == "back\n"
    assert tiffin("ps", "--format", "{{.Names}}") == "back\n"
    assert tiffin("system", "start") == ""
    unit = tiffin("generate", "systemd")
    assert f'Environment="TIFFIN_ROOT={tiffin.root}"\n' in unit
    assert "tiffin system start\n" in unit
    tiffin("rm", "-f", "back")


def test_images_by_their_flags(tiffin: Tiffin) -> None:
    """History and lists in short and in full; what has no name goes when it is asked for."""
    identifier = tiffin("image", "inspect", "--format", "{{.Id}}", "box:1").strip()
    assert tiffin("history", "--quiet", "--no-trunc", "box:1").splitlines()[0] == identifier
    assert identifier in tiffin("images", "--all", "--no-trunc")
    tiffin("build", "-q", "-t", "unnamed:1", "--label", "x=y", "-", stdin=b"FROM box:1\n")
    tiffin("rmi", "--no-prune", "-f", "unnamed:1")
    tiffin("build", "-q", "-t", "unused:1", "--label", "goes=now", "-", stdin=b"FROM box:1\n")
    gone = tiffin("image", "prune", "--all", "--force", "--filter", "label=goes")
    assert "untagged: unused:1\n" in gone
    assert tiffin("images", "-q", "box:1") != ""


def test_builds_by_their_flags(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """Flags that change nothing here are taken; --platform, --pull and --target change something."""
    text = b"FROM box:1 AS first\nLABEL at=first\nFROM first\nLABEL at=second\n"
    made = tiffin(
        *("build", "-q", "--compress", "--force-rm", "--rm=false", "--load", "--disable-content-trust"),
        *("--target", "first", "--platform", "linux/amd64", "--iidfile", f"{tmp_path}/id", "-"),
        stdin=text,
    ).strip()
    assert (tmp_path / "id").read_text() == made
    assert tiffin("inspect", "-f", "{{.Config.Labels.at}} {{.Architecture}}", made) == "first amd64\n"
    tiffin("rmi", made)
    assert "FROM box:1" in tiffin.run("build", "--pull", "-", stdin=text).stderr.decode()


@pytest.mark.skipif(not os.path.exists(DOCKER_REGISTRY), reason="docker-registry is not installed")
def test_registries_by_their_flags(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """Login -p warns; --pull fetches the newest; content trust can only be off."""
    with DockerRegistry(f"{tmp_path}/registry", users={"ann": "secret"}) as registry:
        done = tiffin.run("login", "-u", "ann", "--password", "secret", registry.host)
        assert b"--password via the CLI is insecure" in done.stderr
        assert done.stdout.endswith(b"Login Succeeded\n")
        name = f"{registry.host}/flags:1"
        tiffin("tag", "box:1", name)
        tiffin("push", "-q", "--disable-content-trust", name)
        assert tiffin("pull", "-q", "--disable-content-trust", name) == f"{name}\n"
        built = tiffin("build", "-q", "--pull", "-", stdin=f"FROM {name}\nLABEL x=y\n".encode()).strip()
        assert "content trust is not supported" in tiffin.wrong("pull", "--disable-content-trust=false", name)
        tiffin("rmi", name, built)
        tiffin("logout", registry.host)


def test_fsck_of_what_a_killed_command_left(tiffin: Tiffin) -> None:
    """A draft of a dead process is a note with its bytes, exit code 0; a repair removes it."""
    draft = f"{tiffin.root}/drafts/00000000-1-1-dead"
    os.makedirs(draft)
    with open(f"{draft}/file", "wb") as stream:
        stream.write(bytes(1000))
    whole, note, total = tiffin("fsck").splitlines()
    assert whole == "the store is whole"
    assert note == f"note: {draft}: draft that nothing refers to, 1000 bytes"
    assert "1000 bytes, which the next prune removes" in total
    assert tiffin("fsck", "--repair").endswith("1000 bytes, removed\n")
    assert not os.path.exists(draft)
    assert tiffin("fsck") == "the store is whole\n"
