"""Habits of docker's users, each in a real session: what is refused and how, what stays and what goes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_ids
from tests.servers import DOCKER_REGISTRY, DockerRegistry
from tiffin.errors import NotFound
from tiffin.runtime import specgen

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from tests.cli.conftest import Tiffin


@pytest.fixture
def box(tiffin: Tiffin) -> Iterator[str]:
    """A running container's name."""
    tiffin("run", "-d", "--name", "boxed", "box:1", "sh", "-c", "echo out; exec sleep 1000")
    yield "boxed"
    tiffin("rm", "-f", "boxed")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry for everybody."""
    if not os.path.exists(DOCKER_REGISTRY):
        pytest.skip("docker-registry is not installed")
    with DockerRegistry(str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


WRONG = [
    (("-w", "relative"), "the working directory 'relative' is invalid, it needs to be an absolute path"),
    (("--stop-signal", "FOO"), "invalid signal: FOO"),
    (("--memory-swap", "10m"), "You should always set the Memory limit when using Memoryswap limit"),
    (("-m", "64m", "--memory-swap", "10m"), "Minimum memoryswap limit should be larger than memory limit"),
    (("-m", "4m"), "Minimum memory limit allowed is 6MB"),
    (("--cpus", "9999"), "Range of CPUs is from 0.01 to "),
    (("--tmpfs", "relative"), "invalid mount path: 'relative' mount path must be absolute"),
    (("--tmpfs", "/t:nothing"), 'invalid tmpfs option "nothing"'),
    (("-v", "relative/x:/x"), "includes invalid characters for a local volume name"),
    (("-v", "/etc:/x:zz"), "invalid mode: zz"),
    (("--mount", "type=bind,src=/not/there,dst=/x"), "bind source path does not exist: /not/there"),
    (("--platform", "nothing"), '"nothing": unknown operating system or architecture'),
    (("--platform", "linux/s390x", "--pull", "never"), "does not match the specified platform (linux/s390x)"),
    (("--pull", "sometimes"), "invalid pull option: 'sometimes'"),
    (("--cidfile", "/not/there/id"), "failed to create the container ID file: open /not/there/id"),
    (("--env-file", "/not/there"), "open /not/there: no such file or directory"),
    (("--label-file", "/not/there"), "open /not/there: no such file or directory"),
    (("--cap-add", "nothing"), 'unknown capability: "CAP_NOTHING"'),
    (("--security-opt", "nothing"), 'Invalid --security-opt: "nothing"'),
    (("--network", "nothing"), "network nothing not found"),
    (("--runtime", "nothing"), "unknown or invalid runtime name: nothing"),
    (("-u", "nobody"), "unable to find user nobody: no matching entries in passwd file"),
    (("--name", "a b"), "Invalid container name (a b)"),
    (("--expose", "x"), "invalid range format for --expose: x"),
    (("-a", "nothing"), "valid streams are STDIN, STDOUT and STDERR"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_cannot_be_is_refused_in_dockers_words(
    tiffin: Tiffin, words: tuple[str, ...], sentence: str
) -> None:
    """The sentence is docker's, the exit code 125, and with --rm no container is left."""
    assert sentence.lower() in tiffin.wrong("run", "--rm", *words, "box:1", "true", code=125).lower()
    assert tiffin("ps", "-aq") == ""


def test_names_that_are_not_there(tiffin: Tiffin, box: str) -> None:
    """Every command names what it did not find, and what it may not do."""
    tiffin("rename", box, box + "2")
    tiffin("rename", box + "2", box)
    assert f"cannot kill container: {box}: invalid signal: FOO" in tiffin.wrong("kill", "-s", "FOO", box)
    assert "container is running: stop the container before removing" in tiffin.wrong("rm", box)
    assert "Renaming a container with the same name" in tiffin.wrong("rename", box, box)
    assert "No such container: nope" in tiffin.wrong("start", "-a", "nope")
    assert "No such object: nope" in tiffin.wrong("inspect", "nope")
    assert "No such container: nope" in tiffin.wrong("container", "inspect", "nope")
    assert "No such image: nope:latest" in tiffin.wrong("image", "inspect", "nope")
    assert "open /not/there: no such file or directory" in tiffin.wrong("load", "-i", "/not/there")
    assert "No such image: nope:latest" in tiffin.wrong("history", "nope")
    assert "--host is not supported: tiffin has no daemon" in tiffin.wrong("-H", "tcp://x", "ps", code=125)
    assert "(cannot be forced) - image is being used by running container" in tiffin.wrong(
        "rmi", "-f", tiffin("inspect", "-f", "{{.Image}}", box).strip()
    )


