"""Whole sessions: the installed command, a real store, real containers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Tiffin


@pytest.fixture
def box(tiffin: Tiffin) -> Iterator[str]:
    """A running container's id."""
    name = tiffin("run", "-d", "box:1", "sh", "-c", "echo out; echo err >&2; exec sleep 1000").strip()
    yield name
    tiffin("rm", "-f", name)


def test_run_passes_output_and_exit_code(tiffin: Tiffin) -> None:
    """What the process prints and how it ends is what the command prints and how it ends."""
    done = tiffin.run("run", "--rm", "box:1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


def test_run_passes_input(tiffin: Tiffin) -> None:
    """With -i stdin reaches the process, also more of it than any buffer holds."""
    data = os.urandom(1 << 20)
    done = tiffin.run("run", "--rm", "-i", "box:1", "cat", stdin=data)
    assert done.returncode == 0, done.stderr
    assert done.stdout == data


def test_run_without_i_has_no_input(tiffin: Tiffin) -> None:
    """Without -i the process sees an empty stdin."""
    assert tiffin("run", "--rm", "box:1", "cat", stdin=b"secret") == ""


@needs_ids
def test_run_takes_its_flags(tiffin: Tiffin) -> None:
    """Variables, folder, user, hostname and entrypoint are what was asked."""
    script = "echo $GREETING $A $(id -u) $HOSTNAME; cat /etc/hostname"
    shown = tiffin(
        "run", "--rm", "-e", "A=b", "-w", "/bin", "-u", "bob", "--hostname", "h1", "--entrypoint", "sh",
        "box:1", "-c", script,
    )  # fmt: skip
    assert shown == "hello b 7 h1\nh1\n"


def test_exit_codes_of_what_cannot_start(tiffin: Tiffin) -> None:
    """Docker's codes: 127 not found, 126 not executable, 125 for the engine's own refusals."""
    assert "executable file not found in $PATH" in tiffin.wrong("run", "--rm", "box:1", "nope", code=127)
    assert "permission denied" in tiffin.wrong("run", "--rm", "box:1", "/etc/passwd", code=126)
    assert "not supported" in tiffin.wrong("run", "--kernel-memory", "1m", "box:1", code=125)
    assert "no such image" in tiffin.wrong("run", "--pull", "never", "nope:1", code=125).lower()
    assert tiffin("ps", "-aq", "--filter", "status=created") == "" or tiffin("container", "prune", "-f")


def test_rm_leaves_nothing(tiffin: Tiffin) -> None:
    """A container of --rm is gone when the command has ended."""
    before = tiffin("ps", "-aq")
    tiffin("run", "--rm", "box:1", "true")
    assert tiffin("ps", "-aq") == before


def test_a_container_in_the_background(tiffin: Tiffin, box: str) -> None:
    """ps, logs, exec, inspect and stop on a container that runs."""
    assert len(box) == 64
    assert tiffin("ps", "-q", "--no-trunc") == f"{box}\n"
    line = tiffin("ps", "--format", "{{.ID}}|{{.Image}}|{{.Command}}|{{.State}}").strip()
    assert line == f'{box[:12]}|box:1|"sh -c \'echo out; e…"|running' or line.startswith(f"{box[:12]}|box:1|")
    logged = tiffin.run("logs", box[:12])
    assert (logged.stdout, logged.stderr) == (b"out\n", b"err\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out\n", tiffin("logs", "-t", box))
    assert tiffin("exec", "-e", "X=1", box, "sh", "-c", "echo $X") == "1\n"
    assert tiffin.run("exec", box, "sh", "-c", "exit 3").returncode == 3
    assert tiffin("exec", "-i", box, "cat", stdin=b"in") == "in"
    assert tiffin("inspect", "-f", "{{.State.Running}} {{.Config.Image}}", box) == "true box:1\n"
    assert json.loads(tiffin("inspect", box))[0]["Id"] == box
    assert tiffin("stop", "-t", "0", box) == f"{box}\n"
    assert tiffin("ps", "-q") == ""
    assert "Exited (137)" in tiffin("ps", "-a", "--format", "{{.Status}}", "--filter", f"id={box}")
    assert tiffin("wait", box) == "137\n"


def test_an_exec_that_fails_leaves_the_container_alone(tiffin: Tiffin, box: str) -> None:
    """A program that is not there is 127, and the container stops as quickly as ever."""
    assert "executable file not found" in tiffin.wrong("exec", box, "nope", code=127)
    assert tiffin("stop", "-t", "0", box) == f"{box}\n"


def test_create_start_rename_rm(tiffin: Tiffin) -> None:
    """The life of a container in single steps."""
    made = tiffin("create", "--name", "one", "box:1", "echo", "hi").strip()
    assert "already in use" in tiffin.wrong("create", "--name", "one", "box:1", code=125)
    assert tiffin("start", "-a", "one") == "hi\n"
    assert tiffin("rename", "one", "two") == ""
    assert tiffin("inspect", "-f", "{{.Name}} {{.State.ExitCode}}", made) == "/two 0\n"
    assert tiffin("start", "two") == "two\n"
    assert tiffin("wait", "two") == "0\n"
    assert tiffin("rm", "two") == "two\n"
    assert "No such container: two" in tiffin.wrong("rm", "two")
    assert tiffin("rm", "-f", "two") == ""


def test_several_names_are_all_tried(tiffin: Tiffin) -> None:
    """One that fails does not keep the others from being done; the code says that one failed."""
    tiffin("create", "--name", "there", "box:1")
    done = tiffin.run("rm", "nope", "there")
    assert (done.returncode, done.stdout) == (1, b"there\n")
    assert b"nope" in done.stderr


def test_container_prune_asks_first(tiffin: Tiffin) -> None:
    """Without -f only `y` removes anything."""
    made = tiffin("create", "box:1").strip()
    assert "Are you sure you want to continue? [y/N] " in tiffin("container", "prune", stdin=b"n\n")
    assert made[:12] in tiffin("ps", "-aq")
    assert f"Deleted Containers:\n{made}\n" in tiffin("container", "prune", stdin=b"y\n")
    assert tiffin("container", "prune", "-f") == "Total reclaimed space: 0B\n"


def test_images_have_names(tiffin: Tiffin) -> None:
    """tag, images, history, inspect and rmi by name."""
    tiffin("tag", "box:1", "localhost:5000/other:2")
    names = tiffin("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {"box:1", "localhost:5000/other:2"} <= set(names)
    assert tiffin("images", "-q", "box").strip() == tiffin("images", "-q", "localhost:5000/other").strip()
    assert "COPY bin /bin" in tiffin("history", "--no-trunc", "--format", "{{.CreatedBy}}", "box:1")
    shown = json.loads(tiffin("image", "inspect", "box:1"))[0]
    assert shown["Config"]["Cmd"] == ["sh"]
    assert shown["Metadata"]["LastTagTime"] > shown["Created"]
    assert tiffin("rmi", "localhost:5000/other:2") == "Untagged: localhost:5000/other:2\n"
    assert "No such image: localhost:5000/other:2" in tiffin.wrong("rmi", "localhost:5000/other:2")


def test_save_and_load(tiffin: Tiffin, tmp_path: os.PathLike[str]) -> None:
    """An image travels through a file under its name."""
    path = os.path.join(tmp_path, "box.tar")
    tiffin("tag", "box:1", "travel:1")
    tiffin("save", "-o", path, "travel:1")
    tiffin("rmi", "travel:1")
    assert tiffin("load", "-i", path) == "Loaded image: travel:1\n"
    assert tiffin("run", "--rm", "travel:1", "echo", "there") == "there\n"
    tiffin("rmi", "travel:1")


def test_a_failing_build_says_where(tiffin: Tiffin) -> None:
    """The exit code is the RUN's, and the line of the Dockerfile is shown."""
    done = tiffin.run("build", "-", stdin=b"FROM box:1\nRUN echo before; exit 3\n")
    assert done.returncode == 3
    assert b"   2 | RUN echo before; exit 3\n" in done.stderr
    assert b"failed, exit 3" in done.stderr


def test_a_build_says_what_was_cached(tiffin: Tiffin) -> None:
    """The second build of the same Dockerfile runs nothing and gives the same image."""
    text = b"FROM box:1\nRUN echo x > /x\n"
    first, second = (tiffin.run("build", "-t", "twice:1", "-", stdin=text) for _ in range(2))
    assert b"new instruction" in first.stderr or b"first build" in first.stderr
    assert re.search(rb"2/2 RUN echo x > /x +cached\n", second.stderr)
    assert first.stderr.splitlines()[-1].split()[1] == second.stderr.splitlines()[-1].split()[1]
    tiffin("rmi", "twice:1")


def test_signals_reach_the_process(tiffin: Tiffin) -> None:
    """A signal to an attached `run` goes to the process, whose exit code comes back."""
    script = 'trap "exit 42" TERM; echo ready; while :; do sleep 0.1; done'
    with subprocess.Popen(
        tiffin.argv("run", "--rm", "box:1", "sh", "-c", script), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 42


def test_a_terminal(tiffin: Tiffin) -> None:
    """With -it the process has a terminal of the caller's size, and the caller's is put back."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ["COLUMNS"] = ""
        os.execv(
            sys.executable,
            tiffin.argv("run", "--rm", "-it", "box:1", "sh", "-c", "stty size; read x; echo got:$x"),
        )
    import fcntl
    import struct
    import termios

    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    shown = _read_until(master, b"\n")
    os.write(master, b"typed\r")
    shown += _read_until(master, b"got:typed\r\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(master)
    assert b"33 77" in shown
    assert b"got:typed\r\n" in shown


def _read_until(master: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
    return shown


def test_output_that_nobody_reads_ends_the_command(tiffin: Tiffin) -> None:
    """`tiffin ... | head` ends like every program whose pipe is closed, without a traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        tiffin.argv("images"), stdout=write, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(write)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr


def test_a_full_disk_behind_stdout_is_an_error(tiffin: Tiffin) -> None:
    """What could not be written does not look like success."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            tiffin.argv("images"), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


def test_version_and_info_speak_through_templates(tiffin: Tiffin) -> None:
    """Scripts ask for single facts."""
    assert tiffin("version", "--format", "{{.Server.Version}}") == tiffin("--version").split()[-1] + "\n"
    assert json.loads(tiffin("info", "-f", "json"))["Driver"] == "overlay2"


def test_cleanup_of_nothing_is_no_error(tiffin: Tiffin) -> None:
    """A keeper may ask to clean up what another command has removed already."""
    assert tiffin("internal", "cleanup", "f" * 64) == ""


def test_volumes(tiffin: Tiffin) -> None:
    """A named volume outlives its container, is listed, inspected and removed."""
    assert tiffin("volume", "create", "--label", "a=b", "data") == "data\n"
    tiffin("run", "--rm", "-v", "data:/d", "box:1", "sh", "-c", "echo kept > /d/file")
    assert tiffin("run", "--rm", "-v", "data:/d:ro", "box:1", "cat", "/d/file") == "kept\n"
    assert tiffin("volume", "ls", "-q") == "data\n"
    assert tiffin("volume", "inspect", "-f", "{{.Labels.a}}", "data") == "b\n"
    assert tiffin("volume", "rm", "data") == "data\n"
    assert "no such volume" in tiffin.wrong("volume", "rm", "data")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_streams_do_no_harm(tiffin: Tiffin, closed: int) -> None:
    """Started without a stdin, stdout or stderr, no file takes its place and the command works."""
    words = " ".join(f"'{word}'" for word in tiffin.argv("run", "--rm", "box:1", "echo", "hi"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {words} {closed}>&-"], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout == (b"" if closed == 1 else b"hi\n")


def test_arguments_that_are_no_text_are_refused(tiffin: Tiffin) -> None:
    """A name or path of arbitrary bytes is refused with a sentence, before anything is made."""
    argv = [os.fsencode(word) for word in tiffin.argv("create", "-l")]
    done = subprocess.run([*argv, b"x=\xff", b"box:1"], check=False, capture_output=True, timeout=60)
    assert done.returncode in {1, 125}
    assert b"is not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_attach_and_leave_by_the_detach_keys(tiffin: Tiffin) -> None:
    """Attach shows what comes from then on and takes input; ctrl-p ctrl-q leaves the container alone."""
    name = tiffin("run", "-dit", "box:1", "sh", "-c", "while read x; do echo got:$x; done").strip()
    pid, master = pty.fork()
    if pid == 0:
        os.execv(sys.executable, tiffin.argv("attach", name))
    os.write(master, b"typed\r")
    shown = _read_until(master, b"got:typed")
    os.write(master, b"\x10\x11")
    shown += _read_until(master, b"read escape sequence")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    os.close(master)
    assert b"got:typed\r\n" in shown
    assert tiffin("inspect", "-f", "{{.State.Running}}", name) == "true\n"
    tiffin("rm", "-f", name)


def test_kill_and_restart(tiffin: Tiffin, box: str) -> None:
    """A signal by any of its names; a restarted container runs again."""
    assert tiffin("restart", "-t", "0", box) == f"{box}\n"
    assert tiffin("ps", "-q", "--no-trunc") == f"{box}\n"
    assert tiffin("kill", "-s", "SIGKILL", box) == f"{box}\n"
    assert tiffin("inspect", "-f", "{{.State.ExitCode}}", box) == "137\n"
    assert "is not running" in tiffin.wrong("kill", box)


def test_prunes_and_fsck(tiffin: Tiffin) -> None:
    """Images without a name go on request, the build cache too, and the store is whole afterwards."""
    tiffin("build", "-q", "-t", "gone:1", "-", stdin=b"FROM box:1\nRUN echo 1 > /one\n")
    tiffin("build", "-q", "-t", "gone:1", "-", stdin=b"FROM box:1\nRUN echo 2 > /two\n")
    assert tiffin("images", "-q", "--filter", "dangling=true").count("\n") == 1
    assert "deleted: sha256:" in tiffin("image", "prune", "-f")
    assert tiffin("images", "-q", "--filter", "dangling=true") == ""
    tiffin("rmi", "gone:1")
    assert "Total reclaimed space" in tiffin("builder", "prune", "-af")
    assert tiffin("fsck") == "the store is whole\n"
