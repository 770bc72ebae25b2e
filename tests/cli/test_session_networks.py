"""Networks in real sessions: packets between containers, the host, and another host beside it.

The host is a network namespace of the test's own, so that nothing of this machine's network is touched.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Tiffin, furnished
from tests.netns import LISTEN, Host, cable
from tests.rungs import needs_root

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

pytestmark = needs_root  # a network namespace that plays the host is made for each

HERE, THERE = "198.18.0.1", "198.18.0.2"
HERE6, THERE6 = "2001:db8:1::1", "2001:db8:1::2"


class Inside(Tiffin):
    """The command, in a host of the test's own."""

    is_root = True

    def __init__(self, root: str, host: Host) -> None:
        """Keep both."""
        super().__init__(root)
        self.host = host

    def argv(self, *words: str) -> list[str]:
        """Return the command line."""
        return self.host.argv(*super().argv(*words))

    def there(self, *words: str) -> str:
        """Run a program where the bridges are; return what it prints."""
        return self.host.run(*words)


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
    folder = tmp_path_factory.mktemp("networks")
    yield from furnished(Inside(str(folder / "root"), host), folder)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def nothing_is_left(tiffin: Inside) -> Iterator[None]:
    """Take away containers and networks after each test."""
    yield
    names = tiffin("ps", "-aq").split()
    if names:
        tiffin("rm", "-f", *names)
    tiffin("network", "prune", "-f")


ECHO_UDP = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(100)
    server.sendto(data, peer)
"""
ASK_UDP = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.sendto(b"echo", (sys.argv[1], int(sys.argv[2])))
print(client.recv(100).decode())
"""
SERVE = "hostname > /who; exec busybox httpd -f -p 80 -h /"
ASK = "printf 'GET /who HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 2 {} {} | busybox tail -n 1"


def served(tiffin: Inside, *words: str, name: str = "web") -> str:
    """Run a server that tells its host name, and return its address on the first network."""
    serve = SERVE.replace("hostname", f"echo {name}")
    tiffin("run", "-d", "--name", name, "--hostname", name, *words, "box:1", "sh", "-c", serve)
    wait_for_port(tiffin, name)
    return address(tiffin, name)


def wait_for_port(tiffin: Inside, name: str, port: int = 80) -> None:
    """Wait until something listens in a container."""
    script = f"while ! busybox netstat -ltn | busybox grep -q ':{port} '; do :; done"
    tiffin("exec", name, "sh", "-c", script)


def address(tiffin: Inside, name: str) -> str:
    """Return the first IPv4 address of a container."""
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return tiffin("inspect", "-f", template, name).split()[0]


def answer(host: Host, ip: str, port: int) -> str:
    """Return what a server tells a host, "" if it cannot be reached."""
    return host.run("sh", "-c", ASK.format(ip, port)).strip()


def answer_inside(tiffin: Inside, ip: str, port: int, *words: str) -> str:
    """Return what a server tells a new container, "" if it cannot be reached."""
    return tiffin("run", "--rm", *words, "box:1", "sh", "-c", ASK.format(ip, port)).strip()


def test_the_default_network(tiffin: Inside, host: Host, other: Host) -> None:
    """A container has an address, a gateway and a name, reaches the outside, and is masked there."""
    shown = tiffin(
        "run",
        "--rm",
        "--hostname",
        "me",
        "box:1",
        "sh",
        "-c",
        "busybox ip -4 addr show eth0; busybox ip route; cat /etc/hosts; cat /etc/hostname",
    )
    assert "inet 172.17.0.2/16" in shown
    assert "default via 172.17.0.1 dev eth0" in shown
    assert "172.17.0.2\tme\n" in shown
    assert shown.endswith("me\n")
    other.run("ip", "route", "replace", "172.16.0.0/12", "via", HERE)
    with other.listening(9000) as server:
        assert server.stdout
        answer_inside(tiffin, THERE, 9000)
        assert server.stdout.readline() == f"{HERE}\n"  # not the container's own address
    assert tiffin("network", "inspect", "-f", "{{.Driver}} {{len .Containers}}", "bridge") == "bridge 0\n"


def test_published_ports_answer_everybody(tiffin: Inside, host: Host, other: Host) -> None:
    """-p answers the host at each of its addresses, other hosts, neighbours, and containers elsewhere."""
    tiffin("network", "create", "elsewhere")
    served(tiffin, "-p", "8080:80")
    for ip in ("127.0.0.1", HERE, "127.0.0.9", "::1", HERE6):
        assert answer(host, ip, 8080) == "web", ip
    if tiffin.is_root:  # users' bridges are not on this host
        assert answer(host, "172.17.0.1", 8080) == "web"
    assert answer_inside(tiffin, "172.17.0.1", 8080) == "web"
    assert answer(other, HERE, 8080) == "web"
    assert answer(other, HERE6, 8080) == "web"
    for words in ((), ("--network", "elsewhere"), ("--network", "container:web"), ("--network", "host")):
        assert answer_inside(tiffin, HERE, 8080, *words) == "web", words
    ip = address(tiffin, "web")
    assert answer_inside(tiffin, ip, 80) == "web"
    assert answer_inside(tiffin, ip, 80, "--network", "elsewhere") == ""
    other.run("ip", "route", "replace", "172.16.0.0/12", "via", HERE)
    assert answer(other, ip, 80) == ""  # what is not published is not reached from outside
    assert tiffin("port", "web") == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    assert tiffin("port", "web", "80") == "0.0.0.0:8080\n[::]:8080\n"
    assert "no public port '81/tcp' published for web" in tiffin.wrong("port", "web", "81")
    assert "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp" in tiffin("ps")
    assert tiffin("ps", "-q", "--filter", "publish=8080") != ""
    tiffin("rm", "-f", "web")
    assert answer(host, "127.0.0.1", 8080) == ""


