"""Netlink: messages to the kernel's network stack and back, with nothing in between.

Three processes of `ip` cost 7 ms where these messages take 2; a library that speaks netlink takes 220 ms to
import. Numbers are those of the kernel's uapi headers (linux/rtnetlink.h, if_link.h, if_addr.h).
"""

from __future__ import annotations

import _socket
import os
import struct

from tiffin.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    Message = tuple[int, int, bytes]
    """Type, flags beyond REQUEST, and body of a message."""

ROUTE, NETFILTER = 0, 12
"""Families of sockets."""

CREATE, EXCLUSIVE, REPLACE, APPEND = 0x400, 0x200, 0x100, 0x800
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_CODE = struct.Struct("=i")
_BUFFER = 1 << 15
"""Bytes of one answer; the kernel makes none longer."""


def attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a string as C has it."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Return an attribute with 32 bits in the machine's order."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in some bytes by kind, flags taken off; raise Corrupt for lengths that lie."""
    found = {}
    position = 0
    while position + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < 4 or position + length > len(data):
            message = "netlink: an attribute is longer than what holds it"
            raise Corrupt(message)
        found[kind & 0x3FFF] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found


def sequence(data: bytes) -> Iterator[bytes]:
    """Yield what attributes hold whose kinds say nothing: the elements of a list."""
    position = 0
    while position + 4 <= len(data):
        length = max(4, _ATTRIBUTE.unpack_from(data, position)[0])
        yield data[position + 4 : position + length]
        position += (length + 3) & ~3


class Netlink:
    """One socket to the kernel, in the network namespace in which it was made. A context manager."""

    def __init__(self, family: int = ROUTE) -> None:
        """Open it in the calling thread's network namespace."""
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
        self._sequence = 0

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def follow(self, group: int) -> int:
        """Hear of what happens in a group, for nothing else any more; return what to watch and `drain`."""
        self._socket.bind((0, 1 << group - 1))
        self._socket.setblocking(False)  # noqa: FBT003 - the C module takes it by position only
        return self._socket.fileno()

    def drain(self) -> None:
        """Throw away what has been heard."""
        while True:
            try:
                self._socket.recv(_BUFFER)
            except BlockingIOError:
                return
            except OSError:  # more than it can hold
                continue

    def call(self, what: str, *messages: Message) -> None:
        """Send messages in one go and wait for every answer; raise the first OSError, naming `what`."""
        first = self._sequence + 1
        self._send([(kind, flags | _ACK, body) for kind, flags, body in messages])
        waiting = set(range(first, self._sequence + 1))
        failure = 0
        while waiting:
            for kind, sequence, body in self._receive():
                if kind == _ERROR and sequence in waiting:
                    waiting.discard(sequence)
                    failure = failure or -_CODE.unpack_from(body)[0]
        if failure:
            raise OSError(failure, os.strerror(failure), what)

    def batch(self, what: str, begin: Message, end: Message, messages: Sequence[Message]) -> None:
        """Do messages together or not at all, between two that are not answered (nfnetlink's way)."""
        first = self._sequence + 2
        acknowledged = [(kind, flags | _ACK, body) for kind, flags, body in messages]
        self._send([begin, *acknowledged, end])
        waiting = set(range(first, first + len(messages)))
        failure = 0
        while waiting:
            for kind, sequence, body in self._receive():
                if kind != _ERROR:
                    continue
                code = -_CODE.unpack_from(body)[0]
                failure = failure or code
                waiting.discard(sequence)
                if code and sequence not in range(first, first + len(messages)):
                    waiting.clear()  # the batch itself was refused
        if failure:
            raise OSError(failure, os.strerror(failure), what)

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Yield the bodies of all that the kernel lists for a request."""
        self._send([(kind, _DUMP, body)])
        while True:
            for answer, sequence, data in self._receive():
                if sequence != self._sequence:
                    continue
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    failure = -_CODE.unpack_from(data)[0]
                    raise OSError(failure, os.strerror(failure), "netlink")
                yield data

    def get(self, kind: int, body: bytes) -> bytes | None:
        """Return what the kernel knows of one thing, None if there is none."""
        self._send([(kind, 0, body)])
        while True:
            for answer, sequence, data in self._receive():
                if sequence == self._sequence:
                    return None if answer == _ERROR else data

    def _send(self, messages: Sequence[Message]) -> None:
        parts = []
        for kind, flags, body in messages:
            self._sequence += 1
            length = _HEADER.size + len(body)
            parts.append(_HEADER.pack(length, kind, flags | _REQUEST, self._sequence, 0) + body)
        self._socket.sendall(b"".join(parts))

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(_BUFFER)
        position = 0
        while position + _HEADER.size <= len(data):
            length, kind, _flags, sequence, _port = _HEADER.unpack_from(data, position)
            if length < _HEADER.size or position + length > len(data):
                message = "netlink: a message is longer than what came"
                raise Corrupt(message)
            yield kind, sequence, data[position + _HEADER.size : position + length]
            position += (length + 3) & ~3
