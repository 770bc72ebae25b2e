"""Servers that people run: built by Dockerfiles as theirs are, reached by a port, stopped and kept."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Tiffin
from tests.netns import Host
from tests.rungs import needs_root
from tests.software.images import PACKAGES, SERVERS, Server

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, needs_root]  # a network namespace that plays the host is made


class Inside(Tiffin):
    """The command, in a host of the test's own."""

    def __init__(self, root: str, host: Host) -> None:
        """Keep both."""
        super().__init__(root)
        self.host = host

    def argv(self, *words: str) -> list[str]:
        """Return the command line."""
        return self.host.argv(*super().argv(*words))


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A store with `debian:1`, which has all the servers' packages."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    folder = tmp_path_factory.mktemp("software")
    tar = folder / "debian.tar"
    command = ["mmdebstrap", "--variant=apt", "--aptopt=Acquire::Languages none"]
    command += [f"--include={','.join(PACKAGES)}", "bookworm", str(tar)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=1200)
    if done.returncode:
        pytest.skip(f"no Debian mirror: {done.stderr.strip().rpartition(chr(10))[2]}")
    with Host() as host:
        made = Inside(str(folder / "root"), host)
        made("import", str(tar), "debian:1")
        tar.unlink()
        yield made
        names = made("ps", "-aq").split()
        if names:
            made("rm", "-f", "-v", *names)
        made("volume", "prune", "-af")


def build(tiffin: Tiffin, server: Server, folder: pathlib.Path) -> None:
    """Build a server's image, called as the server is."""
    for name, text in server.files.items():
        (folder / name).write_text(text)
    tiffin("build", "-q", "-t", server.name, str(folder))


def until_healthy(tiffin: Tiffin, name: str) -> None:
    """Wait until the health check says so, and see `ps` say it too."""
    filters = ("--filter", f"container={name}", "--filter", "event=health_status", "--filter", "event=die")
    command = tiffin.argv("events", "--since", "1", *filters, "--format", "{{.Action}}")
    watched = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watched.stdout
    try:
        started = tiffin("inspect", "-f", "{{.State.Health.Status}}", name)
        while started != "healthy\n" and watched.stdout.readline():
            started = tiffin("inspect", "-f", "{{.State.Health.Status}}", name)
            assert json.loads(tiffin("inspect", name))[0]["State"]["Running"], tiffin.run("logs", name)
    finally:
        watched.kill()
        watched.wait()
        watched.stdout.close()
    assert "(healthy)" in tiffin("ps", "--filter", f"name={name}", "--format", "{{.Status}}")


def serve(tiffin: Tiffin, server: Server) -> None:
    """Run the server on its volume until it is healthy."""
    named = ("--name", server.name, "-v", f"{server.name}-data:{server.volume}")
    tiffin("run", "-d", *named, "-p", f"127.0.0.1::{server.port}", server.name)
    until_healthy(tiffin, server.name)


def ask(tiffin: Tiffin, server: Server, words: tuple[str, ...]) -> str:
    """Run a client on the host's network, which has the published port only."""
    port = tiffin("port", server.name, str(server.port)).strip().rpartition(":")[2]
    client = ("run", "--rm", "--network", "host", "--hostname", "client", "--entrypoint", words[0])
    return tiffin(*client, "--no-healthcheck", server.name, *(word.format(port=port) for word in words[1:]))


def stop(tiffin: Tiffin, name: str) -> None:
    """Stop it: it ends by itself, well."""
    tiffin("stop", "-t", "60", name)
    assert tiffin("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", name) == "0 false\n"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_server_serves_stops_and_keeps_its_data(
    tiffin: Inside, server: Server, tmp_path: pathlib.Path
) -> None:
    """Healthy, reached by its port, as its own user, on a volume that was filled from its image.

    What it was told is there after stop and start, and for another container on the same volume.
    """
    build(tiffin, server, tmp_path)
    serve(tiffin, server)
    assert tiffin("exec", server.name, "stat", "-c", "%U", "/proc/1") == f"{server.user}\n"
    assert tiffin("exec", server.name, "cat", f"{server.volume}/origin") == "image\n"
    if server.write:
        ask(tiffin, server, server.write)
    else:
        tiffin("exec", server.name, "sh", "-c", f"echo kept > {server.volume}/kept")
    assert ask(tiffin, server, server.read) == server.said
    stop(tiffin, server.name)
    tiffin("start", server.name)
    until_healthy(tiffin, server.name)
    assert ask(tiffin, server, server.read) == server.said
    stop(tiffin, server.name)
    tiffin("rm", server.name)
    serve(tiffin, server)
    assert ask(tiffin, server, server.read) == server.said
    tiffin("rm", "-f", server.name)


def test_a_volume_of_nobody_goes_with_its_container(tiffin: Inside, tmp_path: pathlib.Path) -> None:
    """A VOLUME to which nobody gave a name is filled from the image as well, and `rm -v` takes it away."""
    server = SERVERS[1]
    build(tiffin, server, tmp_path)
    before = tiffin("volume", "ls", "-q").split()
    tiffin("run", "-d", "--name", "alone", server.name)
    until_healthy(tiffin, "alone")
    (made,) = set(tiffin("volume", "ls", "-q").split()) - set(before)
    assert tiffin("exec", "alone", "stat", "-c", "%U", ".", "origin") == "redis\nredis\n"
    stop(tiffin, "alone")
    tiffin("rm", "-v", "alone")
    assert made not in tiffin("volume", "ls", "-q")