def test_forms_of_publishing(tiffin: Inside, host: Host, other: Host) -> None:
    """-p takes an address, ranges, a protocol, nothing at all; -P takes what is exposed; udp is carried."""
    served(
        tiffin, "-p", "127.0.0.1:8081:80", "-p", "80", "-p", "9000-9002:90-92/udp", "--expose", "70-71", "-P"
    )
    assert answer(host, "127.0.0.1", 8081) == "web"
    assert answer(other, HERE, 8081) == ""
    number = int(tiffin("port", "web", "80").split("\n")[1].rpartition(":")[2])
    assert answer(other, HERE, number) == "web"
    lines = tiffin("port", "web").splitlines()
    assert "91/udp -> 0.0.0.0:9001" in lines
    assert sum(line.startswith(("70/tcp", "71/tcp")) for line in lines) == 4
    pid = tiffin("inspect", "-f", "{{.State.Pid}}", "web").strip()
    server = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", ECHO_UDP, "91"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as echo:
        assert echo.stdout
        assert echo.stdout.readline() == "ready\n"
        try:
            for asking, ip in ((other, HERE), (host, "127.0.0.1"), (host, HERE)):
                assert asking.run(sys.executable, "-I", "-S", "-c", ASK_UDP, ip, "9001") == "echo\n"
        finally:
            echo.kill()
    for text, said in (
        ("80:", "no port specified: 80:<empty>"),
        ("1:2:3:4", "invalid IP address: 1:2"),
        ("a", "invalid containerPort: a"),
        ("8-9:1-5", "invalid ranges specified for container and host Ports: 1-5 and 8-9"),
        ("80/quic", "invalid proto: quic"),
        ("70000:80", "invalid hostPort: 70000"),
    ):
        assert said in tiffin.wrong("create", "-p", text, "box:1", code=125)


def test_a_port_in_use(tiffin: Inside, host: Host) -> None:
    """A port that a container or a program has is refused, and who has it is said."""
    served(tiffin, "-p", "8080:80")
    said = tiffin.wrong("run", "--name", "late", "-p", "8080:80", "box:1", "true", code=125)
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in said
    assert "taken by container web" in said
    assert tiffin("ps", "-a", "--filter", "name=late", "--format", "{{.State}}") == "created\n"
    with host.listening(8090) as program:
        said = tiffin.wrong("run", "--rm", "-p", "8090:80", "box:1", "true", code=125)
        if tiffin.is_root:  # an ordinary user sees only its own programs
            assert "port 8090 on 0.0.0.0 is taken by python" in said
            assert f"(pid {program.pid})" in said
    # A range finds the next one.
    tiffin("run", "-d", "--name", "next", "-p", "8080-8085:80", "box:1", "sleep", "60")
    assert tiffin("port", "next", "80").startswith("0.0.0.0:8081\n")


