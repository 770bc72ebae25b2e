"""Egress lists in real sessions: what is on the list can be reached, and nothing gets round it.

The host is a network namespace of the test's own; beside it lies another host, which is the world.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import furnished
from tests.cli.test_session_networks import (
    HERE,
    THERE,
    THERE6,
    Inside,
    answer,
    kill_keeper,
    wait_for_port,
)
from tests.netns import Host, cable
from tests.rungs import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_root  # a network namespace that plays the host is made for each

ALSO, OTHER = "198.18.0.3", "198.18.0.4"
"""More addresses of the world's: one that a name leads to, and one that none does."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The host that tiffin runs on."""
    with Host() as made:
        yield made


@pytest.fixture(scope="module")
def world(host: Host) -> Iterator[Host]:
    """Another host, by a cable, that listens on some ports of all its addresses and answers names."""
    with Host() as made:
        cable(host, made, "wire", (f"{HERE}/24", f"{THERE}/24"), ("2001:db8:1::1/64", f"{THERE6}/64"))
        for ip in (ALSO, OTHER):
            made.run("ip", "addr", "add", f"{ip}/24", "dev", "wire")
        made.run("ip", "route", "add", "default", "via", HERE)
        made.run("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        with serving(made):
            yield made


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory, host: Host, world: Host) -> Iterator[Inside]:
    """A store with `box:1`, used on that host."""
    folder = tmp_path_factory.mktemp("egress")
    assert world
    yield from furnished(Inside(str(folder / "root"), host), folder)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def nothing_is_left(tiffin: Inside, host: Host) -> Iterator[None]:
    """Take away containers and networks after each test: no rule of theirs is there then."""
    yield
    names = tiffin("ps", "-aq").split()
    if names:
        tiffin("rm", "-f", *names)
    tiffin("network", "prune", "-f")
    while "table netdev" in host.run("nft", "list", "tables"):
        pass  # keepers that end give things back a moment later


# Answers TCP and UDP on 443 and 444, and names on 53: `good.test` and what is below `wild.test` are ALSO,
# `alias.test` leads there, `long.test` comes whole by TCP only, `liar.test` says a record of another name,
# `inward.test` is the asker's own gateway's loopback. It tells each name that it is asked for.
WORLD = """
import select, socket, struct, sys
also = socket.inet_aton(sys.argv[1])
sockets, kept = [], []
for port in (443, 444):
    for ip in sys.argv[1:]:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            made = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((ip, port))
            if kind == socket.SOCK_STREAM:
                made.listen(100)
            sockets.append(made)
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("", 53))
longer = socket.create_server(("", 53))
sockets += [names, longer]
def record(owner, kind, data):
    return owner + struct.pack(">HHIH", kind, 1, 5, len(data)) + data
def label(text):
    return b"".join(bytes((len(p),)) + p.encode() for p in text.split(".")) + b"\\0"
def answer(data, by_tcp):
    end = data.index(b"\\0", 12) + 5
    parts, at = [], 12
    while data[at]:
        parts.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    name = ".".join(parts)
    print(name, flush=True)
    kind = data[end - 3]
    found = []
    if kind == 1 and (name == "good.test" or name.endswith(".wild.test")):
        found = [record(b"\\xc0\\x0c", 1, also)]
    elif kind == 1 and name == "alias.test":
        found = [record(b"\\xc0\\x0c", 5, label("far.test")), record(label("far.test"), 1, also)]
    elif kind == 1 and name == "liar.test":
        found = [record(label("other.test"), 1, also)]
    elif kind == 1 and name == "inward.test":
        found = [record(b"\\xc0\\x0c", 1, bytes((127, 0, 0, 1)))]
    elif kind == 1 and name == "long.test":
        found = [record(b"\\xc0\\x0c", 1, bytes((198, 18, 0, n))) for n in range(3, 23)] if by_tcp else []
    cut = 2 if name == "long.test" and not by_tcp else 0
    code = 0 if found or cut else 3
    head = data[:2] + bytes((0x81 | cut, 0x80 | code)) + struct.pack(">HHHH", 1, len(found), 0, 0)
    return head + data[12:end] + b"".join(found)
print("ready", flush=True)
while True:
    for sock in select.select(sockets, [], [])[0]:
        if sock is names:
            data, peer = sock.recvfrom(4096)
            sock.sendto(answer(data, False), peer)
        elif sock is longer:
            client = sock.accept()[0]
            length = int.from_bytes(client.recv(2), "big")
            data = answer(client.recv(length), True)
            client.sendall(len(data).to_bytes(2, "big") + data)
            client.close()
        elif sock.type == socket.SOCK_STREAM:
            client = sock.accept()[0]
            client.sendall(b"hello\\n")
            kept.append(client)
        else:
            sock.sendto(b"hello\\n", sock.recvfrom(4096)[1])
"""


