"""`tiffin serve`: docker's own client, over a socket, finds an engine behind it."""

from __future__ import annotations

import grp
import os
import pty
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Tiffin

DOCKER = "docker"
OWN_GROUP = grp.getgrgid(os.getgid()).gr_name
_SECONDS = 60
_LEAVING_SECONDS = 10


class Client:
    """docker's command line, speaking to one socket."""

    def __init__(self, path: str, folder: str) -> None:
        """Keep its configuration in a folder of its own."""
        self.path = path
        self.server = 0
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "DOCKER_CONFIG": folder,
            "DOCKER_HOST": f"unix://{path}",
            "DOCKER_BUILDKIT": "0",
        }

    def run(self, *words: str, stdin: bytes = b"", code: int = 0) -> str:
        """Run one command and return its output; stdout, or stderr where it must fail."""
        done = subprocess.run(
            [DOCKER, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return (done.stderr if code and done.stderr else done.stdout).decode()

    def ask(self, *lines: str, body: bool = False) -> bytes:
        """Send a request as it stands and return all that is answered."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_SECONDS)
            sock.connect(self.path)
            data = lines[-1] if body else ""
            head = [*(lines[:-2] if body else lines), "Host: x", "Connection: close", "", data]
            sock.sendall("\r\n".join(head).encode())
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def open(self, line: str) -> socket.socket:
        """Send a request and return its connection once the head of the answer has come."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_SECONDS)
        sock.connect(self.path)
        sock.sendall(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 200"
        return sock

    def held(self) -> tuple[int, int]:
        """Return how many threads and descriptors the server has."""
        return len(os.listdir(f"/proc/{self.server}/task")), len(os.listdir(f"/proc/{self.server}/fd"))


@pytest.fixture(scope="module")
def docker(tiffin: Tiffin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return docker's client of a served engine; the server must end cleanly."""
    folder = tmp_path_factory.mktemp("serve")
    path = f"{folder}/d.sock"
    served = subprocess.Popen(
        tiffin.argv("serve", "--host", f"unix://{path}", "--log-level", "info", "--group", OWN_GROUP),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    assert served.stdout.readline() == f"API listen on {path}\n"
    assert os.stat(path).st_mode & 0o777 == 0o660
    client = Client(path, str(folder))
    client.server = served.pid
    yield client
    served.send_signal(signal.SIGTERM)
    _, log = served.communicate(timeout=30)
    assert served.returncode == 0, log
    assert not os.path.exists(path)
    assert " 500 " not in log
    assert '"HEAD /_ping" 200' in log


def test_the_line_for_clients(tiffin: Tiffin) -> None:
    """It can be had without serving."""
    said = tiffin("serve", "--host", "unix:///x/y.sock", "--print-env")
    assert said == "export DOCKER_HOST=unix:///x/y.sock\n"


def test_bad_places(tiffin: Tiffin, docker: Client, tmp_path: Path) -> None:
    """A socket that is served, a tcp address that others reach, words that are no place."""
    assert "somebody serves there already" in tiffin.wrong("serve", "--host", f"unix://{docker.path}")
    assert "would be root here" in tiffin.wrong("serve", "--host", "tcp://0.0.0.0:2375")
    assert "not unix://PATH" in tiffin.wrong("serve", "--host", "fd://")
    assert "no such group" in tiffin.wrong("serve", "--host", f"unix://{tmp_path}/d", "--group", "nobodys")


def test_versions(docker: Client) -> None:
    """The client negotiates; versions that nobody speaks are refused in docker's words."""
    assert docker.run("version", "--format", "{{.Server.Platform.Name}}") == "Tiffin\n"
    assert b"client version 1.99 is too new. Maximum supported API version is 1.50" in docker.ask(
        "GET /v1.99/info HTTP/1.1"
    )
    assert b"client version 1.12 is too old" in docker.ask("GET /v1.12/info HTTP/1.1")
    found = docker.ask("GET /nothing HTTP/1.1")
    assert found.startswith(b"HTTP/1.1 404 ")
    assert b'{"message":"page not found"}\n' in found
    assert docker.ask("GET /swarm HTTP/1.1").startswith(b"HTTP/1.1 503 ")


def test_running(docker: Client) -> None:
    """Output, input, exit codes and removal are those of docker run."""
    assert docker.run("run", "--rm", "box:1", "echo", "hello") == "hello\n"
    assert docker.run("run", "--rm", "-i", "box:1", "cat", stdin=b"x" * 300_000) == "x" * 300_000
    assert docker.run("run", "--rm", "box:1", "sh", "-c", "echo bad >&2; exit 3", code=3) == "bad\n"
    assert "executable file not found" in docker.run("run", "--rm", "box:1", "nope", code=127)
    assert docker.run("ps", "-aq") == ""


def test_a_life(docker: Client) -> None:
    """Create, start, look, exec, stop, start, kill, wait, remove."""
    made = docker.run("run", "-d", "--name", "web", "-l", "a=b", "box:1", "sleep", "1000").strip()
    assert docker.run("ps", "--format", "{{.Names}} {{.State}}", "--filter", "label=a=b") == "web running\n"
    assert docker.run("exec", "web", "echo", "in") == "in\n"
    assert docker.run("exec", "-i", "web", "cat", stdin=b"through") == "through"
    docker.run("exec", "web", "sh", "-c", "exit 9", code=9)
    docker.run("exec", "web", "nope", code=127)
    docker.run("exec", "-d", "web", "busybox", "touch", "/made")
    assert "sleep 1000" in docker.run("top", "web")
    assert docker.run("inspect", "-f", "{{.Id}}", "web").strip() == made
    docker.run("rename", "web", "site")
    docker.run("update", "--restart", "on-failure:2", "site")
    assert docker.run("stop", "-t", "0", "site") == "site\n"
    assert docker.run("start", "site") == "site\n"
    assert docker.run("kill", "site") == "site\n"
    assert docker.run("wait", "site") == "137\n"
    assert docker.run("rm", "site") == "site\n"
    assert "No such container: site" in docker.run("rm", "site", code=1)


@needs_cgroups
def test_a_pause(docker: Client) -> None:
    """A frozen container says so, and goes on."""
    docker.run("run", "-d", "--name", "ice", "box:1", "sleep", "1000")
    docker.run("pause", "ice")
    assert docker.run("ps", "--format", "{{.State}}", "--filter", "name=ice") == "paused\n"
    docker.run("unpause", "ice")
    docker.run("rm", "-f", "ice")


def test_an_exec_that_comes_too_late(docker: Client) -> None:
    """An exec whose container has ended before it is started has an exit code that is not 0."""
    docker.run("run", "-d", "--name", "short", "box:1", "sleep", "1000")
    made = docker.ask(
        "POST /containers/short/exec HTTP/1.1",
        "Content-Type: application/json",
        "Content-Length: 38",
        "",
        '{"Cmd": ["true"], "AttachStdout":true}',
        body=True,
    )
    number = made.rpartition(b'"Id":"')[2][:64].decode()
    docker.run("rm", "-f", "short")
    docker.ask(f"POST /exec/{number}/start HTTP/1.1", "Content-Length: 0")
    assert b'"ExitCode":126' in docker.ask(f"GET /exec/{number}/json HTTP/1.1")


def test_web_pages(docker: Client) -> None:
    """What a browser sends for a page is refused, and a build of the server's own folders."""
    assert b" 403 " in docker.ask("POST /containers/prune HTTP/1.1", "Origin: http://page.example")
    assert b" 400 " in docker.ask("POST /build?remote=/etc HTTP/1.1", "Content-Length: 0")


def test_logs(docker: Client) -> None:
    """Lines of both streams come framed and apart, with times where they are wanted."""
    docker.run("run", "--name", "said", "box:1", "sh", "-c", "echo out; echo err >&2")
    assert docker.run("logs", "said") == "out\n"
    assert docker.run("logs", "-t", "--tail", "1", "said").count("Z ") <= 1
    assert docker.run("start", "-a", "said") == "out\n"
    docker.run("rm", "said")


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("GET /events", 200),
        ("POST /containers/quiet/wait", 40),
        ("POST /containers/quiet/wait?condition=next-exit", 200),
        ("GET /containers/quiet/logs?stdout=1&follow=1", 40),
        ("GET /containers/quiet/stats", 5),
    ],
)
def test_clients_that_leave(docker: Client, line: str, count: int) -> None:
    """Their threads and descriptors are given back at once, though there is nothing to send to them."""
    docker.run("run", "-d", "--name", "quiet", "box:1", "sleep", "1000")
    docker.open("GET /events").close()  # the server's one inotify stays
    resting = _settled(docker, lambda held: held[0] <= 2)
    streams = [docker.open(line) for _ in range(count)]
    threads, descriptors = docker.held()
    assert threads >= resting[0] + count
    assert descriptors >= resting[1] + count
    for stream in streams:
        stream.close()
    assert _settled(docker, lambda held: _within(held, resting)) == resting
    docker.run("rm", "-f", "quiet")


def _within(held: tuple[int, int], limit: tuple[int, int]) -> bool:
    return held[0] <= limit[0] and held[1] <= limit[1]


def _settled(docker: Client, good: Callable[[tuple[int, int]], bool]) -> tuple[int, int]:
    """Return what the server holds once that is `good`, or after some seconds."""
    deadline = time.monotonic() + _LEAVING_SECONDS
    while not good(held := docker.held()) and time.monotonic() < deadline:
        os.sched_yield()
    return held


def test_a_terminal(docker: Client) -> None:
    """A terminal is raw both ways, has the client's size, and is left by the detach keys."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [DOCKER, "run", "--name", "tty", "-it", "box:1", "sh"],
        env=docker.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    _until(ours, b"# ")
    os.write(ours, b"busybox tty; echo in=$((6*7))\r")
    assert b"/dev/pts/0" in _until(ours, b"in=42")
    os.write(ours, b"\x10\x11")
    assert process.wait(_SECONDS) == 0
    os.close(ours)
    assert docker.run("inspect", "-f", "{{.State.Status}}", "tty") == "running\n"
    docker.run("rm", "-f", "tty")


def _until(descriptor: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(descriptor, 4096)
    return seen


def test_files(docker: Client, tmp_path: Path) -> None:
    """Copies in and out, changes, an export, an image of it all."""
    (tmp_path / "file").write_text("content")
    docker.run("create", "--name", "box", "box:1", "true")
    docker.run("cp", f"{tmp_path}/file", "box:/file")
    docker.run("cp", "box:/file", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "content"
    assert docker.run("diff", "box") == "A /file\n"
    docker.run("export", "-o", f"{tmp_path}/all.tar", "box")
    docker.run("commit", "-m", "said", "box", "mine:1")
    assert docker.run("run", "--rm", "mine:1", "cat", "/file") == "content"
    docker.run("import", f"{tmp_path}/all.tar", "flat:1")
    assert docker.run("run", "--rm", "flat:1", "cat", "/file") == "content"
    docker.run("rm", "box")
    docker.run("rmi", "mine:1", "flat:1")


def test_images(docker: Client, tmp_path: Path) -> None:
    """Builds in the classic builder's words, names, history, archives."""
    (tmp_path / "Dockerfile").write_text("FROM box:1\nARG who\nRUN echo $who > /who\nLABEL a=b\n")
    said = docker.run("build", "-t", "built:1", "--build-arg", "who=me", str(tmp_path))
    assert "Step 1/4 : FROM box:1\n" in said
    assert "Successfully built " in said
    assert "Successfully tagged built:1\n" in said
    assert "Using cache" in docker.run("build", "-t", "built:1", "--build-arg", "who=me", str(tmp_path))
    assert docker.run("run", "--rm", "built:1", "cat", "/who") == "me\n"
    (tmp_path / "Dockerfile").write_text("FROM box:1\nRUN exit 5\n")
    docker.run("build", str(tmp_path), code=5)
    docker.run("tag", "built:1", "other:2")
    assert "other:2" in docker.run("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert "LABEL a=b" in docker.run("history", "--no-trunc", "other:2")
    docker.run("save", "-o", f"{tmp_path}/saved.tar", "other:2")
    assert "Untagged: other:2" in docker.run("rmi", "other:2", "built:1")
    assert docker.run("load", "-i", f"{tmp_path}/saved.tar").endswith("Loaded image: other:2\n")
    docker.run("rmi", "other:2")
    docker.run("image", "prune", "-f")


def test_volumes_and_networks(docker: Client) -> None:
    """What two containers share, and how one finds the other by name."""
    docker.run("volume", "create", "-d", "local", "data")
    docker.run("run", "--rm", "-v", "data:/d", "box:1", "sh", "-c", "echo kept > /d/f")
    assert docker.run("run", "--rm", "-v", "data:/d", "box:1", "cat", "/d/f") == "kept\n"
    assert docker.run("volume", "ls", "-q") == "data\n"
    docker.run("volume", "rm", "data")
    assert "no such volume" in docker.run("volume", "inspect", "data", code=1).lower()
    docker.run("network", "create", "--subnet", "10.231.7.0/24", "inner")
    docker.run("run", "-d", "--name", "peer", "--network", "inner", "box:1", "sleep", "1000")
    assert "10.231.7." in docker.run(
        "run", "--rm", "--network", "inner", "box:1", "busybox", "nslookup", "peer"
    )
    assert "peer" in docker.run("network", "inspect", "inner")
    assert "has active endpoints" in docker.run("network", "rm", "inner", code=1)
    docker.run("rm", "-f", "peer")
    docker.run("network", "rm", "inner")


def test_the_whole(docker: Client) -> None:
    """Disk use, events between two moments, what the engine says of itself."""
    assert "Images" in docker.run("system", "df")
    assert docker.run("info", "--format", "{{.Driver}} {{.Swarm.LocalNodeState}}").endswith(" inactive\n")
    assert "container create" in docker.run("events", "--since", "1h", "--until", "0s")
    assert docker.run("plugin", "ls", "-q") == ""
    assert "not a swarm manager" in docker.run("node", "ls", code=1)
    docker.run("container", "prune", "-f")
    docker.run("system", "prune", "-f")
