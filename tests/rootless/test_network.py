"""An ordinary user's containers reach the outside and publish ports, without any right on the host."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.netns import Host, cable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from tests.accounts import User

_PATIENCE = 10
HERE, THERE = "198.18.0.1", "198.18.0.2"


class Inside:
    """A user's commands on a host of the test's own, where everybody may open /dev/net/tun as on Debian."""

    def __init__(self, user: User, host: Host, node: str) -> None:
        """Keep all three."""
        self.user, self.host, self.node = user, host, node

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a command that ends with `code`; return what it says."""
        script = f'mount --bind {self.node} /dev/net/tun && exec "$@"'
        argv = ["unshare", "-m", "sh", "-c", script, "sh", *self.user.argv(*self.user.command(*words))]
        done = subprocess.run(self.host.argv(*argv), capture_output=True, check=False, timeout=60)
        assert done.returncode == code, done.stderr.decode()
        return (done.stdout + done.stderr).decode()

    def reads(self, port: int) -> str:
        """Return what a published port of the host answers, "" if nobody does."""
        script = f"printf 'GET /who HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 127.0.0.1 {port} | tail -n 1"
        done = subprocess.run(
            self.host.argv("sh", "-c", script), capture_output=True, check=False, timeout=30
        )
        return done.stdout.decode().strip()

    def is_quiet(self) -> None:
        """Wait for the keepers that are leaving: no process of the user is left."""
        for pid in self.user.pids():
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                select.select([handle], [], [], _PATIENCE)
                os.close(handle)
        assert self.user.processes() == []


@pytest.fixture
def inside(user: User, tmp_path: pathlib.Path) -> Iterator[Inside]:
    """A host with a cable to another one, on which the user has a store with `base:1`."""
    if not shutil.which("slirp4netns"):
        pytest.skip("slirp4netns is not installed")
    node = str(tmp_path / "tun")
    os.mknod(node, 0o666 | 0o020000, os.makedev(10, 200))
    os.chmod(node, 0o666)  # noqa: S103 - as it is there
    with Host() as host, Host() as other:
        cable(host, other, "wire", (f"{HERE}/24", f"{THERE}/24"))
        with other.listening(9000) as server:
            made = Inside(user, host, node)
            yield made
            assert server.poll() is None


def test_the_default_network_of_a_user_leads_outside(inside: Inside) -> None:
    """Without a flag a container has an address and reaches another host, but not this one's own loopback."""
    script = f"ip -o -4 addr show tap0; cat /etc/resolv.conf; nc -w 5 {THERE} 9000 </dev/null && echo out"
    said = inside("run", "--rm", "base:1", "sh", "-c", script)
    assert "10.0.2.100/24" in said
    assert "nameserver 10.0.2.3" in said
    assert said.endswith("out\n")
    with inside.host.listening(9001):
        inside("run", "--rm", "base:1", "nc", "-w", "2", "10.0.2.2", "9001", code=1)
    inside.is_quiet()


def test_published_ports_of_a_user(inside: Inside) -> None:
    """Ports above 1023 answer, also those that come later; one in use and a low one are refused."""
    serve = "echo web >/tmp/who; exec httpd -f -p 80 -h /tmp"
    inside("run", "-d", "--name", "web", "-p", "8080:80", "base:1", "sh", "-c", f"{serve}")
    inside("exec", "web", "sh", "-c", "until nc -w 1 127.0.0.1 80 </dev/null; do :; done")
    assert inside("port", "web") == "80/tcp -> 0.0.0.0:8080\n"
    assert inside.reads(8080) == "web"
    assert '"8080"' in inside("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web")
    assert inside("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "web") == (
        "10.0.2.100\n"
    )
    assert "port is already allocated" in inside("run", "--rm", "-p", "8080:80", "base:1", "true", code=125)
    assert "permission denied" in inside("run", "--rm", "-p", "80:80", "base:1", "true", code=125)
    inside("container", "publish", "web", "8081:80")
    assert inside.reads(8081) == "web"
    inside("container", "unpublish", "web", "8081:80")
    assert inside.reads(8081) == ""
    assert "bridge networks" in inside("run", "--rm", "--network", "bridge", "base:1", "true", code=125)
    inside("rm", "-f", "web")
    assert inside.reads(8080) == ""
    inside.is_quiet()


def test_without_the_device_there_is_none(user: User) -> None:
    """Where the device is closed to the user, `run` has no network; by name it is refused; doctor tells."""
    at = {"/dev/net": "-t tmpfs none"}
    assert "tap0" not in user.elsewhere(at, "run", "--rm", "base:1", "ip", "addr")
    assert "/dev/net/tun" in user.elsewhere(at, "run", "--rm", "--network", "slirp4netns", "base:1", "true")
    assert "/dev/net/tun" in user.elsewhere(at, "doctor")
