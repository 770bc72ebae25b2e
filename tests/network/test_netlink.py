"""Netlink's attributes, and what the kernel makes of our messages, with `ip` and `nft` as judges."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.netns import Host
from tiffin.errors import Corrupt, Unsupported
from tiffin.network import link, namespace, netlink, nft, ports, rules

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(
    st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=50)), max_size=8, unique_by=lambda p: p[0])
)
def test_attributes_are_read_as_they_were_written(pairs: list[tuple[int, bytes]]) -> None:
    """What one side packs the other unpacks."""
    packed = b"".join(netlink.attribute(kind, data) for kind, data in pairs)
    assert netlink.attributes(packed) == dict(pairs)


@given(st.binary(max_size=200))
def test_any_bytes_are_attributes_or_corrupt(data: bytes) -> None:
    """Lengths that lie end in our error, never in a loop."""
    try:
        found = netlink.attributes(data)
    except Corrupt:
        return
    assert sum(len(value) for value in found.values()) <= len(data)


@pytest.fixture
def host() -> Iterator[Host]:
    """A host of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root here")
    with Host() as made:
        yield made


def within(host: Host, work: Any) -> Any:
    """Do something in that host's namespace."""
    descriptor = os.open(f"/proc/{host.pid}/ns/net", os.O_RDONLY)
    try:
        return namespace.inside(descriptor, work)
    finally:
        os.close(descriptor)


def test_the_kernel_makes_what_ip_shows(host: Host) -> None:
    """A bridge, a pair into a namespace, addresses, a route: as `ip` sees them."""
    inner, sock = namespace.make()

    def work() -> int:
        with link.open_route() as route:
            route.call("bridge", link.bridge("br", b"\2\0\0\0\0\1", 1400))
            index = link.index_of(route, "br")
            route.call("address", link.address(index, "10.1.0.1", 16), link.address(index, "fd00:1::1", 64))
            made = link.pair("left", index, peer="eth0", namespace=inner, hardware=b"\2\0\0\0\0\2", mtu=1400)
            route.call("pair", made)
            port = link.index_of(route, "left")
            route.call("port", link.port_flags(port, hairpin=True, isolated=True))
            with pytest.raises(FileExistsError):
                route.call("again", link.bridge("br", b"\2\0\0\0\0\1", 0))
            assert [str(s) for s in link.routed(route) if s.size == 4] == ["10.1.0.0/16"]
            assert link.index_of(route, "nothing") == 0
            return index

    within(host, work)
    with sock:
        index = link.index_of(sock, "eth0")
        sock.call("up", link.up(index, ipv6=False), link.address(index, "10.1.0.2", 16))
        sock.call("route", link.default_route(index, "10.1.0.1"))
        with pytest.raises(OSError, match="unreachable"):
            sock.call("route", link.default_route(index, "10.99.0.1"))
    shown = json.loads(host.run("ip", "-d", "-j", "link", "show", "left"))[0]
    assert (shown["master"], shown["mtu"]) == ("br", 1400)
    assert shown["linkinfo"]["info_slave_data"]["isolated"] is True
    assert shown["linkinfo"]["info_slave_data"]["hairpin"] is True
    bridge = json.loads(host.run("ip", "-j", "addr", "show", "br"))[0]
    assert {"10.1.0.1", "fd00:1::1"} <= {a["local"] for a in bridge["addr_info"]}
    assert "192.0.2.1" not in str(bridge)
    os.close(inner)


def test_rules_and_elements_are_as_nft_shows_them(host: Host) -> None:
    """The table is taken by the kernel, elements by netlink are those of the text, and all goes again."""
    network = rules.Ruled(bridge="br", subnets=("10.1.0.0/16", "fd00:1::/64"))
    facts: list[list[Any]] = [
        ["0.0.0.0", 8080, "tcp", "10.1.0.2", 80],  # noqa: S104 - a published port
        ["192.0.2.7", 53, "udp", "10.1.0.2", 53],
        ["::", 8080, "tcp", "fd00:1::2", 80],
        ["2001:db8::7", 9, "sctp", "fd00:1::2", 9],
        ["::", 8081, "tcp", "", 80],
    ]

    def by_netlink() -> None:
        rules.run(rules.script("mine", [network]))
        with nft.open_nft() as sock:
            assert nft.has_table(sock, "mine")
            assert not nft.has_table(sock, "other")
            nft.add(sock, "mine", ports.elements(facts))
            nft.add(sock, "mine", ports.elements(facts[:1]))  # the same again is no error

    def by_text() -> None:
        elements = tuple(element for fact in facts for element in ports.texts(fact))
        rules.run(rules.script("mine", [network.replace(ports=elements)]))

    within(host, by_netlink)
    one = host.run("nft", "list table inet mine")
    within(host, by_text)
    assert host.run("nft", "list table inet mine") == one
    assert "tcp . 8080 : 10.1.0.2 . 80" in one

    def take_back() -> None:
        with nft.open_nft() as sock:
            nft.discard(sock, "mine", ports.elements(facts))
            nft.discard(sock, "mine", ports.elements(facts))

    within(host, take_back)
    assert "8080" not in host.run("nft", "list table inet mine")
    within(host, lambda: rules.run(rules.script("mine", [])))
    assert host.run("nft", "list ruleset") == ""
    with pytest.raises((OSError, Unsupported)):
        within(host, lambda: rules.run("add rule inet nothing here accept"))


def test_the_redirect_of_names(host: Host) -> None:
    """What is sent to port 53 of an address arrives at another one there, by UDP; and 53 stays free."""

    def work() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another,
        ):
            server.bind(("127.0.0.11", 0))
            with nft.open_nft() as sock:
                number = server.getsockname()[1]
                nft.redirect_names(sock, socket.inet_aton("127.0.0.11"), number, number)
            another.bind(("", 53))
            client.settimeout(5)
            server.settimeout(5)
            client.sendto(b"question", ("127.0.0.11", 53))
            data, peer = server.recvfrom(100)
            server.sendto(data.upper(), peer)
            assert client.recvfrom(100) == (b"QUESTION", ("127.0.0.11", 53))

    within(host, work)


def test_a_firewall_that_drops_is_seen(host: Host) -> None:
    """Base chains that drop by policy are found, by hook."""
    host.run(
        "nft", "add table ip mine; add chain ip mine in { type filter hook input priority 0; policy drop; }"
    )
    host.run("nft", "add chain ip mine through { type filter hook forward priority 0; policy accept; }")

    def work() -> list[tuple[str, str]]:
        with nft.open_nft() as sock:
            return list(nft.dropping(sock))

    assert within(host, work) == [("input", "mine")]
    assert struct.calcsize("=I") == 4
