"""Ports and addresses where they run short, and where no rule of the kernel passes packets on."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import furnished
from tests.cli.test_session_networks import (
    ASK_UDP,
    ECHO_UDP,
    HERE,
    HERE6,
    THERE,
    THERE6,
    Inside,
    answer,
    kill_keeper,
    served,
    wait_until_quiet,
)
from tests.netns import Host, cable
from tests.rungs import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_root  # a network namespace that plays the host is made for each

ASK_UDP6 = ASK_UDP.replace("AF_INET", "AF_INET6")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The host that tiffin runs on."""
    with Host() as made:
        yield made


@pytest.fixture(scope="module")
def other(host: Host) -> Iterator[Host]:
    """Another host, by a cable."""
    with Host() as made:
        cable(host, made, "wire", (f"{HERE}/24", f"{THERE}/24"), (f"{HERE6}/64", f"{THERE6}/64"))
        yield made


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory, host: Host, other: Host) -> Iterator[Inside]:
    """A store with `box:1`, used on that host."""
    folder = tmp_path_factory.mktemp("ports")
    assert other
    yield from furnished(Inside(str(folder / "root"), host), folder)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def nothing_is_left(tiffin: Inside) -> Iterator[None]:
    """Take away containers and networks after each test."""
    yield
    names = tiffin("ps", "-aq").split()
    if names:
        tiffin("rm", "-f", *names)
    tiffin("network", "prune", "-f")


def test_udp_answers_clients_of_ipv6(tiffin: Inside, host: Host, other: Host) -> None:
    """A published UDP port answers IPv4, IPv6 and both loopbacks, though the container has IPv4 alone."""
    tiffin("run", "-d", "--name", "echo", "-p", "5000:5000/udp", "box:1", "sleep", "600")
    pid = tiffin("inspect", "-f", "{{.State.Pid}}", "echo").strip()
    python = [sys.executable, "-I", "-S", "-c"]
    serve = ["nsenter", f"--net=/proc/{pid}/ns/net", *python, ECHO_UDP, "5000"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as echo:
        assert echo.stdout
        try:
            assert echo.stdout.readline() == "ready\n"
            for who, script, where in (
                (host, ASK_UDP, "127.0.0.1"),
                (host, ASK_UDP6, "::1"),
                (host, ASK_UDP6, HERE6),
                (other, ASK_UDP, HERE),
                (other, ASK_UDP6, HERE6),
            ):
                assert who.run(*python, script, where, "5000") == "echo\n", where
        finally:
            echo.kill()
    tiffin("container", "unpublish", "echo", "5000:5000/udp")
    other.run(*python, ASK_UDP6, HERE6, "5000", code=1)


def test_sctp(tiffin: Inside) -> None:
    """SCTP ports are published where the kernel has SCTP; elsewhere that is what is said."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132):
            known = True
    except OSError:
        known = False
    words = ("run", "-d", "--name", "box", "-p", "5000:5000/sctp", "box:1", "sleep", "600")
    if known:
        tiffin(*words)
        assert "sctp . 5000 : " in tiffin.host.run("nft", "list", "ruleset")
    else:
        assert "port 5000/sctp: this kernel has no sctp" in tiffin.wrong(*words, code=125)


def test_a_full_network(tiffin: Inside) -> None:
    """The container for which no address is left is told so; one that ends, or is killed, makes room."""
    tiffin("network", "create", "--subnet", "10.71.0.0/29", "--aux-address", "x=10.71.0.6", "small")
    words = ("run", "-d", "--network", "small")
    for name in ("aa", "bb", "cc", "dd"):
        tiffin(*words, "--name", name, "box:1", "sleep", "600")
    said = tiffin.wrong(*words, "--name", "ee", "box:1", "sleep", "600", code=125)
    assert "no available IPv4 addresses on this network's address pools: small" in said
    assert "make a larger network" in said
    tiffin("rm", "-f", "bb")
    while tiffin.run("start", "ee").returncode:
        pass  # the keeper of what was removed still gives things back
    template = "{{.NetworkSettings.Networks.small.IPAddress}}"
    assert tiffin("inspect", "-f", template, "ee") == "10.71.0.3\n"
    kill_keeper(tiffin, "cc")
    tiffin(*words, "--name", "ff", "box:1", "sleep", "600")
    assert tiffin("inspect", "-f", template, "ff") == "10.71.0.4\n"


def test_two_commands_and_one_address(tiffin: Inside) -> None:
    """Of commands that race for the last address one gets it, and the others say that there is none."""
    tiffin("network", "create", "--subnet", "10.72.0.0/30", "tiny")
    for round_number in range(3):
        names = [f"c{round_number}{number}" for number in range(4)]
        runs = [
            subprocess.Popen(
                tiffin.argv("run", "-d", "--name", name, "--network", "tiny", "box:1", "sleep", "600"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in names
        ]
        ended = [(one.communicate(timeout=120)[1], one.returncode) for one in runs]
        assert sorted(code for _, code in ended) == [0, 125, 125, 125]
        assert all("no available IPv4 addresses" in said for said, code in ended if code)
        leases = json.loads(tiffin("network", "inspect", "tiny"))[0]["Containers"]
        assert [lease["IPv4Address"] for lease in leases.values()] == ["10.72.0.2/30"]
        tiffin("rm", "-f", *names)


def test_no_subnet_is_left(tiffin: Inside, host: Host) -> None:
    """On a host that has routes to every pool a network needs a subnet that somebody chooses."""
    wait_until_quiet(host)
    routes = ("172.16.0.0/12", "192.168.0.0/16")
    for route in routes:
        host.run("ip", "route", "add", route, "dev", "wire")
    try:
        said = tiffin.wrong("network", "create", "none-left")
        assert "could not find an available, non-overlapping IPv4 address pool" in said
        assert "name a --subnet" in said
        said = tiffin.wrong("run", "--rm", "box:1", "true", code=125)
        assert "could not find an available, non-overlapping IPv4 address pool" in said
        tiffin("network", "create", "--subnet", "10.73.0.0/24", "chosen")
        tiffin("run", "--rm", "--network", "chosen", "box:1", "true")
    finally:
        for route in routes:
            host.run("ip", "route", "del", route)


def test_a_firewalld_is_noticed(tiffin: Inside, host: Host) -> None:
    """The rules of firewalld refuse by a last rule, not by policy: who publishes past it is warned, too."""
    host.run("nft", "add table inet firewalld")
    try:
        done = tiffin.run("create", "-p", "8080:80", "box:1")
        assert b"they bypass this host's firewall (table firewalld" in done.stderr
    finally:
        host.run("nft", "delete table inet firewalld")


def test_a_firewall_that_forwards_nothing(tiffin: Inside, host: Host, other: Host) -> None:
    """Where FORWARD of iptables drops by policy (ufw's default), bridges are let through, and no more."""
    wait_until_quiet(host)
    chain = "FORWARD { type filter hook forward priority 0; policy drop; }"
    host.run("nft", f"add table ip filter; add chain ip filter {chain}")
    try:
        before = host.run("nft", "list", "table", "ip", "filter")
        served(tiffin, "-p", "8080:80")
        assert answer(other, HERE, 8080) == "web"
        with other.listening(9090) as listening:
            tiffin("exec", "web", "busybox", "nc", "-w", "2", THERE, "9090")
            assert listening.stdout
            assert listening.stdout.readline() == f"{HERE}\n"
        tiffin("rm", "-f", "web")
        wait_until_quiet(host)
        assert host.run("nft", "list", "table", "ip", "filter") == before
    finally:
        host.run("nft", "delete table ip filter")