def test_the_setting_keeps_ports_here(
    tiffin: Inside, host: Host, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """publish_address says where ports are published if no address is given."""
    monkeypatch.setenv("TIFFIN_PUBLISH_ADDRESS", "127.0.0.1")
    served(tiffin, "-p", "8080:80")
    assert tiffin("port", "web") == "80/tcp -> 127.0.0.1:8080\n"
    assert answer(host, "127.0.0.1", 8080) == "web"
    assert answer(other, HERE, 8080) == ""


def test_a_bypassed_firewall_is_said(tiffin: Inside, host: Host) -> None:
    """Whoever publishes a port for everybody, on a host whose firewall drops by policy, is warned."""
    host.run(
        "nft",
        "add table inet mine; add chain inet mine in { type filter hook input priority 0; policy drop; }",
    )
    try:
        done = tiffin.run("create", "-p", "8080:80", "box:1")
        assert b"WARNING: published ports are open to other hosts" in done.stderr
        assert b"WARNING" not in tiffin.run("create", "-p", "127.0.0.1:8080:80", "box:1").stderr
    finally:
        host.run("nft", "delete table inet mine")


def test_ports_of_a_running_container(tiffin: Inside, host: Host) -> None:
    """Publish and unpublish change what is published at once, and for the next start."""
    served(tiffin)
    assert tiffin("container", "publish", "web", "8080:80") == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    assert answer(host, "127.0.0.1", 8080) == "web"
    tiffin("restart", "-t", "0", "web")
    wait_for_port(tiffin, "web")
    assert answer(host, "127.0.0.1", 8080) == "web"
    tiffin("container", "unpublish", "web", "8080:80")
    assert answer(host, "127.0.0.1", 8080) == ""
    assert tiffin("port", "web") == ""
    assert "no public port '8080:80' published" in tiffin.wrong("container", "unpublish", "web", "8080:80")


def test_networks_of_ones_own(tiffin: Inside) -> None:
    """create, ls, inspect, rm and prune, with what docker shows and says."""
    made = tiffin(
        *("network", "create", "--subnet", "10.9.0.0/16", "--gateway", "10.9.0.254"),
        *("--ip-range", "10.9.4.0/24"),
        *("--aux-address", "printer=10.9.4.1", "--label", "a=b", "--attachable", "--driver", "bridge"),
        *("-o", "com.docker.network.bridge.name=mine0", "-o", "com.docker.network.driver.mtu=1400"),
        *("--ipv4", "--ipam-driver", "default", "--scope", "local", "first"),
    ).strip()  # fmt: skip
    tiffin("network", "create", "second")
    listed = tiffin("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
    assert (
        listed
        == "bridge bridge local\nfirst bridge local\nhost host local\nnone null local\nsecond bridge local\n"
    )
    assert tiffin("network", "ls", "-q", "--no-trunc", "--filter", "label=a=b") == f"{made}\n"
    shown = json.loads(tiffin("network", "inspect", "first"))[0]
    assert shown["IPAM"]["Config"] == [
        {
            "Subnet": "10.9.0.0/16",
            "IPRange": "10.9.4.0/24",
            "Gateway": "10.9.0.254",
            "AuxiliaryAddresses": {"printer": "10.9.4.1"},
        }
    ]
    assert (shown["Id"], shown["Attachable"], shown["Labels"]) == (made, True, {"a": "b"})
    tiffin("run", "-d", "--name", "one", "--network", "first", "box:1", "sleep", "60")
    assert address(tiffin, "one") == "10.9.4.0"
    assert "mtu 1400" in tiffin("exec", "one", "busybox", "ip", "link", "show", "eth0")
    assert "mine0" in tiffin.there("ip", "-br", "link")
    shown = tiffin(
        "network",
        "inspect",
        "--verbose",
        "-f",
        "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}",
        "first",
    )
    assert shown == "one 10.9.4.0/16\n"
    said = tiffin.wrong("network", "rm", "first")
    assert 'network first has active endpoints (name:"one"' in said
    assert "would remove 1 network" in tiffin("network", "prune", "--dry-run")
    assert tiffin("network", "prune", "-f", "--filter", "label!=a=b") == "Deleted Networks:\nsecond\n\n"
    tiffin("rm", "-f", "one")
    assert tiffin("network", "rm", "first") == "first\n"
    assert "network first not found" in tiffin.wrong("network", "rm", "first")
    assert tiffin("network", "rm", "--force", "first") == ""
    assert "bridge is a pre-defined network and cannot be removed" in tiffin.wrong("network", "rm", "bridge")


def test_what_cannot_be_a_network(tiffin: Inside, host: Host, other: Host) -> None:
    """Subnets that overlap, addresses outside, drivers and options that are not there: each is said."""
    tiffin("network", "create", "--subnet", "10.8.0.0/16", "taken")
    for words, said in (
        (("taken",), "network with name taken already exists"),
        (("--subnet", "10.8.4.0/24", "x"), "Pool overlaps with other one on this address space"),
        (("--subnet", "198.18.0.0/16", "x"), "Pool overlaps with other one on this address space"),
        (
            ("--subnet", "10.7.0.0/16", "--gateway", "10.6.0.1", "x"),
            "no matching subnet for gateway 10.6.0.1",
        ),
        (("--subnet", "10.7.0.0/16", "--ip-range", "10.6.0.0/24", "x"), "no matching subnet for range"),
        (
            ("--subnet", "10.7.0.0/16", "--aux-address", "a=10.6.0.1", "x"),
            "no matching subnet for aux-address",
        ),
        (("--subnet", "10.7.0.1/16", "x"), "invalid subnet 10.7.0.1/16: it should be 10.7.0.0/16"),
        (("--subnet", "10.7.0.0/33", "x"), "invalid CIDR address: 10.7.0.0/33"),
        (("--driver", "macvlan", "x"), "network driver macvlan is not built"),
        (("--driver", "ipvlan", "x"), "network driver ipvlan is not built"),
        (("--driver", "weave", "x"), 'plugin "weave" not found'),
        (("--ipam-driver", "other", "x"), 'plugin "other" not found'),
        (("-o", "com.docker.network.bridge.gateway_mode_ipv4=routed", "x"), "is not built yet"),
        (("-o", "com.docker.network.driver.mtu=12", "x"), "invalid MTU number: 12"),
        (("host",), "operation is not permitted on predefined host network"),
        (("a/b",), "invalid network name a/b"),
    ):
        assert said in tiffin.wrong("network", "create", *words), words
    assert "network nowhere not found" in tiffin.wrong("create", "--network", "nowhere", "box:1", code=125)


def test_names(tiffin: Inside, host: Host) -> None:
    """Neighbours know each other by name, id, alias and link; new names and addresses count at once."""
    tiffin("network", "create", "--subnet", "10.5.0.0/24", "names")
    made = tiffin(
        "run", "-d", "--name", "web", "--network", "names", "--network-alias", "www", "box:1", "sleep", "60"
    ).strip()
    tiffin(
        "run",
        "-d",
        "--name",
        "ask",
        "--network",
        "name=names,alias=asking",
        "--link",
        "web:linked",
        "box:1",
        "sleep",
        "60",
    )

    def look(name: str) -> str:
        return tiffin.run("exec", "ask", "busybox", "nslookup", name).stdout.decode()

    for name in ("web", made[:12], "www", "linked", "WEB", "web.names"):
        assert "Address: 10.5.0.2" in look(name), name
    assert "name = web.names" in look("10.5.0.2")
    assert "10.5.0.3" in tiffin("exec", "web", "busybox", "nslookup", "asking")
    tiffin("rename", "web", "renamed")
    assert "Address: 10.5.0.2" in look("renamed")
    assert "Address: 10.5.0.2" not in look("web")
    tiffin("stop", "-t", "0", "renamed")
    while "Address: 10.5.0.2" in look("renamed"):
        pass  # its keeper is still giving things back
    tiffin("start", "renamed")
    assert "Address: 10.5.0.4" in look("renamed")
    tiffin(
        "run", "-d", "--name", "two", "--network", "names", "--network-alias", "www", "box:1", "sleep", "60"
    )
    first = {look("www").partition("Address: ")[2].split()[0] for _ in range(4)}
    assert first >= {"10.5.0.4", "10.5.0.5"}
    hosts = tiffin("exec", "ask", "cat", "/etc/resolv.conf")
    assert hosts == "nameserver 127.0.0.11\noptions ndots:0\n"
    # Port 53 is the container's own to listen on.
    tiffin("exec", "-d", "ask", "busybox", "nc", "-l", "-p", "53")
    wait_for_port(tiffin, "ask", 53)
    assert "10.5.0.5" in look("two")


SERVE_NAMES = """
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(4096)
    record = b"\\xc0\\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + bytes((203, 0, 113, 9))
    server.sendto(data[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + data[12:] + record, peer)
"""
ASK_NAMES = """
import socket, struct, sys
def question(name):
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", 1, 1)
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(20000):
    data = question(f"n{number}.example") if number % 2 else b"\\xff" * (number % 700)
    flood.sendto(data, ("127.0.0.11", 53))
with socket.create_connection(("127.0.0.11", 53), 20) as call:
    for name in sys.argv[1:]:
        data = question(name)
        call.sendall(len(data).to_bytes(2, "big") + data)
        length = int.from_bytes(call.recv(2), "big")
        print(socket.inet_ntoa(call.recv(length)[-4:]), flush=True)
"""


def test_other_names_and_a_flood(tiffin: Inside, other: Host) -> None:
    """What is no neighbour is asked of --dns; TCP answers too, also after a flood of questions."""
    tiffin("network", "create", "--subnet", "10.6.0.0/24", "names")
    server = [sys.executable, "-I", "-S", "-c", SERVE_NAMES, THERE]
    with other.start(server, stdout=subprocess.PIPE, text=True) as names:
        assert names.stdout
        assert names.stdout.readline() == "ready\n"
        try:
            words = (
                "run",
                "-d",
                "--name",
                "ask",
                "--network",
                "names",
                "--dns",
                THERE,
                "box:1",
                "sleep",
                "60",
            )
            tiffin(*words)
            said = tiffin.run("exec", "ask", "busybox", "nslookup", "www.example").stdout.decode()
            assert "Address: 203.0.113.9" in said
            pid = tiffin("inspect", "-f", "{{.State.Pid}}", "ask").strip()
            asking = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", ASK_NAMES]
            done = subprocess.run(
                [*asking, "ask", "other.example", "ask"], capture_output=True, check=True, timeout=60
            )
            assert done.stdout.decode().split() == ["10.6.0.2", "203.0.113.9", "10.6.0.2"]
            assert tiffin("exec", "ask", "echo", "still there") == "still there\n"
        finally:
            names.kill()


def test_connect_and_disconnect(tiffin: Inside) -> None:
    """A running container goes to further networks and leaves them, with its names and addresses there."""
    tiffin("network", "create", "--subnet", "10.4.1.0/24", "left")
    tiffin("network", "create", "--subnet", "10.4.2.0/24", "--subnet", "fd00:4:2::/64", "right")
    served(tiffin, "--network", "left", "--ip", "10.4.1.77", "--mac-address", "02:00:00:00:00:77")
    assert address(tiffin, "web") == "10.4.1.77"
    assert "02:00:00:00:00:77" in tiffin("exec", "web", "busybox", "ip", "link", "show", "eth0")
    assert answer_inside(tiffin, "10.4.1.77", 80, "--network", "right") == ""
    tiffin(
        *("network", "connect", "--ip", "10.4.2.9", "--ip6", "fd00:4:2::9", "--alias", "there"),
        *("--link-local-ip", "169.254.7.7", "--gw-priority", "1", "--link", "web:itself", "right", "web"),
    )  # fmt: skip
    shown = tiffin("exec", "web", "busybox", "ip", "addr", "show", "eth1")
    assert "10.4.2.9/24" in shown
    assert "fd00:4:2::9/64" in shown
    assert "169.254.7.7/16" in shown
    assert "default via 10.4.2.1" in tiffin("exec", "web", "busybox", "ip", "route")
    assert "10.4.2.9\tweb\n" in tiffin("exec", "web", "cat", "/etc/hosts")
    asked = ("run", "--rm", "--network", "right", "box:1", "busybox", "nslookup")
    assert "10.4.2.9" in tiffin.run(*asked, "there").stdout.decode()
    assert answer_inside(tiffin, "10.4.2.9", 80, "--network", "right") == "web"
    assert "already exists in network right" in tiffin.wrong("network", "connect", "right", "web")
    tiffin("restart", "-t", "0", "web")
    assert "10.4.2.9/24" in tiffin("exec", "web", "busybox", "ip", "addr", "show", "eth1")
    tiffin("network", "disconnect", "right", "web")
    assert "eth1" not in tiffin("exec", "web", "busybox", "ip", "addr")
    assert "default via 10.4.1.1" in tiffin("exec", "web", "busybox", "ip", "route")
    assert "is not connected to network right" in tiffin.wrong("network", "disconnect", "right", "web")
    tiffin("network", "disconnect", "--force", "right", "nobody")
    said = tiffin.wrong("run", "--rm", "--network", "left", "--ip", "10.4.1.77", "box:1", "true", code=125)
    assert "Address already in use" in said
    said = tiffin.wrong("run", "--rm", "--network", "left", "--ip", "10.9.1.77", "box:1", "true", code=125)
    assert "invalid address 10.9.1.77: It does not belong to any of this network's subnets" in said
    for mode in ("host", "none"):
        tiffin("run", "-d", "--name", mode, "--network", mode, "box:1", "sleep", "60")
        tiffin.wrong("network", "connect", "left", mode)


def test_a_fork_has_addresses_of_its_own(tiffin: Inside) -> None:
    """What was promised to the source stays its own; network and aliases are the fork's too."""
    tiffin("network", "create", "--subnet", "10.4.3.0/24", "--subnet", "fd00:4:3::/64", "fixed")
    fixed = ("--ip", "10.4.3.77", "--ip6", "fd00:4:3::77", "--mac-address", "02:00:00:00:00:77")
    served(tiffin, "--network", "fixed", "--network-alias", "both", *fixed)
    tiffin("container", "fork", "--name", "twin", "web")
    tiffin("start", "twin")
    assert address(tiffin, "web") == "10.4.3.77" != address(tiffin, "twin")
    addresses = tiffin("exec", "twin", "busybox", "ip", "addr", "show", "eth0")
    assert "10.4.3." in addresses
    assert not any(promised in addresses for promised in fixed[1::2])
    told = tiffin("run", "--rm", "--network", "fixed", "box:1", "busybox", "nslookup", "both")
    assert "10.4.3.77" in told
    assert address(tiffin, "twin") in told


def test_kinds_of_networks(tiffin: Inside, host: Host, other: Host) -> None:
    """--internal has no way out; icc=false separates neighbours; IPv6 works; several networks at once."""
    served(tiffin, name="open")
    tiffin("network", "create", "--internal", "--subnet", "10.3.1.0/24", "shut")
    inner = served(tiffin, "--network", "shut", name="inner")
    assert answer_inside(tiffin, inner, 80, "--network", "shut") == "inner"
    if tiffin.is_root:
        assert answer(host, inner, 80) == "inner"
    assert answer_inside(tiffin, address(tiffin, "open"), 80, "--network", "shut") == ""
    with other.listening(9100) as server:
        assert server.stdout
        answer_inside(tiffin, THERE, 9100, "--network", "shut")
        answer_inside(tiffin, THERE, 9100, "--network", "host")
        assert server.stdout.readline() == f"{HERE}\n"
        assert not select.select([server.stdout], [], [], 0)[0]
    tiffin("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "apart")
    alone = served(tiffin, "--network", "apart", "-p", "8086:80", name="alone")
    assert answer_inside(tiffin, alone, 80, "--network", "apart") == ""
    assert answer(host, "127.0.0.1", 8086) == "alone"
    tiffin("network", "create", "--ipv6", "--subnet", "fd00:66::/64", "six")
    served(tiffin, "--network", "six", "--ip6", "fd00:66::5", "-p", "8087:80", name="six")
    assert "fd00:66::5" in tiffin("exec", "six", "busybox", "ip", "-6", "addr", "show", "eth0")
    assert answer_inside(tiffin, "fd00:66::5", 80, "--network", "six") == "six"
    assert answer(other, HERE6, 8087) == "six"
    both = tiffin(
        "run",
        "--rm",
        "--network",
        "six",
        "--network",
        "apart:alias=x",
        "box:1",
        "busybox",
        "ip",
        "-4",
        "addr",
    )
    assert both.count("scope global") == 2
    shown = tiffin(
        *("run", "--rm", "--network", "six", "--ip6", "fd00:66::7", "--mac-address", "02:00:00:00:00:07"),
        *("--link-local-ip", "169.254.3.3", "-P", "--expose", "99", "box:1", "busybox", "ip", "addr"),
    )  # fmt: skip
    assert "inet6 fd00:66::7/64" in shown
    assert "ether 02:00:00:00:00:07" in shown
    assert "inet 169.254.3.3/16" in shown


def test_config_only_networks(tiffin: Inside) -> None:
    """A network may copy another's configuration, which itself holds no containers."""
    tiffin("network", "create", "--config-only", "--subnet", "10.2.0.0/24", "plan")
    tiffin("network", "create", "--config-from", "plan", "copy")
    assert "10.2.0.0/24" in tiffin("network", "inspect", "copy")
    said = tiffin.wrong("create", "--network", "plan", "box:1", code=125)
    assert "cannot join a config-only network: plan" in said


def test_conflicting_options(tiffin: Inside) -> None:
    """What contradicts the kind of network is refused in docker's words."""
    tiffin("run", "-d", "--name", "web", "box:1", "sleep", "60")
    for words, said in (
        (
            ("--network", "container:web", "-p", "80:80"),
            "conflicting options: port publishing and the container",
        ),
        (
            ("--network", "container:web", "--hostname", "x"),
            "conflicting options: hostname and the network mode",
        ),
        (
            ("--network", "container:web", "--dns", "10.0.0.1"),
            "conflicting options: dns and the network mode",
        ),
        (("--network-alias", "x"), "network-scoped alias is supported only for containers in user defined"),
        (("--ip", "172.17.0.9"), "user specified IP address is supported"),
        (("--ip6", "fd00::9"), "user specified IP address is supported"),
        (("--mac-address", "x"), "invalid MAC address: x"),
        (("--network", "none", "--network", "bridge"), "private (none) mode"),
    ):
        assert said in tiffin.wrong("create", *words, "box:1", code=125), words
    done = tiffin.run("create", "--network", "host", "-p", "80:80", "box:1")
    assert b"Published ports are discarded when using host network mode" in done.stderr
    tiffin(
        "create",
        "--network-alias",
        "y",
        "--link-local-ip",
        "169.254.1.1",
        "--network",
        "bridge",
        "box:1",
        code=125,
    )
    tiffin("create", "--link", "web:w", "--mac-address", "02:00:00:00:00:01", "--publish-all", "box:1")
    hosts = tiffin(
        "run", "--rm", "--link", "web:w", "--add-host", "gate:host-gateway", "box:1", "cat", "/etc/hosts"
    )
    assert f"{'172.17.0.1' if tiffin.is_root else HERE}\tgate\n" in hosts
    assert f"{address(tiffin, 'web')}\tw web" in hosts


def test_the_last_one_turns_off_the_light(tiffin: Inside, host: Host) -> None:
    """After the last container the host's network is what it was, and so it is after kill -9 of keepers."""
    names = tiffin("ps", "-aq").split()
    assert not names
    wait_until_quiet(host)
    before = host.state()
    tiffin("network", "create", "gone")
    tiffin("run", "-d", "--name", "one", "-p", "8080:80", "box:1", "sleep", "60")
    tiffin("run", "-d", "--name", "two", "--network", "gone", "box:1", "sleep", "60")
    assert host.state() != before
    tiffin("rm", "-f", "one", "two")
    tiffin("network", "rm", "gone")
    wait_until_quiet(host)
    assert host.state() == before


def wait_until_quiet(host: Host) -> None:
    """Wait until no bridge of tiffin's is left: the keepers that were last on one take it away."""
    host.wait_for_links(lambda shown: "tf-" not in shown and "tv" not in shown)


def keeper_of(tiffin: Inside, name: str) -> int:
    """Return the process id of a container's keeper."""
    made = tiffin("inspect", "-f", "{{.Id}}", name).strip()
    with open(f"{tiffin.root}.run/containers/{made}/state") as stream:
        return int(json.load(stream)["keeper"])


def kill_keeper(tiffin: Inside, name: str) -> None:
    """Kill a container's keeper at once, and wait until it has gone."""
    pid = keeper_of(tiffin, name)
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([handle], [], [])
    os.close(handle)


def test_what_a_killed_keeper_left_goes(tiffin: Inside, host: Host) -> None:
    """After kill -9 of a keeper the next command takes back its lease, its names, its ports, the bridge."""
    wait_until_quiet(host)
    before = host.state()
    tiffin("run", "-d", "--name", "one", "-p", "8080:80", "box:1", "sleep", "60")
    tiffin("run", "-d", "--name", "two", "box:1", "sleep", "60")
    kill_keeper(tiffin, "one")
    tiffin("ps")
    assert "tcp . 8080 :" not in host.run("nft", "list", "ruleset")
    assert tiffin("network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "bridge") == "two\n"
    kill_keeper(tiffin, "two")
    tiffin("rm", "one", "two")
    wait_until_quiet(host)
    assert host.state() == before
    tiffin("run", "-d", "--name", "one", "-p", "8080:80", "box:1", "sleep", "60")  # the port is free


def test_flushed_rules_come_back(tiffin: Inside, host: Host) -> None:
    """Somebody who flushes all rules breaks running containers only until the next start."""
    served(tiffin, "-p", "8080:80")
    host.run("nft", "flush", "ruleset")
    tiffin("run", "--rm", "box:1", "true")
    assert answer(host, HERE, 8080) == "web"


def test_a_reset_store_leaves_nothing_on_the_host(tmp_path: pathlib.Path, host: Host) -> None:
    """`system reset` takes bridges and rules with the store."""
    made = Inside(str(tmp_path / "root"), host)
    for tiffin in furnished(made, tmp_path):
        wait_until_quiet(host)
        before = host.state()
        made("run", "-d", "--name", "one", "-p", "8080:80", "box:1", "sleep", "60")
        kill_keeper(made, "one")
        tiffin("ps")
        tiffin("run", "-d", "--name", "two", "-p", "8080:80", "box:1", "sleep", "60")
        tiffin("rm", "-f", "two")  # its keeper lingers
        tiffin("system", "reset", "--force")
        assert host.state() == before
        break


def test_what_a_forgotten_store_left_goes(tiffin: Inside, tmp_path: pathlib.Path, host: Host) -> None:
    """A store whose keepers were killed and that is never used again loses bridge and rules to the next one.

    That is so whether its folder is still there or not. What has a container on it stays.
    """
    wait_until_quiet(host)
    before = host.state()
    made = Inside(str(tmp_path / "root"), host)
    for other_store in furnished(made, tmp_path):
        for deleted in (False, True):
            other_store("run", "-d", "--name", "one", "-p", "8080:80", "box:1", "sleep", "60")
            tiffin("run", "--rm", "box:1", "true")
            wait_until_gone(host, tiffin)
            assert "tcp . 8080 :" in host.run("nft", "list", "ruleset")
            kill_all_of(made, "one")
            up = f"{made.root}.run/networks"
            for name in os.listdir(up):
                os.utime(f"{up}/{name}", (0, 0))
            if deleted:
                os.rename(up, f"{up}.gone")
            tiffin("run", "--rm", "box:1", "true")
            wait_until_quiet(host)
            assert host.state() == before
            if deleted:
                os.rename(f"{up}.gone", up)
            other_store("rm", "-f", "one")


def wait_until_gone(host: Host, tiffin: Inside) -> None:
    """Wait until the default bridge of one store is no more."""
    bridge = "tf-" + tiffin("network", "inspect", "-f", "{{.Id}}", "bridge")[:12]
    host.wait_for_links(lambda shown: bridge not in shown)


def kill_all_of(tiffin: Inside, name: str) -> None:
    """Kill a container's keeper and its process, and wait until its interface has gone with them."""
    pid = int(tiffin("inspect", "-f", "{{.State.Pid}}", name))
    handle = os.pidfd_open(pid)
    kill_keeper(tiffin, name)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    select.select([handle], [], [])
    os.close(handle)
    tiffin.host.wait_for_links(lambda shown: "tv" not in shown)


@pytest.mark.long
def test_two_hundred_random_steps(tiffin: Inside, host: Host) -> None:
    """Whatever is done in whatever order, what is up are exactly the networks of the running containers."""
    wait_until_quiet(host)
    before = host.state()
    dice = random.Random(7)
    networks = ("red", "green", "blue")
    for name in networks:
        tiffin("network", "create", name)
    names = [f"c{number}" for number in range(6)]
    for number, name in enumerate(names):
        ports = ("-p", f"{8100 + number}:80")
        tiffin("create", "--name", name, *ports, "--network", dice.choice(networks), "box:1", "sleep", "600")
    for _ in range(200):
        name, network = dice.choice(names), dice.choice(networks)
        action = dice.choice(("connect", "disconnect", "start", "start", "stop", "kill", "check"))
        if action in {"connect", "disconnect"}:
            tiffin.run("network", action, network, name)
        elif action == "start":
            tiffin.run("start", name)
        elif action == "stop":
            tiffin.run("stop", "-t", "0", name)
        elif action == "kill" and name in tiffin("ps", "--format", "{{.Names}}").split():
            kill_keeper(tiffin, name)
        else:
            check_all(tiffin, host, networks)
    check_all(tiffin, host, networks)
    tiffin("rm", "-f", *names)
    tiffin("network", "rm", *networks)
    wait_until_quiet(host)
    assert host.state() == before


def check_all(tiffin: Inside, host: Host, networks: tuple[str, ...]) -> None:
    """Compare interfaces, rules and leases with the containers that run."""
    running = tiffin("ps", "--format", "{{.Names}}").split()  # settles what was killed
    tiffin("network", "prune", "-f", "--filter", "label=none")
    shown = [json.loads(tiffin("inspect", name))[0] for name in running]
    wanted = {
        (network, one["Name"].strip("/"), endpoint["IPAddress"])
        for one in shown
        for network, endpoint in one["NetworkSettings"]["Networks"].items()
    }
    while True:  # keepers that end give things back a moment later
        leases = {
            (name, endpoint["Name"], endpoint["IPv4Address"].partition("/")[0])
            for name in networks
            for endpoint in json.loads(tiffin("network", "inspect", name))[0]["Containers"].values()
        }
        links = [line.split("@")[0] for line in host.run("ip", "-br", "link").splitlines()]
        if leases == wanted and sum(link.startswith("tv") for link in links) == len(wanted):
            break
    rules = host.run("nft", "list", "ruleset")
    for one in shown:
        for bound in one["NetworkSettings"]["Ports"].values():
            for port in bound or ():
                assert port["HostIp"] == "::" or f"tcp . {port['HostPort']} : " in rules
    assert rules.count(" : 172.") == sum(
        port["HostIp"] != "::"
        for one in shown
        for bound in one["NetworkSettings"]["Ports"].values()
        for port in bound or ()
    )


@pytest.mark.long
def test_next_to_docker(tiffin: Inside, host: Host, other: Host, tmp_path: pathlib.Path) -> None:
    """Beside a dockerd whose FORWARD drops by policy both engines' ports answer, and clients are not hidden.

    docker's containers keep working while tiffin's come and go, and its chains are then as before.
    """
    if not shutil.which("dockerd"):
        pytest.skip("no dockerd here (Debian: docker.io)")
    at = f"unix://{tmp_path}/sock"
    words = ["dockerd", "--data-root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/exec"]
    words += ["-p", f"{tmp_path}/pid", "-H", at]
    with host.start(words, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr
        try:
            while "API listen" not in daemon.stderr.readline():
                assert daemon.poll() is None
            host.run("iptables", "-P", "FORWARD", "DROP")
            tiffin("save", "-o", f"{tmp_path}/box.tar", "box:1")
            docker = ("docker", "-H", at)
            host.run(*docker, "load", "-i", f"{tmp_path}/box.tar")
            serve = SERVE.replace("hostname", "echo theirs")
            host.run(*docker, "run", "-d", "--name", "theirs", "-p", "8081:80", "box:1", "sh", "-c", serve)
            before = host.run("iptables", "-S")
            served(tiffin, "-p", "8080:80", "-p", "8082:9000")
            for _ in range(2):
                assert answer(other, HERE, 8080) == "web"
                assert answer_inside(tiffin, HERE, 8080) == "web"
                while answer(other, HERE, 8081) != "theirs":
                    pass  # it has only just begun
                with other.listening(9090) as listening:
                    host.run(*docker, "exec", "theirs", "busybox", "nc", "-w", "2", THERE, "9090")
                    tiffin("exec", "web", "busybox", "nc", "-w", "2", THERE, "9090")
                    assert listening.stdout
                    assert [listening.stdout.readline() for _ in "ab"] == [f"{HERE}\n"] * 2
                tiffin("restart", "-t", "0", "web")
                wait_for_port(tiffin, "web")
            # Whose packets come through a published port is not hidden.
            pid = tiffin("inspect", "-f", "{{.State.Pid}}", "web").strip()
            asking = [
                "nsenter",
                f"--net=/proc/{pid}/ns/net",
                sys.executable,
                "-I",
                "-S",
                "-c",
                LISTEN,
                "9000",
            ]
            with subprocess.Popen(asking, stdout=subprocess.PIPE, text=True) as seen:
                assert seen.stdout
                assert seen.stdout.readline() == "ready\n"
                other.run("busybox", "nc", "-w", "2", HERE, "8082")
                assert seen.stdout.readline() == f"{THERE}\n"
                seen.kill()
            assert "-j ACCEPT" in host.run("iptables", "-S", "DOCKER-USER")
            tiffin("rm", "-f", "web")
            wait_until_quiet(host)
            assert host.run("iptables", "-S") == before
            assert answer(other, HERE, 8081) == "theirs"
            host.run(*docker, "rm", "-f", "theirs")
            assert daemon.poll() is None
        finally:
            daemon.terminate()
            daemon.communicate()
            host.run("iptables", "-P", "FORWARD", "ACCEPT")


def test_the_command_that_docker_would_need_has_the_networks(tiffin: Inside) -> None:
    """`inspect --as docker` names each network with aliases and addresses, and the links of the first."""
    tiffin("network", "create", "--subnet", "10.83.1.0/24", "one")
    tiffin("network", "create", "two")
    tiffin("create", "--name", "db", "--network", "one", "box:1", "true")
    mac = "02:00:00:00:00:07"
    said = ("--network=name=one,alias=web,ip=10.83.1.9", "--network", "two", "--link", "db:data")
    tiffin("create", "--name", "app", *said, "box:1", "true")
    tiffin("create", "--name", "plain", "--mac-address", mac, "box:1", "true")
    shown = tiffin("inspect", "--as", "docker", "app").split()
    assert shown[2:4] == ["--network=name=one,alias=web,ip=10.83.1.9", "--network=two"]
    assert "--link=db:data" in shown
    assert f"--network=name=bridge,mac-address={mac}" in tiffin("inspect", "--as", "docker", "plain").split()
    assert "--network=one" in tiffin("inspect", "--as", "docker", "db").split()
    again = [word for word in shown[2:] if not word.startswith("--name=")]
    tiffin("create", "--name", "again", *again)
    template = (
        "{{json .HostConfig.NetworkMode}} {{json .HostConfig.Links}} {{json .NetworkSettings.Networks}}"
    )
    first, second = (tiffin("inspect", "-f", template, name) for name in ("app", "again"))
    name, other = (tiffin("inspect", "-f", "{{slice .Id 0 12}}", name).strip() for name in ("app", "again"))
    assert second == first.replace(name, other).replace('"app"', '"again"')