@contextmanager
def serving(host: Host) -> Iterator[None]:
    """Be the world's services; what is asked is lines of `host.asked`."""
    with host.start(
        [sys.executable, "-I", "-S", "-c", WORLD, ALSO, OTHER, THERE, THERE6],
        stdout=subprocess.PIPE,
        text=True,
    ) as made:
        assert made.stdout
        assert made.stdout.readline() == "ready\n"
        try:
            host.names = made.stdout  # type: ignore[attr-defined]
            yield
        finally:
            made.kill()


# Tries what it is told, in the container's own network namespace, as its root would with a tool of its own.
TRY = """
import errno, socket, struct, sys
def tcp(ip, port, source=0):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        client.connect((ip, int(port)))
        return client.recv(10).decode().strip()
def web(ip, port):
    with socket.create_connection((ip, int(port)), 3) as client:
        client.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
        data = b""
        while piece := client.recv(1000):
            data += piece
        return data.split()[-1].decode()
def udp(ip, port):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.connect((ip, int(port)))
        client.send(b"x")
        return client.recv(10).decode().strip()
def ping(ip):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
        client.settimeout(3)
        body = struct.pack(">BBHHH", 8, 0, 0, 7, 1)
        total = sum(struct.unpack(">4H", body))
        total = (total & 0xffff) + (total >> 16)
        client.sendto(body[:2] + struct.pack(">H", ~total & 0xffff) + body[4:], (ip, 0))
        while True:
            data = client.recv(200)
            if data[20] == 0:
                return "hello"
            if data[20] == 3:
                raise OSError(errno.EACCES, "told off")
for words in map(str.split, sys.argv[1:]):
    try:
        print({"tcp": tcp, "web": web, "udp": udp, "ping": ping}[words[0]](*words[1:]))
    except TimeoutError:
        print("silence")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error))
"""
# Holds a connection, and says more on it when told to.
HOLD = """
import socket, sys
held = socket.create_connection((sys.argv[1], 443))
print("ready", flush=True)
sys.stdin.readline()
try:
    held.sendall(b"more")
    while held.recv(10):
        pass
    held.sendall(b"more")
    print("goes on")
except OSError as error:
    print(type(error).__name__)
"""
REFUSED = {"ECONNREFUSED", "EACCES", "EHOSTUNREACH", "ENETUNREACH"}


def inside(tiffin: Inside, name: str) -> list[str]:
    """Return a command that runs a script in a container's network namespace."""
    pid = tiffin("inspect", "-f", "{{.State.Pid}}", name).strip()
    return ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c"]


