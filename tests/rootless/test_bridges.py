"""Bridges of ordinary users: what root's do on the host, theirs do on a host of their own.

The sessions of root's networks run again, as a user with subordinate ids and as one with one id; what only
users have is below them. The real host, too, is a network namespace of the test's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.accounts import NEEDED, account
from tests.cli.conftest import furnished
from tests.cli.test_session_networks import (
    ASK,
    HERE,
    HERE6,
    THERE,
    THERE6,
    Inside,
    answer,
    answer_inside,
    keeper_of,
    kill_keeper,
    nothing_is_left,
    served,
    test_a_fork_has_addresses_of_its_own,
    test_a_port_in_use,
    test_config_only_networks,
    test_conflicting_options,
    test_connect_and_disconnect,
    test_forms_of_publishing,
    test_kinds_of_networks,
    test_names,
    test_networks_of_ones_own,
    test_other_names_and_a_flood,
    test_ports_of_a_running_container,
    test_published_ports_answer_everybody,
    test_the_default_network,
    test_the_setting_keeps_ports_here,
    test_what_cannot_be_a_network,
)
from tests.netns import Host, cable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.accounts import User

__all__ = [
    "nothing_is_left",
    "test_a_fork_has_addresses_of_its_own",
    "test_a_port_in_use",
    "test_config_only_networks",
    "test_conflicting_options",
    "test_connect_and_disconnect",
    "test_forms_of_publishing",
    "test_kinds_of_networks",
    "test_names",
    "test_networks_of_ones_own",
    "test_other_names_and_a_flood",
    "test_ports_of_a_running_container",
    "test_published_ports_answer_everybody",
    "test_the_default_network",
    "test_the_setting_keeps_ports_here",
    "test_what_cannot_be_a_network",
]

_PATIENCE = 20


class Own(Inside):
    """A user's commands on a host of the test's own, where everybody may open /dev/net/tun as on Debian."""

    is_root = False

    def __init__(self, user: User, host: Host, node: str) -> None:
        """Keep all three."""
        super().__init__(f"{user.home}/root", host)
        self.user, self.node = user, node

    def argv(self, *words: str) -> list[str]:
        """Return the command line."""
        script = f'mount --bind {self.node} /dev/net/tun && exec "$@"'
        known = {n: os.environ[n] for n in ("TIFFIN_PUBLISH_ADDRESS",) if n in os.environ}
        command = self.user.argv(*super(Inside, self).argv(*words), **known)
        return self.host.argv("unshare", "-m", "sh", "-c", script, "sh", *command)

    @property
    def file(self) -> str:
        """The file about the user's own host, "" if there is none."""
        folder = f"{self.user.home}/run/tiffin-hosts"
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return next((f"{folder}/{name}" for name in names if "." not in name), "")

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command."""
        return subprocess.Popen(self.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def there(self, *words: str) -> str:
        """Run a program on the user's own host; return what it prints."""
        with open(self.file) as stream:
            tag, (net, _pipe) = next(iter(json.load(stream)["members"].items()))
        return self.host.run("nsenter", f"--net=/proc/{tag.split('-')[1]}/fd/{net}", *words)

    def uplink(self) -> int:
        """Return the process that leads outside."""
        with open(self.file) as stream:
            return int(json.load(stream)["uplink"].split("-")[1])

    def wait_until_quiet(self) -> None:
        """Wait until no process of the user is left."""
        while pids := self.user.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    handle = os.pidfd_open(pid)
                    assert select.select([handle], [], [], _PATIENCE)[0], self.user.processes()
                    os.close(handle)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The host that the users are on."""
    with Host() as made:
        yield made


@pytest.fixture(scope="module")
def other(host: Host) -> Iterator[Host]:
    """Another host, by a cable."""
    with Host() as made:
        cable(host, made, "wire", (f"{HERE}/24", f"{THERE}/24"), (f"{HERE6}/64", f"{THERE6}/64"))
        yield made


@pytest.fixture(scope="module", params=["subids", pytest.param("single", marks=pytest.mark.long)])
def tiffin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, host: Host, other: Host
) -> Iterator[Own]:
    """A user's store with `box:1`, used on that host."""
    if os.geteuid() != 0:
        pytest.skip("making users needs root")
    for program in (*NEEDED, "slirp4netns"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    node = str(tmp_path_factory.mktemp("device") / "tun")
    os.mknod(node, 0o666 | 0o020000, os.makedev(10, 200))
    os.chmod(node, 0o666)  # noqa: S103 - as it is there
    with account(request.param) as user:
        made = Own(user, host, node)
        yield from furnished(made, pathlib.Path(user.home) / "images")  # type: ignore[misc]
        made.wait_until_quiet()


def test_nothing_stays(tiffin: Own, host: Host) -> None:
    """The real host has nothing of it at any time, and after the last container there is no process."""
    before = host.state()
    served(tiffin, "-p", "8080:80")
    assert answer(host, "127.0.0.1", 8080) == "web"
    tiffin("run", "-d", "--name", "two", "box:1", "sleep", "60")
    assert host.state() == before
    assert "tcp . 8080 :" in tiffin.there("nft", "list", "ruleset")
    tiffin("rm", "-f", "web")
    assert "tcp . 8080 :" not in tiffin.there("nft", "list", "ruleset")
    tiffin("rm", "-f", "two")
    tiffin.wait_until_quiet()
    assert os.listdir(f"{tiffin.user.home}/run/tiffin-hosts") == []
    assert answer(host, "127.0.0.1", 8080) == ""


def kill(pid: int) -> None:
    """Kill a process, and wait until it has gone."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([handle], [], [])
    os.close(handle)


def test_a_killed_way_out_comes_back(tiffin: Own, host: Host, other: Host) -> None:
    """When the program that leads outside dies, the keepers start another, with all ports."""
    served(tiffin, "-p", "8080:80")
    served(tiffin, "-p", "127.0.0.1:8081:80", name="two")
    for _ in range(2):
        kill(tiffin.uplink())
        for port, name in ((8080, "web"), (8081, "two")):
            while (said := answer(host, "127.0.0.1", port)) != name:
                assert said == ""
        with other.listening(9200) as server:
            assert server.stdout
            script = ASK.format(THERE, 9200)
            tiffin("exec", "web", "sh", "-c", script)
            assert server.stdout.readline() == f"{HERE}\n"


def test_a_port_taken_while_the_way_out_is_away(tiffin: Own, host: Host) -> None:
    """Another program's port keeps no other port from coming back; when it is free, it comes, too."""
    served(tiffin, "-p", "8080:80", "-p", "8081:80", "-p", "8082:80")
    keeper = keeper_of(tiffin, "web")
    with contextlib.ExitStack() as taken:
        os.kill(keeper, signal.SIGSTOP)  # it shall not be the faster one
        try:
            kill(tiffin.uplink())
            taken.enter_context(host.listening(8081))
        finally:
            os.kill(keeper, signal.SIGCONT)
        for port in (8080, 8082):
            while (said := answer(host, "127.0.0.1", port)) != "web":
                assert said == ""
        tiffin("container", "unpublish", "web", "8080:80")
        assert answer(host, "127.0.0.1", 8082) == "web"
        assert answer(host, "127.0.0.1", 8080) == ""
    while (said := answer(host, "127.0.0.1", 8081)) != "web":
        assert said == ""


def test_any_member_may_be_killed(tiffin: Own, host: Host) -> None:
    """Killing the keeper that made the host, too, takes nothing from the other containers.

    Its port is free again, whether the next to look there comes or goes.
    """
    tiffin("run", "-d", "--name", "first", "-p", "8085:80", "box:1", "sleep", "60")
    tiffin("run", "-d", "--name", "going", "box:1", "sleep", "60")
    web = served(tiffin, "-p", "8080:80")
    kill_keeper(tiffin, "first")
    tiffin("rm", "-f", "going")
    assert answer(host, "127.0.0.1", 8080) == "web"
    assert answer_inside(tiffin, web, 80) == "web"
    tiffin("rm", "-f", "first")
    served(tiffin, "-p", "8085:80", name="next")
    assert answer(host, "127.0.0.1", 8085) == "next"
    assert "tcp . 8085 :" in tiffin.there("nft", "list", "ruleset")
    kill(tiffin.uplink())  # nobody is left who started it
    while (said := answer(host, "127.0.0.1", 8080)) != "web":
        assert said == ""
    kill_keeper(tiffin, "web")
    kill_keeper(tiffin, "next")
    tiffin("rm", "-f", "web", "next")
    tiffin("network", "prune", "-f")
    tiffin.wait_until_quiet()
    assert tiffin("network", "inspect", "-f", "{{len .Containers}}", "bridge") == "0\n"


def test_first_containers_at_the_same_time(tiffin: Own) -> None:
    """Containers that are started at once, when there is no host yet, find themselves on one."""
    tiffin("network", "create", "--subnet", "10.9.1.0/24", "busy")
    for _ in range(3):
        tiffin.wait_until_quiet()
        words = ("run", "-d", "--network", "busy", "box:1", "sleep", "60")
        started = [tiffin.start(*words) for _ in range(4)]
        for one in started:
            said = one.communicate(timeout=60)
            assert one.returncode == 0, said
        shown = tiffin("network", "inspect", "-f", "{{len .Containers}}", "busy")
        assert shown == "4\n"
        assert tiffin.there("ip", "-br", "link").count("tv") == 4
        tiffin("rm", "-f", *tiffin("ps", "-q").split())


def test_the_host_itself_is_reached_by_name(tiffin: Own, host: Host) -> None:
    """host-gateway is an address of the real host, whose loopback containers do not reach."""
    with host.listening(9300) as server:
        assert server.stdout
        asking = ("run", "--rm", "--add-host", "real:host-gateway", "box:1", "busybox", "nc", "-w", "5")
        tiffin.run(*asking, "real", "9300")
        assert server.stdout.readline() == f"{HERE}\n"
        for ip in ("10.0.2.2", "127.0.0.1"):
            assert tiffin.run(*asking, ip, "9300").returncode
    served(tiffin, "-p", "127.0.0.1:8080:80")
    assert answer(host, "127.0.0.1", 8080) == "web"
    for ip in ("172.17.0.1", "10.0.2.100", HERE):  # it is published on the loopback only
        assert answer_inside(tiffin, ip, 8080) == ""


def test_two_addresses_with_one_port(tiffin: Own, host: Host) -> None:
    """The same port is published on two addresses of the host for two containers."""
    for number, name in enumerate(("one", "two"), 1):
        served(tiffin, "-p", f"127.0.0.{number}:8080:80", name=name)
    assert answer(host, "127.0.0.1", 8080) == "one"
    assert answer(host, "127.0.0.2", 8080) == "two"
    assert "permission denied" in tiffin.wrong("run", "--rm", "-p", "80:80", "box:1", "true", code=125)


def test_without_the_device(tiffin: Own, host: Host) -> None:
    """Where /dev/net/tun is closed, containers have each other and publish ports; doctor says why."""
    tiffin.wait_until_quiet()
    os.chmod(tiffin.node, 0o600)
    try:
        web = served(tiffin, "-p", "8080:80")
        assert answer_inside(tiffin, web, 80) == "web"
        assert answer(host, "127.0.0.1", 8080) == "web"
        assert "/dev/net/tun" in tiffin("doctor")
        tiffin("rm", "-f", "web")
        tiffin.wait_until_quiet()
    finally:
        os.chmod(tiffin.node, 0o666)  # noqa: S103 - as it is on Debian
