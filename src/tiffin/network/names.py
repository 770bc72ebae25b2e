"""DNS, as much as a resolver of container names needs: questions read, answers written (RFC 1035, 3596).

What comes from a container is hostile: every length is checked, a question has no pointers, and whatever is
not one plain question is not understood. No I/O here.
"""

from __future__ import annotations

import struct

from tiffin.errors import Corrupt
from tiffin.network.subnet import pack, unpack
from tiffin.spec.value import Value

A, PTR, AAAA, ANY = 1, 12, 28, 255
_IN = 1
_HEADER = struct.Struct(">HHHHHH")
_QUERY_BITS = 0x0100  # recursion desired
_ANSWER_BITS = 0x8080  # a response, recursion available
_AUTHORITY = 0x0400
_TRUNCATED = 0x0200
_OPCODE = 0x7800
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
SECONDS = 600
"""How long an answer may be remembered (docker's number); a container's own cache is the only one."""
UDP_LIMIT = 512
_LABEL, _NAME = 63, 255
_POINTER, _ALIAS = 0xC0, 5
_EXTENSION = b"\0\0\x29\x04\xd0" + bytes(6)
"""Says that 1,232 bytes may come by UDP (EDNS)."""
_REVERSE4, _REVERSE6 = ".in-addr.arpa", ".ip6.arpa"


class Question(Value):
    """One question: its number, the name in lower case without the last dot, type, and its own bytes."""

    number: int
    bits: int
    name: str
    kind: int
    raw: bytes
    limit: int = UDP_LIMIT  # bytes of an answer that may come by UDP


def question(packet: bytes) -> Question:
    """Read a packet that must hold one question; raise Corrupt for everything else."""
    if len(packet) < _HEADER.size:
        raise Corrupt("dns: a packet without a header")
    number, bits, questions, answers, authorities, more = _HEADER.unpack_from(packet)
    if bits & 0x8000 or questions != 1 or answers or authorities:
        raise Corrupt("dns: not one question")
    name, end = _name(packet, _HEADER.size)
    if end + 4 > len(packet):
        raise Corrupt("dns: a question that is cut off")
    kind, kind_class = struct.unpack_from(">HH", packet, end)
    if kind_class not in {_IN, ANY}:
        raise Corrupt("dns: not the internet's class")
    limit = _extended(packet, end + 4) if more else UDP_LIMIT
    return Question(
        number=number, bits=bits, name=name, kind=kind, raw=packet[_HEADER.size : end + 4], limit=limit
    )


def _name(packet: bytes, position: int) -> tuple[str, int]:
    """Return a name and where it ends; a pointer is refused, as a first name can only point at itself."""
    labels: list[str] = []
    total = 0
    while True:
        if position >= len(packet):
            raise Corrupt("dns: a name that is cut off")
        length = packet[position]
        position += 1
        if not length:
            return ".".join(labels).lower(), position
        total += length + 1
        if length > _LABEL or total > _NAME or position + length > len(packet):
            raise Corrupt("dns: a name that is none")
        labels.append(packet[position : position + length].decode("latin-1"))
        position += length


def _extended(packet: bytes, position: int) -> int:
    """Return how much a client takes by UDP, if it says so (EDNS)."""
    if packet[position : position + 3] == b"\0\0\x29" and position + 5 <= len(packet):
        return max(UDP_LIMIT, min(4096, int.from_bytes(packet[position + 3 : position + 5], "big")))
    return UDP_LIMIT


def number_of(packet: bytes) -> int:
    """Return the number of a packet, 0 if it has none."""
    return int.from_bytes(packet[:2], "big")


def failure(asked: Question, code: int) -> bytes:
    """Return an answer that says why there is none."""
    bits = _ANSWER_BITS | asked.bits & (_OPCODE | _QUERY_BITS) | code
    return _HEADER.pack(asked.number, bits, 1, 0, 0, 0) + asked.raw


def malformed(packet: bytes) -> bytes:
    """Return the answer to what is no question, "" where not even a number is there."""
    if len(packet) < _HEADER.size or packet[2] & 0x80:
        return b""  # an answer to an answer would never end
    return _HEADER.pack(number_of(packet), _ANSWER_BITS | FORMAT_ERROR, 0, 0, 0, 0)


def answer(asked: Question, values: list[str]) -> bytes:
    """Return the answer with addresses, or names of a reverse one; none says "nothing of this kind"."""
    records = b"".join(_record(asked.kind, value) for value in values)
    bits = _ANSWER_BITS | _AUTHORITY | asked.bits & _QUERY_BITS
    return _HEADER.pack(asked.number, bits, 1, len(values), 0, 0) + asked.raw + records


def _record(kind: int, value: str) -> bytes:
    if kind == PTR:
        data = b"".join(bytes((len(label),)) + label.encode("latin-1") for label in value.split(".")) + b"\0"
    else:
        data = pack(value)
        kind = AAAA if len(data) == 16 else A
    return b"\xc0\x0c" + struct.pack(">HHIH", kind, _IN, SECONDS, len(data)) + data


