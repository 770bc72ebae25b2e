"""Addresses and subnets, held up against the standard library's."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.network.subnet import POOLS, Subnet, free, link_local, normal, private6

NETWORKS = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
        lambda pair: ipaddress.IPv4Network(pair, strict=False)
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
        lambda pair: ipaddress.IPv6Network(pair, strict=False)
    ),
)


@given(NETWORKS)
def test_subnets_are_those_of_the_standard_library(network: ipaddress.IPv4Network) -> None:
    """Text, size, first and last address agree with `ipaddress`."""
    subnet = Subnet.parse(str(network))
    assert ipaddress.ip_network(str(subnet)) == network
    assert subnet.count == network.num_addresses
    assert ipaddress.ip_address(subnet.last) == network.broadcast_address
    assert subnet.offset(subnet.last) == subnet.count - 1


@given(NETWORKS, NETWORKS)
def test_overlap_is_that_of_the_standard_library(
    one: ipaddress.IPv4Network, two: ipaddress.IPv4Network
) -> None:
    """Two subnets overlap where `ipaddress` says so; those of two families never do."""
    same = one.version == two.version
    assert Subnet.parse(str(one)).overlaps(Subnet.parse(str(two))) == (same and one.overlaps(two))


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "x/8", "1.2.3.4/-1", "1.2.3.4/ 8"]
)
def test_what_is_no_subnet_is_refused(text: str) -> None:
    """A text that is no subnet raises our error."""
    with pytest.raises(InvalidArgument):
        Subnet.parse(text)


def test_pools_are_given_in_docker_s_order_until_they_are_taken() -> None:
    """The first pool that nothing overlaps is taken; none is left when all are."""
    assert str(free([])) == "172.17.0.0/16"
    assert str(free([Subnet.parse("172.16.0.0/15")])) == "172.18.0.0/16"
    assert str(free([Subnet.parse("172.16.0.0/12")])) == "192.168.0.0/20"
    assert free(map(Subnet.parse, POOLS)) is None
    assert free([Subnet.parse("0.0.0.0/0")]) is None


def test_an_ipv6_subnet_of_ones_own_is_private() -> None:
    """It lies in fd00::/8 and depends on the seed."""
    made = ipaddress.ip_network(str(private6(b"12345", 0)))
    assert made.subnet_of(ipaddress.ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert private6(b"12346", 0) != private6(b"12345", 0)
    assert normal("2001:DB8:0::1") == "2001:db8::1"


def test_an_address_of_hardware() -> None:
    """The seventh bit is turned round, fffe stands in the middle."""
    assert link_local(bytes.fromhex("0242ac130001")) == "fe80::42:acff:fe13:1"
    assert link_local(bytes.fromhex("001122334455")) == "fe80::211:22ff:fe33:4455"