@needs_ids
def test_exec_of_an_unknown_user_is_126(tiffin: Tiffin, box: str) -> None:
    """As docker: the container is fine, what was asked for cannot be run."""
    assert "unable to find user nope" in tiffin.wrong("exec", "-u", "nope", box, "true", code=126)
    assert tiffin("exec", "-u", "bob", "-w", "/bin", box, "sh", "-c", "id -u; pwd") == "7\n/bin\n"


def test_an_init_reaps_and_passes_the_exit_code(tiffin: Tiffin) -> None:
    """With --init the first process is a small init program, and the command's code comes back."""
    try:
        specgen.find_init()
    except NotFound:
        pytest.skip("no init program is installed")
    shown = tiffin("run", "--rm", "--init", "box:1", "cat", "/proc/1/cmdline")
    assert shown == "/sbin/docker-init\0--\0cat\0/proc/1/cmdline\0"
    assert tiffin.run("run", "--rm", "--init", "box:1", "sh", "-c", "exit 3").returncode == 3


@needs_ids
def test_security_options(tiffin: Tiffin) -> None:
    """Capabilities, no-new-privileges, seccomp and masked paths are what was asked for."""

    def status(*words: str) -> dict[str, str]:
        text = tiffin("run", "--rm", *words, "box:1", "cat", "/proc/self/status")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    plain = status()
    assert (plain["CapEff"], plain["NoNewPrivs"], plain["Seccomp"]) == ("00000000a80425fb", "0", "2")
    assert status("--cap-drop", "ALL")["CapBnd"] == "0" * 16
    assert status("--cap-drop", "ALL", "--cap-add", "CHOWN")["CapEff"] == f"{1:016x}"
    assert status("-u", "bob")["CapEff"] == "0" * 16
    assert status("--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"
    assert status("--security-opt", "seccomp=unconfined")["Seccomp"] == "0"
    privileged = status("--privileged")
    assert privileged["Seccomp"] == "0"
    assert int(privileged["CapEff"], 16) > int(plain["CapEff"], 16)
    assert (
        status("--security-opt", "apparmor=unconfined", "--security-opt", "label=disable")["Seccomp"] == "2"
    )
    asking = ("box:1", "sh", "-c", "cat /proc/mounts")
    masked = "/proc/timer_list"
    assert masked in tiffin("run", "--rm", *asking)
    assert masked not in tiffin("run", "--rm", "--security-opt", "systempaths=unconfined", *asking)


def test_mounts_of_every_kind(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """Binds, volumes and tmpfs by -v, --mount and --tmpfs; read-only means it; the same twice is once."""
    (tmp_path / "file").write_text("of the host\n")
    there = f"{tmp_path}:/x"
    assert tiffin("run", "--rm", "-v", there, "-v", there, "box:1", "cat", "/x/file") == "of the host\n"
    script = "echo no > /x/new"
    for words in (
        ("-v", f"{there}:ro"),
        ("--mount", f"type=bind,source={tmp_path},target=/x,readonly"),
        ("--mount", "type=volume,source=kinds,target=/x,readonly"),
        ("--mount", "type=tmpfs,target=/x,readonly"),
    ):
        assert "Read-only file system" in tiffin.wrong("run", "--rm", *words, "box:1", "sh", "-c", script)
    assert not (tmp_path / "new").exists()
    script = "echo yes > /t/new && cat /t/new && cat /proc/mounts"
    shown = tiffin("run", "--rm", "--read-only", "--tmpfs", "/t:size=1m,exec", "box:1", "sh", "-c", script)
    assert shown.startswith("yes\n")
    assert re.search(r"tmpfs /t tmpfs rw,nosuid,nodev,relatime,size=1024k", shown)
    tiffin("run", "--rm", "-v", f"{tmp_path}/made:/x", "box:1", "true")
    assert (tmp_path / "made").is_dir()
    assert tiffin("volume", "ls", "-q") == "kinds\n"
    tiffin("volume", "rm", "kinds")


def test_variables_labels_and_the_id_come_from_files(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """--env-file, --label-file and --cidfile; what stands on the command line wins."""
    (tmp_path / "env").write_text("# comment\nA=1\nB=two words\nNOT_IN_THE_CALLER\n")
    (tmp_path / "labels").write_text("a=1\nb\n")
    shown = tiffin("run", "--rm", "--env-file", f"{tmp_path}/env", "-e", "A=2", "box:1", "env")
    assert {"A=2", "B=two words"} <= set(shown.splitlines())
    assert "NOT_IN_THE_CALLER" not in shown
    made = tiffin(
        *("create", "--label-file", f"{tmp_path}/labels", "-l", "c=3", "--cidfile", f"{tmp_path}/id"),
        *("--stop-timeout", "7", "--expose", "80", "--domainname", "d", "box:1"),
    ).strip()
    assert (tmp_path / "id").read_text() == made
    template = "{{json .Config.Labels}} {{.Config.StopTimeout}} {{json .Config.ExposedPorts}}"
    assert tiffin("inspect", "-f", template, made) == '{"a":"1","b":"","c":"3"} 7 {"80/tcp":{}}\n'
    assert "container ID file found" in tiffin.wrong(
        "create", "--cidfile", f"{tmp_path}/id", "box:1", code=125
    )
    tiffin("rm", made)


def test_lists_say_what_dockers_say(tiffin: Tiffin, box: str) -> None:
    """Words with spaces are quoted in COMMAND; -q wins over --format with a warning; no size is 0B."""
    assert tiffin("ps", "--no-trunc", "--format", "{{.Command}}") == (
        "\"sh -c 'echo out; exec sleep 1000'\"\n"
    )
    for words in (("ps", "-q"), ("images", "-q", "box")):
        done = tiffin.run(*words, "--format", "json")
        assert re.fullmatch(rb"[0-9a-f]{12}\n", done.stdout)
        assert b"WARNING: Ignoring custom format" in done.stderr
    assert tiffin("ps", "--format", "{{.Size}}").startswith("0B (virtual ")
    assert '"Size":"0B"' in tiffin("ps", "--format", "json")
    assert tiffin("ps", "-a", "--filter", f"name=^{box}$", "-n", "1", "-s").count("\n") == 2
    lines = tiffin("history", "-H=false", "box:1").splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "AT", "CREATED", "BY", "SIZE", "COMMENT"]
    assert re.search(r" \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) ", lines[1])
    assert tiffin("logs", "--details", "--tail", "1", box) == " out\n"
    assert tiffin("logs", "--since", "1h", "--until", "0s", box) == "out\n"
    assert tiffin("inspect", "--type", "container", "-s", "-f", "{{.SizeRw}}", box) == "0\n"


def test_a_save_that_fails_leaves_the_file(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """The file is the old one or the whole new one, and no other stays beside it."""
    path = tmp_path / "saved.tar"
    path.write_text("precious")
    tiffin.wrong("save", "-o", str(path), "box:1", "nope:1")
    assert path.read_text() == "precious"
    tiffin("save", "-o", str(path), "box:1")
    assert os.listdir(tmp_path) == ["saved.tar"]
    assert tiffin("load", "-q", "-i", str(path)) == "Loaded image: box:1\n"
    assert 'directory "/not/there" does not exist' in tiffin.wrong("save", "-o", "/not/there/x", "box:1")


def _keeper_of(tiffin: Tiffin, name: str) -> int:
    """Return the process that keeps a container: the parent of its first process."""
    pid = int(tiffin("inspect", "-f", "{{.State.Pid}}", name))
    with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
        return int(stream.read().rpartition(")")[2].split()[1])


def test_rm_also_when_the_keeper_was_killed(tiffin: Tiffin) -> None:
    """A --rm container whose keeper is killed is gone with the next look, and so is its process."""
    tiffin("run", "-d", "--rm", "--name", "lost", "box:1", "sleep", "1000")
    process = os.pidfd_open(int(tiffin("inspect", "-f", "{{.State.Pid}}", "lost")))
    os.kill(_keeper_of(tiffin, "lost"), signal.SIGKILL)
    assert tiffin("ps", "-aq") == ""
    _until_gone(process)


def test_rm_also_when_the_command_was_killed(tiffin: Tiffin) -> None:
    """Nobody is there to remove it when it ends, and it is removed all the same."""
    words = ("run", "--rm", "--name", "orphan", "box:1", "sh", "-c", "echo ready; exec sleep 1000")
    with subprocess.Popen(tiffin.argv(*words), stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        client.kill()
    assert tiffin("ps", "--format", "{{.Names}}") == "orphan\n"
    keeper = os.pidfd_open(_keeper_of(tiffin, "orphan"))
    tiffin("kill", "orphan")
    _until_gone(keeper)
    while tiffin("ps", "-aq"):
        continue  # what the keeper started last is still at it; a look takes longer than that
    assert tiffin("fsck") == "the store is whole\n"


def _until_gone(process: int) -> None:
    """Wait for a process that is nobody's child here."""
    import select

    poll = select.poll()
    poll.register(process, select.POLLIN)
    assert poll.poll(60_000)
    os.close(process)


def test_the_name_of_a_stopped_rm_container_is_free(tiffin: Tiffin) -> None:
    """When stop or kill has returned, a --rm container is gone; restart would lose it and says so."""
    for end in (("stop", "-t", "0"), ("kill",)):
        tiffin("run", "-d", "--rm", "--name", "again", "box:1", "sleep", "1000")
        assert "it is removed when it stops (--rm)" in tiffin.wrong("restart", "-t", "0", "again")
        assert tiffin(*end, "again") == "again\n"
        assert tiffin("ps", "-aq") == ""


def test_a_container_outlives_its_session(tiffin: Tiffin) -> None:
    """`run -d` in a session that is hung up: the container does not notice."""
    with subprocess.Popen(
        tiffin.argv("run", "-d", "--name", "stays", "box:1", "sleep", "1000"),
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as shell:
        assert shell.stdout is not None
        shell.stdout.read()
        with contextlib.suppress(ProcessLookupError):  # nobody may be left in it
            os.killpg(shell.pid, signal.SIGHUP)
    assert tiffin("inspect", "-f", "{{.State.Running}}", "stays") == "true\n"
    tiffin("rm", "-f", "stays")


@pytest.mark.parametrize("words", [("build", "-"), ("logs", "-f", "boxed")])
def test_ctrl_c_ends_the_command_quietly(tiffin: Tiffin, box: str, words: tuple[str, ...]) -> None:
    """An interrupted command ends with 130, without a traceback, and nothing goes on behind it."""
    ours = str(1_000_000 + os.getpid())  # no other session's sleep
    with subprocess.Popen(
        tiffin.argv(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"FROM box:1\nRUN echo begun; sleep {ours}\n".encode())
        client.stdin.close()
        shown = b""
        while b"begun" not in shown and b"out" not in shown:
            shown += os.read(client.stdout.fileno(), 4096)
        client.send_signal(signal.SIGINT)
        shown += client.stdout.read()
        assert client.wait(60) == 130
    assert b"Traceback" not in shown
    assert tiffin("ps", "-q").count("\n") == 1
    assert tiffin("exec", box, "true") == ""
    slept = f"sleep\0{ours}\0".encode()
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _runs(pid, slept)]


def _runs(pid: str, command: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read() == command
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_builds_take_their_flags(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """Several tags, a Dockerfile elsewhere or on stdin, arguments, labels, a target, --iidfile, -q."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "file").write_text("x")
    text = "FROM box:1 AS first\nARG A=1\nLABEL made=$A\nCOPY file /\nFROM first\nLABEL last=yes\n"
    (tmp_path / "Other").write_text(text)
    base = ("build", "-q", "-f", f"{tmp_path}/Other", "--build-arg", "A=7", "--label", "more=x")
    context = str(tmp_path / "context")
    made = tiffin(*base, "-t", "flags:1", "-t", "flags:2", "--iidfile", f"{tmp_path}/id", context).strip()
    assert (tmp_path / "id").read_text() == made
    labels = tiffin("inspect", "-f", "{{json .Config.Labels}} {{.RepoTags}}", "flags:2")
    assert labels == '{"made":"7","last":"yes","more":"x"} [flags:1 flags:2]\n'
    first = tiffin(*base, "--target", "first", context).strip()
    assert "last" not in tiffin("inspect", "-f", "{{json .Config.Labels}}", first)
    assert tiffin(
        "build", "-q", "-f", "-", "--build-arg", "A=7", "--label", "more=x", context, stdin=text.encode()
    )
    shown = tiffin.run("build", "--no-cache", "--progress", "plain", "-f", f"{tmp_path}/Other", context)
    assert re.search(rb"COPY file / +\d+\.\ds +1 B  ", shown.stderr)
    tiffin("rmi", "-f", "flags:1", "flags:2")
    tiffin("image", "prune", "-f")


def test_builds_are_given_secrets_and_agents(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """--secret of a file and of a variable; --ssh of an agent's socket; each refused if it is not there."""
    (tmp_path / "file").write_text("from a file")
    text = (
        b"FROM box:1\n"
        b"RUN --mount=type=secret,id=a,required --mount=type=secret,id=PATH,env=P"
        b" cat /run/secrets/a; echo $P\n"
        b"RUN --mount=type=ssh,required ls $SSH_AUTH_SOCK\n"
    )
    # A user's folder of tests may have too long a name for a socket.
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as agent:
        agent.bind(f"{short}/agent")
        agent.listen()
        file, socket_of = f"id=a,src={tmp_path}/file", f"default={short}/agent"
        said = tiffin.run(
            "build", "--secret", file, "--secret", "id=PATH", "--ssh", socket_of, "-", stdin=text
        )
    assert said.returncode == 0, said.stderr
    assert b"from a file/" in said.stderr
    assert b"/run/buildkit/ssh_agent.0" in said.stderr
    for words, message in (
        (["--secret", "id=a,src=/none"], b"failed to stat /none: no such file or directory"),
        (["--secret", "src=/none"], b"secret missing id"),
        (["--secret", "id=a,env=NOT_SET_HERE"], b"secret a: the variable NOT_SET_HERE is not set"),
        (["--ssh", f"default={tmp_path}/file"], b"--ssh with a key file is not supported"),
    ):
        said = tiffin.run("build", *words, "-", stdin=text)
        assert said.returncode != 0
        assert message in said.stderr
    tiffin("image", "prune", "-f")


def test_a_reproducible_build_is_dated_1970(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """--reproducible: built again from nothing, the image is the same one; nothing in it is younger."""
    (tmp_path / "file").write_text("x")
    text = b"FROM scratch\nCOPY --from=box:1 /bin /bin\nRUN echo made > /made\nCOPY file /\n"
    (tmp_path / "Dockerfile").write_bytes(text)
    made = tiffin("build", "-q", "--reproducible", "--no-cache", str(tmp_path))
    os.utime(tmp_path / "file")
    assert tiffin("build", "-q", "--reproducible", "--no-cache", str(tmp_path)) == made
    assert tiffin("inspect", "-f", "{{.Created}}", made.strip()) == "1970-01-01T00:00:00Z\n"
    said = tiffin("run", "--rm", made.strip(), "busybox", "stat", "-c", "%Y", "/made", "/file", "/bin/sh")
    assert said == "0\n0\n0\n"
    tiffin("rmi", made.strip())


def test_what_a_registry_refuses_is_shown_in_the_dockerfile(
    tiffin: Tiffin, registry: DockerRegistry, tmp_path: pathlib.Path
) -> None:
    """The line that asked for an image that is not there, by a path as the user would type it."""
    said = tiffin.run("build", "-", stdin=f"FROM {registry.host}/nope:1\n".encode())
    assert said.returncode == 1
    assert f"   1 | FROM {registry.host}/nope:1\n".encode() in said.stderr
    (tmp_path / "Dockerfile").write_text("FROM box:1\nCOPY nope /\n")
    done = subprocess.run(
        tiffin.argv("build", "-f", "./Dockerfile", "."), cwd=tmp_path, check=False, capture_output=True
    )
    assert b"\nDockerfile:2\n" in done.stderr
    assert "network nothing not found" in tiffin.wrong("build", "--network", "nothing", str(tmp_path))


def test_pull_policies(tiffin: Tiffin, registry: DockerRegistry) -> None:
    """With "missing" it says so, with "always" not, with -q nothing; another platform is no match."""
    name = f"{registry.host}/policy:1"
    tiffin("tag", "box:1", name)
    tiffin("push", "-q", name)
    done = tiffin.run("run", "--rm", "--pull", "always", name, "echo", "hi")
    assert done.stdout == b"hi\n"
    assert b"Status: Image is up to date" in done.stderr
    assert b"Unable to find" not in done.stderr
    tiffin("rmi", name)
    done = tiffin.run("run", "--rm", name, "echo", "hi")
    assert done.stderr.startswith(f"Unable to find image '{name}' locally\n1: Pulling from policy\n".encode())
    tiffin("rmi", name)
    assert tiffin.run("run", "--rm", "-q", name, "true").stderr == b""
    warning = "WARNING: image with reference"
    assert warning in tiffin("pull", "--platform", "linux/s390x", name)
    assert warning not in tiffin("pull", name)
    done = tiffin.run("pull", f"{registry.host}/policy:2")
    assert b"Pulling from" not in done.stdout
    assert b"the repository has tag 1" in done.stderr
    said = tiffin.wrong("run", "--rm", "--platform", "linux/s390x", name, "true", code=125)
    assert "does not match the specified platform (linux/s390x)" in said
    tiffin("rmi", name)