def tried(tiffin: Inside, name: str, *attempts: str, script: str = TRY) -> list[str]:
    """Return what comes of attempts from inside a container: "hello", or an error's name."""
    done = subprocess.run(
        [*inside(tiffin, name), script, *attempts], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split()


def looked_up(tiffin: Inside, name: str, *wanted: str) -> list[bool]:
    """Tell for each name whether a container gets an address for it."""
    return [
        tiffin.run("exec", name, "busybox", "nslookup", one).stdout.count(b"Address") > 1 for one in wanted
    ]


def run(tiffin: Inside, name: str, *words: str) -> None:
    """Run a container that waits."""
    tiffin("run", "-d", "--name", name, *words, "box:1", "sleep", "600")


def seen(tiffin: Inside, name: str) -> dict[tuple[str, str], tuple[str, int]]:
    """Return what `container egress` tells: (wanted, port) to (verdict, times)."""
    text = tiffin("container", "egress", "--format", "json", name)
    rows = [json.loads(line) for line in text.splitlines()]
    return {(row["Wanted"], row["Port"]): (row["Verdict"], int(row["Times"])) for row in rows}


def test_addresses_and_ports(tiffin: Inside) -> None:
    """Networks, addresses and ports of the list are reached; others answer at once that they are not."""
    run(tiffin, "box", "--egress", f"allow={THERE}:443,{ALSO}/32:444/udp", "--egress", f"allow={OTHER}")
    allowed = (f"tcp {THERE} 443", f"udp {ALSO} 444", f"tcp {OTHER} 443", f"udp {OTHER} 444", f"ping {OTHER}")
    assert tried(tiffin, "box", *allowed) == ["hello"] * 5
    refused = (f"tcp {THERE} 444", f"udp {THERE} 443", f"tcp {ALSO} 444", f"udp {ALSO} 443", f"ping {THERE}")
    assert set(tried(tiffin, "box", *refused)) <= REFUSED
    found = seen(tiffin, "box")
    assert found[THERE, "443/tcp"] == ("allowed", 1)
    assert found[OTHER, "444/udp"] == ("allowed", 1)
    assert found[OTHER, "icmp"] == ("allowed", 1)
    assert found[THERE, "444/tcp"] == ("refused", 1)
    assert found[ALSO, "443/udp"] == ("refused", 1)
    assert found[THERE, "icmp"] == ("refused", 1)
    assert tiffin("container", "egress", "box").splitlines()[0].split()[:3] == ["VERDICT", "WANTED", "PORT"]


def test_nothing_at_all(tiffin: Inside, world: Host) -> None:
    """With `none` nothing can be reached, and no name is asked of a server."""
    run(tiffin, "box", "--egress", "none", "--dns", THERE)
    assert set(tried(tiffin, "box", f"tcp {THERE} 443", f"udp {THERE} 53")) <= REFUSED
    assert looked_up(tiffin, "box", "good.test") == [False]
    assert seen(tiffin, "box")["good.test", "name"][0] == "refused"
    mark = f"mark{tiffin.root[-6:]}.test".lower().replace("/", "x")
    world.run(sys.executable, "-I", "-S", "-c", ASK_ONCE, THERE, mark)
    names = []
    while mark not in names:  # what has been asked until now
        names.append(world.names.readline().strip())  # type: ignore[attr-defined]
    assert "good.test" not in names


ASK_ONCE = """
import socket, struct, sys
labels = b"".join(bytes((len(p),)) + p.encode() for p in sys.argv[2].split("."))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.connect((sys.argv[1], 53))
    client.send(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", 1, 1))
    client.recv(512)
"""


@pytest.mark.parametrize("network", ["bridge", "mine"])
def test_names(tiffin: Inside, network: str) -> None:
    """A name of the list opens what it leads to, its port alone, once it was asked; others are not asked."""
    if network == "mine":
        tiffin("network", "create", "mine")
    allow = "allow=Good.test:443,*.wild.test:444,alias.test:444/udp,long.test:444,liar.test,inward.test"
    run(tiffin, "box", "--network", network, "--dns", THERE, "--egress", allow)
    assert tiffin("exec", "box", "cat", "/etc/resolv.conf").startswith("nameserver 127.0.0.11\n")
    assert set(tried(tiffin, "box", f"tcp {ALSO} 443")) <= REFUSED
    assert looked_up(tiffin, "box", "good.test", "bad.test", "wild.test") == [True, False, False]
    assert tried(tiffin, "box", f"tcp {ALSO} 443") == ["hello"]
    assert set(tried(tiffin, "box", f"tcp {ALSO} 444", f"udp {ALSO} 444")) <= REFUSED
    assert looked_up(tiffin, "box", "a.b.wild.test", "alias.test") == [True, True]
    assert tried(tiffin, "box", f"tcp {ALSO} 444", f"udp {ALSO} 444") == ["hello", "hello"]
    # A cut answer is asked for again by TCP; all its addresses count.
    assert looked_up(tiffin, "box", "long.test") == [True]
    assert tried(tiffin, "box", f"tcp {OTHER} 444") == ["hello"]
    # Records of other names, and addresses that no name may lead to, open nothing.
    looked_up(tiffin, "box", "liar.test", "inward.test")
    assert set(tried(tiffin, "box", f"udp {ALSO} 443", f"ping {ALSO}")) <= REFUSED
    found = seen(tiffin, "box")
    wanted = {name.partition(" ")[0] for name, port in found if port == "443/tcp" and f"({ALSO})" in name}
    assert wanted  # an address is told with a name that led there
    assert found["good.test", "name"][0] == "allowed"
    assert found["bad.test", "name"][0] == "refused"


def test_neighbours_and_callers(tiffin: Inside) -> None:
    """Neighbours are reached by name where the list has them; who calls is answered, and nobody else."""
    tiffin("network", "create", "--subnet", "10.31.0.0/24", "mine")
    serve = "echo hello > /who; exec busybox httpd -f -p 443 -h /"
    for name in ("db", "web"):
        tiffin("run", "-d", "--name", name, "--network", "mine", "box:1", "sh", "-c", serve)
    listed = ("--egress", "allow=db:443")
    tiffin(
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "mine",
        "-p",
        "8443:443",
        *listed,
        "box:1",
        "sh",
        "-c",
        serve,
    )
    for name in ("db", "web", "box"):
        wait_for_port(tiffin, name, 443)
    ip = {
        n: tiffin("inspect", "-f", "{{.NetworkSettings.Networks.mine.IPAddress}}", n).strip()
        for n in ("db", "web", "box")
    }
    assert set(tried(tiffin, "box", f"tcp {ip['db']} 443", f"tcp {ip['web']} 443")) <= REFUSED
    assert looked_up(tiffin, "box", "db", "web") == [True, True]
    assert tried(tiffin, "box", f"web {ip['db']} 443") == ["hello"]
    assert set(tried(tiffin, "box", f"tcp {ip['web']} 443", f"ping {ip['web']}")) <= REFUSED
    # Whoever calls is answered: a neighbour, the host, another host.
    assert tried(tiffin, "web", f"web {ip['box']} 443", f"ping {ip['box']}") == ["hello", "hello"]
    assert set(tried(tiffin, "box", f"tcp {ip['web']} 443")) <= REFUSED
    assert answer(tiffin.host, "127.0.0.1", 8443) == "hello"


def test_another_host_is_answered(tiffin: Inside, world: Host) -> None:
    """Published ports of a guarded container answer the world, which it cannot call itself."""
    serve = "echo hello > /who; exec busybox httpd -f -p 443 -h /"
    tiffin("run", "-d", "--name", "box", "-p", "8443:443", "--egress", "none", "box:1", "sh", "-c", serve)
    wait_for_port(tiffin, "box", 443)
    assert answer(world, HERE, 8443) == "hello"
    assert set(tried(tiffin, "box", f"tcp {THERE} 443")) <= REFUSED


# What a program with CAP_NET_RAW can do: frames of its own making, past its namespace's rules and addresses.
RAW = """
import socket, struct, sys
name, ours, theirs, mac, gateway = sys.argv[1:6]
def sum16(data):
    data += b"\\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def ip(source, target, protocol, body, fragment=0):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack(">H", sum16(head)) + head[12:] + body
def udp(port, data):
    return struct.pack(">HHHH", 5000, port, 8 + len(data), 0) + data
def tcp(port, flags):
    return struct.pack(">HHIIBBHHH", 5000, port, 1, 1, 0x50, flags, 1000, 0, 0) + b"leak"
me = bytes.fromhex(mac.replace(":", ""))
to = bytes.fromhex(gateway.replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.setsockopt(263, 20, 1)  # PACKET_QDISC_BYPASS
wire.bind((name, 0))
def frame(kind, body, source=me, target=to):
    wire.send(target + source + struct.pack(">H", kind) + body)
frame(0x800, ip(ours, theirs, 17, udp(444, b"leak")))
frame(0x800, ip("10.77.0.9", theirs, 17, udp(444, b"leak")))
frame(0x800, ip(ours, theirs, 17, udp(444, b"leak")), source=b"\\x02\\0\\0\\0\\0\\x09")
frame(0x800, ip(ours, theirs, 6, tcp(444, 0x10)))
frame(0x800, ip(ours, theirs, 6, tcp(444, 0x12)))
frame(0x800, ip(ours, theirs, 17, b"leakleak", 5))
frame(0x800, ip(ours, theirs, 17, udp(444, b"leak" * 2), 0x2000))
frame(0x800, ip(ours, theirs, 1, struct.pack(">BBHHH", 0, 0, 0xffff, 0, 0) + b"leak"))
frame(0x800, ip(ours, theirs, 47, b"leakleak"))
frame(0x8100, struct.pack(">HH", 0, 0x800) + ip(ours, theirs, 17, udp(444, b"leak")))
frame(0x88b5, b"leak" * 20, target=b"\\xff" * 6)
frame(0x806, struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + b"\\x02\\0\\0\\0\\0\\x09"
      + socket.inet_aton("10.77.0.9") + bytes(6) + socket.inet_aton(theirs), target=b"\\xff" * 6)
frame(0x86dd, struct.pack(">IHBB", 6 << 28, 8, 17, 64) + socket.inet_pton(10, "fe80::9")
      + socket.inet_pton(10, "ff02::1") + udp(444, b""), target=b"\\x33\\x33\\0\\0\\0\\1")
frame(0x800, ip(ours, theirs, 17, udp(443, b"fine")))
"""
LISTEN_RAW = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((sys.argv[1], 0))
wire.settimeout(60)
print("ready", flush=True)
while True:
    data, where = wire.recvfrom(2000)
    if where[2] != 4 and (b"leak" in data or b"\\x02\\0\\0\\0\\0\\x09" in data or b"fine" in data):
        print("fine" if b"fine" in data else "leak", flush=True)
        if b"fine" in data:
            break
"""


def test_frames_of_its_own_making(tiffin: Inside, host: Host, world: Host) -> None:
    """Raw frames get nowhere: forged sources, other protocols, fragments, answers to nobody, other tags."""
    run(tiffin, "box", "--egress", f"allow={THERE}:443/udp")
    shown = json.loads(tiffin("inspect", "box"))[0]["NetworkSettings"]["Networks"]["bridge"]
    links = json.loads(host.run("ip", "-j", "link"))
    bridge = next(link for link in links if link["ifname"].startswith("tf-"))
    words = ("eth0", shown["IPAddress"], THERE, shown["MacAddress"], bridge["address"])
    listeners = []
    try:
        for where, name in ((world, "wire"), (host, bridge["ifname"])):
            argv = [sys.executable, "-I", "-S", "-c", LISTEN_RAW, name]
            made = where.start(argv, stdout=subprocess.PIPE, text=True)
            listeners.append(made)
            assert made.stdout
            assert made.stdout.readline() == "ready\n"
        tried(tiffin, "box", *words, script=RAW)
        assert [made.communicate(timeout=60)[0].split() for made in listeners] == [["fine"], ["fine"]]
    finally:
        for made in listeners:
            made.kill()
            made.wait()


def test_the_host_and_other_networks(tiffin: Inside, host: Host) -> None:
    """The host's own addresses, and containers on other networks, are places like any others."""
    tiffin("network", "create", "--subnet", "10.32.0.0/24", "mine")
    tiffin("network", "create", "--subnet", "10.33.0.0/24", "theirs")
    run(tiffin, "far", "--network", "theirs", "-p", "8444:443")
    run(tiffin, "box", "--network", "mine", "--egress", "allow=10.40.0.0/16")
    with host.listening(9090):
        attempts = ("tcp 10.32.0.1 9090", f"tcp {HERE} 9090", "tcp 10.33.0.2 443", f"tcp {HERE} 8444")
        assert set(tried(tiffin, "box", *attempts)) <= REFUSED
    # A network that it joins later is guarded, too.
    tiffin("network", "connect", "theirs", "box")
    assert set(tried(tiffin, "box", "tcp 10.33.0.2 443", "ping 10.33.0.2")) <= REFUSED
    tiffin("network", "disconnect", "mine", "box")
    assert set(tried(tiffin, "box", "ping 10.33.0.2", f"tcp {THERE} 443")) <= REFUSED


def test_ipv6(tiffin: Inside) -> None:
    """IPv6 is guarded as IPv4 is; its neighbours are found."""
    tiffin("network", "create", "--ipv6", "--subnet", "fd00:31::/64", "six")
    run(tiffin, "box", "--network", "six", "--egress", f"allow=[{THERE6}]:443")
    assert tried(tiffin, "box", f"tcp {THERE6} 443") == ["hello"]
    assert set(tried(tiffin, "box", f"tcp {THERE6} 444", f"udp {THERE6} 443", f"tcp {THERE} 443")) <= REFUSED
    assert seen(tiffin, "box")[THERE6, "444/tcp"] == ("refused", 1)


def test_a_list_that_changes(tiffin: Inside) -> None:
    """Entries come and go while it runs, what was begun included, and are remembered by its next start."""
    run(tiffin, "box", "--egress", f"allow={THERE}:443", "--dns", THERE)
    assert (
        tiffin("container", "egress", "--allow", "good.test:443", "box")
        == f"{THERE}:443/tcp\ngood.test:443/tcp\n"
    )
    assert looked_up(tiffin, "box", "good.test") == [True]
    assert tried(tiffin, "box", f"tcp {ALSO} 443") == ["hello"]
    held = [*inside(tiffin, "box"), HOLD, THERE]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as begun:
        assert begun.stdout
        assert begun.stdin
        assert begun.stdout.readline() == "ready\n"
        tiffin("container", "egress", "--revoke", f"{THERE}:443,good.test:443", "box")
        assert begun.communicate("go on\n")[0] == "ConnectionResetError\n"
    assert set(tried(tiffin, "box", f"tcp {ALSO} 443", f"tcp {THERE} 443")) <= REFUSED
    said = tiffin.wrong("container", "egress", "--revoke", "good.test:443", "box")
    assert "good.test:443/tcp is not in the egress list of box" in said
    tiffin("container", "egress", "--allow", f"{OTHER}", "box")
    tiffin("restart", "-t", "0", "box")
    assert tried(tiffin, "box", f"tcp {OTHER} 443") == ["hello"]
    tiffin("stop", "-t", "0", "box")
    assert seen(tiffin, "box")[OTHER, "443/tcp"] == ("allowed", 1)
    tiffin("container", "egress", "--revoke", OTHER, "box")
    assert json.loads(tiffin("inspect", "box"))[0]["HostConfig"]["Egress"] == []
    assert "--egress=none" in tiffin("inspect", "--as", "docker", "box")


def test_flushed_rules_come_back_at_once(tiffin: Inside, host: Host) -> None:
    """Who flushes the host's rules takes nobody's guard away for longer than its keeper needs to notice."""
    run(tiffin, "box", "--egress", "none")
    with host.start(["nft", "monitor", "tables"], stdout=subprocess.PIPE, text=True) as monitor:
        host.run("nft", "flush", "ruleset")
        assert monitor.stdout
        while "table netdev" not in host.run("nft", "list", "tables"):
            pass
        monitor.kill()
    assert set(tried(tiffin, "box", f"tcp {THERE} 443")) <= REFUSED


def test_a_guest_of_its_network_lives_on_without_any(tiffin: Inside, host: Host) -> None:
    """Who shares a guarded container's network is guarded with it, and has none when it ends."""
    run(tiffin, "box", "--egress", f"allow={THERE}:443")
    run(tiffin, "guest", "--network", "container:box")
    assert tried(tiffin, "guest", f"tcp {THERE} 443") == ["hello"]
    assert set(tried(tiffin, "guest", f"tcp {THERE} 444")) <= REFUSED
    tiffin("stop", "-t", "0", "box")
    while "table netdev" in host.run("nft", "list", "tables"):
        pass
    assert set(tried(tiffin, "guest", f"tcp {THERE} 443", f"tcp {THERE} 444")) <= REFUSED


def test_a_killed_keeper_leaves_its_guard(tiffin: Inside, host: Host) -> None:
    """What stays of a container whose keeper was killed is guarded until it goes; no rule stays after it."""
    run(tiffin, "box", "--egress", "none")
    with subprocess.Popen(
        [*inside(tiffin, "box"), STAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stays:
        assert stays.stdout
        assert stays.stdout.readline() == b"ready\n"
        namespace = [f"--net=/proc/{stays.pid}/ns/net", sys.executable, "-I", "-S", "-c", TRY]
        for command in ((), ("ps",), ("network", "prune", "-f")):
            if command:
                tiffin(*command)
            else:
                kill_keeper(tiffin, "box")
            done = subprocess.run(
                ["nsenter", *namespace, f"tcp {THERE} 443"], capture_output=True, check=True
            )
            assert done.stdout.decode().strip() in REFUSED
        assert "table netdev" not in host.run("nft", "list", "tables")
        stays.communicate()


STAY = "import sys\nprint('ready', flush=True)\nsys.stdin.read()"


def test_a_name_in_the_file_of_hosts(tiffin: Inside, host: Host) -> None:
    """What --add-host says counts as the name's address, host-gateway too."""
    run(tiffin, "box", "--add-host", "up.test:host-gateway", "--egress", "allow=up.test:9091")
    gateway = tiffin("inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "box").strip()
    with host.listening(9091):
        assert tried(tiffin, "box", f"tcp {gateway} 9091") == []
    assert seen(tiffin, "box")[f"up.test ({gateway})", "9091/tcp"] == ("allowed", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--egress", "example.org"), "it is allow=NAME|NETWORK[:PORT],... or none"),
        (("--egress", "allow=example.org:0"), "invalid egress entry: 'example.org:0'"),
        (("--egress", "allow=10.0.0.0/40"), "invalid egress entry: '10.0.0.0/40'"),
        (("--egress", "allow=a b"), "invalid egress entry: 'a b'"),
        (("--egress", "none", "--network", "host"), "conflicting options: egress and the network mode"),
        (
            ("--egress", "none", "--network", "container:x"),
            "conflicting options: egress and the network mode",
        ),
    ],
)
def test_what_cannot_be_a_list(tiffin: Inside, words: tuple[str, ...], said: str) -> None:
    """An entry that cannot be read, and networks on which nobody could hold a list, are refused."""
    assert said in tiffin.wrong("create", *words, "box:1", "true", code=125)


def test_without_a_list(tiffin: Inside) -> None:
    """A container that was made without a list has none to show or change."""
    run(tiffin, "box")
    for words in ((), ("--allow", "10.0.0.0/8")):
        assert "has no egress list" in tiffin.wrong("container", "egress", *words, "box")