def plain(asked: Question) -> bytes:
    """Return a question as we would ask it ourselves: nothing in it is the asker's but name and type."""
    name = b"".join(bytes((len(p),)) + p.encode("latin-1") for p in asked.name.split(".") if p)
    raw = name + b"\0" + struct.pack(">HH", asked.kind, _IN)
    more = _EXTENSION if asked.limit > UDP_LIMIT else b""
    return _HEADER.pack(asked.number, _QUERY_BITS, 1, 0, 0, bool(more)) + raw + more


def is_truncated(packet: bytes) -> bool:
    """Tell whether an answer says that it is not all."""
    return len(packet) >= _HEADER.size and bool(int.from_bytes(packet[2:4], "big") & _TRUNCATED)


def addresses(packet: bytes, asked: Question) -> list[tuple[str, int]]:
    """Return the (address, seconds) in an answer that belong to the name that was asked for.

    Records of other names do not count, unless an alias leads there. Raises Corrupt, struct.error.
    """
    count = _HEADER.unpack_from(packet)[3]
    position = _skip(packet, _HEADER.size)[1] + 4
    known, found = {asked.name}, []
    for _ in range(count):
        owner, position = _skip(packet, position)
        kind, kind_class, seconds, length = struct.unpack_from(">HHIH", packet, position)
        position += 10
        data = packet[position : position + length]
        if owner in known and kind_class == _IN:
            if kind == _ALIAS:
                known.add(_skip(packet, position)[0])
            elif (kind, len(data)) in {(A, 4), (AAAA, 16)}:
                found.append((unpack(data), seconds))
        position += length
    return found


def _skip(packet: bytes, position: int) -> tuple[str, int]:
    """Return the name at a place of an answer, where pointers lead backwards, and what follows it."""
    labels: list[str] = []
    end = 0
    limit = position
    for _ in range(_NAME):
        if position >= len(packet):
            break
        length = packet[position]
        if length >= _POINTER:
            target = int.from_bytes(packet[position : position + 2], "big") & 0x3FFF
            end = end or position + 2
            if target >= limit:
                break
            position = limit = target
            continue
        position += 1
        if not length:
            return ".".join(labels).lower(), end or position
        labels.append(packet[position : position + length].decode("latin-1"))
        position += length
    raise Corrupt("dns: a name that is none")


def fit(packet: bytes, asked: Question) -> bytes:
    """Return an answer as UDP can carry it: too long a one is cut, which tells the client to ask by TCP."""
    if len(packet) <= asked.limit:
        return packet
    bits = int.from_bytes(packet[2:4], "big") | _TRUNCATED
    return _HEADER.pack(asked.number, bits, 1, 0, 0, 0) + asked.raw


def reverse(name: str) -> str:
    """Return the address that a reverse question is about, "" if it is about none."""
    if name.endswith(_REVERSE4):
        parts = name.removesuffix(_REVERSE4).split(".")
        whole = len(parts) == 4 and all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts)
        return ".".join(reversed(parts)) if whole else ""
    if name.endswith(_REVERSE6):
        digits = name.removesuffix(_REVERSE6).split(".")
        if len(digits) == 32 and all(len(d) == 1 and d in "0123456789abcdef" for d in digits):
            return unpack(bytes.fromhex("".join(reversed(digits))))
    return ""


class Book:
    """The names of some networks: who has which addresses, and the other way round."""

    def __init__(self) -> None:
        """Know nobody."""
        self._addresses: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}
        self._turn = 0

    def add(self, network: str, names: list[str], addresses: list[str], links: dict[str, str]) -> None:
        """Enter one container on one network; `links` are other names of some, for this reader only."""
        ips = [text.partition("/")[0] for text in addresses]
        for name in dict.fromkeys(name.lower() for name in names):
            self._addresses.setdefault(name, []).extend(ips)
            self._addresses.setdefault(f"{name}.{network.lower()}", []).extend(ips)
        for alias, target in links.items():
            if target in names:
                self._addresses.setdefault(alias.lower(), []).extend(ips)
        for ip in ips:
            self._names.setdefault(ip, f"{names[0]}.{network}")

    def find(self, asked: Question) -> list[str] | None:
        """Return the values of an answer, each time another one first; None for a name of nobody's here."""
        ip = reverse(asked.name) if asked.kind in {PTR, ANY} else ""
        if ip:
            return [self._names[ip]] if ip in self._names else None
        ips = self._addresses.get(asked.name)
        if ips is None:
            return None
        kinds = {A: (False,), AAAA: (True,), ANY: (False, True)}.get(asked.kind, ())
        found = list(dict.fromkeys(ip for ip in ips if (":" in ip) in kinds))
        if len(found) > 1:
            self._turn += 1
            turn = self._turn % len(found)
            found = found[turn:] + found[:turn]
        return found
