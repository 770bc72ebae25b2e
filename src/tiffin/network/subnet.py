"""Addresses and subnets: the arithmetic, without the 4 ms that `ipaddress` takes to import."""

from __future__ import annotations

import _socket

from tiffin.errors import InvalidArgument
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

INET, INET6 = 2, 10
_SIZES = {4: INET, 16: INET6}


def family_of(ip: str) -> int:
    """Return AF_INET or AF_INET6."""
    return INET6 if ":" in ip else INET


def pack(ip: str) -> bytes:
    """Return an address's bytes; raise InvalidArgument if it is none."""
    try:
        return _socket.inet_pton(family_of(ip), ip)
    except (OSError, ValueError):
        message = f"invalid IP address: {ip}"
        raise InvalidArgument(message) from None


def unpack(raw: bytes) -> str:
    """Return the text of an address's bytes."""
    return _socket.inet_ntop(_SIZES[len(raw)], raw)


def link_local(hardware: bytes) -> str:
    """Return the IPv6 address that hardware gives itself (RFC 4291, appendix A)."""
    first = bytes((hardware[0] ^ 2,))
    return unpack(b"\xfe\x80" + bytes(6) + first + hardware[1:3] + b"\xff\xfe" + hardware[3:])


def normal(ip: str) -> str:
    """Return an address in its one usual form; raise InvalidArgument if it is none."""
    return unpack(pack(ip))


class Subnet(Value):
    """A network: the number of its first address, how many bits are fixed, and 4 or 16 bytes."""

    first: int
    bits: int
    size: int = 4

    @staticmethod
    def parse(text: str) -> Subnet:
        """Read `10.0.0.0/8`; host bits are cleared. Raises InvalidArgument."""
        ip, slash, bits = text.partition("/")
        raw = pack(ip)
        if not slash or not (bits.isascii() and bits.isdigit()) or int(bits) > 8 * len(raw):
            message = f"invalid CIDR address: {text}"
            raise InvalidArgument(message)
        return Subnet.from_packed(raw, int(bits))

    @staticmethod
    def of(ip: str, bits: int) -> Subnet:
        """Return the subnet that an address is in."""
        return Subnet.from_packed(pack(ip), bits)

    @staticmethod
    def from_packed(raw: bytes, bits: int) -> Subnet:
        """Return the subnet that an address's bytes are in."""
        free = 8 * len(raw) - bits
        return Subnet(first=int.from_bytes(raw, "big") >> free << free, bits=bits, size=len(raw))

    def __str__(self) -> str:
        """Return `10.0.0.0/8`."""
        return f"{self.at(0)}/{self.bits}"

    @property
    def count(self) -> int:
        """How many addresses it has, the first and the last included."""
        return 1 << (8 * self.size - self.bits)

    @property
    def last(self) -> str:
        """Its last address, an IPv4 network's broadcast."""
        return self.at(self.count - 1)

    def at(self, offset: int) -> str:
        """Return an address by its distance from the first."""
        return unpack((self.first + offset).to_bytes(self.size, "big"))

    def offset(self, ip: str) -> int:
        """Return an address's distance from the first, -1 if it is outside."""
        raw = pack(ip)
        distance = int.from_bytes(raw, "big") - self.first
        return distance if len(raw) == self.size and 0 <= distance < self.count else -1

    def overlaps(self, other: Subnet) -> bool:
        """Tell whether an address is in both."""
        if self.size != other.size:
            return False
        return self.first < other.first + other.count and other.first < self.first + self.count

    def parts(self, bits: int) -> Iterator[Subnet]:
        """Yield the smaller subnets that it is made of."""
        step = 1 << (8 * self.size - bits)
        for first in range(self.first, self.first + self.count, step):
            yield Subnet(first=first, bits=bits, size=self.size)


POOLS = (
    *(f"172.{number}.0.0/16" for number in range(17, 32)),
    *(f"192.168.{number}.0/20" for number in range(0, 256, 16)),
)
"""Where networks get their subnets from if nobody says: docker's order."""


def free(taken: Iterable[Subnet], pools: Iterable[str] = POOLS) -> Subnet | None:
    """Return the first pool that overlaps with nothing that is taken; None if there is none left."""
    busy = list(taken)
    for text in pools:
        candidate = Subnet.parse(text)
        if not any(candidate.overlaps(other) for other in busy):
            return candidate
    return None


def private6(seed: bytes, number: int) -> Subnet:
    """Return an IPv6 /64 of one's own: `seed` gives the 40 bits that RFC 4193 wants to be random."""
    return Subnet.from_packed(b"\xfd" + seed[:5] + number.to_bytes(2, "big") + bytes(8), 64)
