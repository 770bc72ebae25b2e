"""A cgroup of the keeper's own, given by systemd: a scope, asked for by one message of D-Bus.

A scope is no part of the service or session that ran the command, so their end does not touch it, and
what is below it is ours to limit (`Delegate`), also for an ordinary user. No library: it is one call, on
the socket on which systemd serves nobody but root, or the user whose manager it is.
"""

from __future__ import annotations

import _socket
import os
import time

from tiffin.errors import Unavailable

_ROOT = "/sys/fs/cgroup"
_OWN = "keeper"
"""Below the scope: a cgroup that has children of its own may not have processes, too."""

_SLICE = "tiffin.slice"
_PATIENCE_SECONDS = 10.0
_STOP_MICROSECONDS = 15_000_000
"""How long systemd waits when it stops the scope: longer than the keeper gives its container (10 s)."""

_RETURN, _ERROR, _SIGNAL = 2, 3, 4
_MANAGER = "org.freedesktop.systemd1"


class Scope:
    """Asked for when made; `settle` waits until this process has been moved. One thread only."""

    def __init__(self, manager: str, owner: int) -> None:
        """Ask the systemd that listens on `manager`; `owner` is our uid as it is outside any namespace."""
        self.owner = owner
        self._name = f"tiffin-{os.getpid()}-{time.monotonic_ns():x}.scope"
        self._failure = ""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._socket.settimeout(_PATIENCE_SECONDS)
            self._socket.connect(manager)
            hello = b"\0AUTH EXTERNAL %s\r\nBEGIN\r\n" % str(owner).encode().hex().encode()
            self._socket.sendall(hello + _start_unit(self._name, os.getpid()))
        except OSError as error:
            self._failure = error.strerror or str(error)

    def settle(self) -> str:
        """Wait for the scope and go into its part for us; return its path below the cgroups' root.

        Raises Unavailable with what systemd said, or did not say.
        """
        try:
            if not self._failure:
                self._await()
        except OSError as error:
            self._failure = error.strerror or str(error)
        finally:
            self._socket.close()
        if self._failure:
            raise Unavailable(f"systemd gave no cgroup: {self._failure}")
        path = _current()
        if not path.endswith(f"/{self._name}"):
            raise Unavailable(f"systemd left this process in {path}")
        os.makedirs(f"{_ROOT}{path}/{_OWN}", 0o755, exist_ok=True)
        with open(f"{_ROOT}{path}/{_OWN}/cgroup.procs", "wb", buffering=0) as stream:
            stream.write(b"0")
        return path

    def _await(self) -> None:
        """Read until the job that starts the scope is said to be done, or refused."""
        buffer = b""
        while b"\r\n" not in buffer:
            buffer += self._receive()
        answer, _, buffer = buffer.partition(b"\r\n")
        if not answer.startswith(b"OK"):
            self._failure = "it does not know us"
            return
        while True:
            while len(buffer) < 16 or len(buffer) < _length(buffer):
                buffer += self._receive()
            message, buffer = buffer[: _length(buffer)], buffer[_length(buffer) :]
            kind = message[1]
            if kind == _ERROR:
                body = message[-_number(message, 4) :]
                self._failure = body[4 : 4 + _number(body, 0)].decode(errors="replace")
                return
            # The name is followed by how it ended.
            if kind == _SIGNAL and b"\0JobRemoved\0" in message and self._name.encode() in message:
                if b"\0done\0" not in message:
                    self._failure = "the scope did not start"
                return

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(0, "it closed the connection")
        return data


def _current() -> str:
    """Return where this process is in the unified tree."""
    with open("/proc/self/cgroup", "rb") as stream:
        for line in stream:
            if line.startswith(b"0::"):
                return line[3:].strip().decode()
    return "/"


def _number(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _length(data: bytes) -> int:
    """Return how long the message is that begins here: its fields are padded to eights."""
    return 16 + (_number(data, 12) + 7) // 8 * 8 + _number(data, 4)


# --- one message: D-Bus's specification, little-endian ------------------------------------------


class _Writer:
    """Marshals values, each where its alignment wants it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += b"\0" * (-len(self.data) % size)

    def integer(self, value: int, size: int = 4) -> None:
        self.align(size)
        self.data += value.to_bytes(size, "little")

    def text(self, value: str) -> None:
        self.integer(len(value))
        self.data += value.encode() + b"\0"

    def signature(self, value: str) -> None:
        self.data += bytes((len(value),)) + value.encode() + b"\0"

    def array(self, content: _Writer) -> None:
        """Append an array of structures; `content` was begun at a multiple of eight."""
        self.integer(len(content.data))
        self.align(8)
        self.data += content.data


def _start_unit(name: str, process: int) -> bytes:
    """Return the call of StartTransientUnit for a scope with one process."""
    properties = _Writer()
    for key, kind, value in (
        ("Description", "s", "A container's keeper (tiffin)"),
        ("Slice", "s", _SLICE),
        ("CollectMode", "s", "inactive-or-failed"),
        ("Delegate", "b", 1),
        ("TimeoutStopUSec", "t", _STOP_MICROSECONDS),
        ("PIDs", "au", process),
    ):
        properties.align(8)
        properties.text(key)
        properties.signature(kind)
        if isinstance(value, str):
            properties.text(value)
        elif kind == "au":
            properties.integer(4)  # the array's length in bytes
            properties.integer(value)
        else:
            properties.integer(value, 8 if kind == "t" else 4)
    body = _Writer()
    body.text(name)
    body.text("fail")  # where there is such a unit already
    body.array(properties)
    body.array(_Writer())  # no further units
    fields = _Writer()
    for code, kind, value in (
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", f"{_MANAGER}.Manager"),
        (3, "s", "StartTransientUnit"),
        (6, "s", _MANAGER),
        (8, "g", "ssa(sv)a(sa(sv))"),
    ):
        fields.align(8)
        fields.data.append(code)
        fields.signature(kind)
        if kind == "g":
            fields.signature(value)
        else:
            fields.text(value)
    head = _Writer()
    head.data += b"l\1\0\1"  # little-endian, a method call, version 1
    head.integer(len(body.data))
    head.integer(1)  # the serial number
    head.array(fields)
    head.align(8)
    return bytes(head.data + body.data)
