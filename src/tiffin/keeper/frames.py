"""The protocol between a keeper and whoever talks to it: frames, version 1.

A keeper listens on `<live>/keeper.sock` (AF_UNIX, SOCK_SEQPACKET); the process that started it has a
socket of the same kind, the *channel*. One packet is one frame:

    byte 0   version, 1
    byte 1   kind, an ASCII letter
    byte 2.. payload, at most 65,536 bytes

One connection serves one process: the container's own (after A, and the channel from the start) or one
that it asked for (after E). Numbers are big-endian. What a process writes is sent in the order in which
it was read, and X is the last frame about it. The end of a connection about the container's own process
says more: its mounts and the folder of the living have been given back. A container that is started again
by its policy is another process: the connection ends with the X about the first one.

Client to keeper:

    A  attach        1 byte of bits: 1 stdin, 2 stdout, 4 stderr. Answered by D, then output; X at the end.
    W  wait          Answered by X when the container's process has ended.
    E  exec          the last part of a JSON object {"process": an OCI process, "stdin": bool,
                     "stdout": bool, "stderr": bool, "rows": int, "columns": int, "id": text}. Answered by
                     S or F (N where nothing runs or it is paused), then output and X. With an id the
                     keeper tells of its end as an event; unknown members are ignored.
    P  part          a part of an exec's JSON that goes before E's; at most 4 MiB in all.
    I  input         bytes for stdin. Only as many as were granted and not yet used: 65,536 after
                     attach or exec, more by Q. So a program that does not read never blocks a K or R.
    C  close stdin   The process sees the end of its input after what was sent before (for an exec, or
                     if the container was made with "stdin once"; a terminal stays open).
    R  resize        rows and columns, 2 bytes each. No answer.
    K  kill          a signal's number, 1 byte. Answered by D or N.
    V  verb          b"pause", b"resume", b"stay" (not to be started again, whatever the policy says) or
                     b"policy NAME LIMIT" (the restart policy from now on) or b"update JSON" (OCI
                     `linux.resources`) or b"execs" (D brings a JSON list of their ids) or
                     b"network JSON" (see keeper.network). Answered by D or N; a keeper that is older than a
                     verb says N and closes.
    Y  acknowledge   on the channel, after X or F: "what an auto-remove leaves in the store, I clean up". The
                     keeper removes the folders that it was told to. No answer.

Keeper to client:

    S  started       JSON {"pid": int, "started_at": text}; for the channel and for exec.
    G  again         on the channel: nothing was done; a keeper that is started now could. The last frame.
    F  failed        exit code (1 byte: 125, 126 or 127) and a sentence: it did not start. The last frame.
    O  output        bytes of stdout (or of the terminal).
    E  errors        bytes of stderr.
    X  exited        exit code (1 byte; 128 + n after signal n), a byte of bits: 1 killed for want of memory.
    Q  quota         4 bytes: so many bytes of input were taken and may be sent again.
    D  done          to a request.
    N  not done      a sentence saying why.

A client that breaks a rule (a foreign version, an unknown kind, a short payload, input beyond its quota)
gets N and the connection is closed; the container does not notice. A client that stops reading
stops nothing: 64 MiB are kept for it. Beyond that the one who started the process holds its output back, as
the reader of a pipe does; another gets N behind what was kept, and is cut off.
"""

from __future__ import annotations

from tiffin.errors import Corrupt, TiffinError
from tiffin.spec.value import Value

VERSION = 1
SOCKET = "keeper.sock"

ATTACH, WAIT, EXEC, PART, INPUT, CLOSE_STDIN = "A", "W", "E", "P", "I", "C"
RESIZE, KILL, VERB, ACKNOWLEDGE = "R", "K", "V", "Y"
STARTED, FAILED, OUTPUT, ERRORS, EXITED, QUOTA, DONE, NOT_DONE = "S", "F", "O", "E", "X", "Q", "D", "N"
AGAIN = "G"

STDIN, STDOUT, STDERR = 1, 2, 4
"""Bits of ATTACH."""

OUT_OF_MEMORY = 1
"""Bit of EXITED."""

PAYLOAD_LIMIT = 65536
PACKET_LIMIT = PAYLOAD_LIMIT + 2
INPUT_QUOTA = 65536
EXEC_LIMIT = 4 << 20


class Elsewhere(TiffinError):
    """This keeper is in another user namespace than what it needs: a fresh one would not be (AGAIN)."""


class Frame(Value):
    """One frame: a kind (see the module's text) and its payload."""

    kind: str
    data: bytes = b""

    @property
    def exit_code(self) -> int:
        """The exit code in EXITED or FAILED."""
        return self.data[0]

    @property
    def out_of_memory(self) -> bool:
        """Whether EXITED says that the kernel killed for want of memory."""
        return bool(self.data[1] & OUT_OF_MEMORY)

    @property
    def text(self) -> str:
        """The sentence in FAILED or NOT_DONE, the JSON in STARTED."""
        return (self.data[1:] if self.kind == FAILED else self.data).decode(errors="replace")


_HEAD = {kind: bytes((VERSION, ord(kind))) for kind in "AWEPICRKVYSFOXQDNG"}


def pack(kind: str, data: bytes = b"") -> bytes:
    """Return the packet of a frame."""
    return _HEAD[kind] + data


def unpack(packet: bytes) -> Frame:
    """Return the frame of a packet; raise Corrupt for a foreign version or no frame at all."""
    if len(packet) < 2:
        message = "keeper: a packet without a frame"
        raise Corrupt(message)
    if packet[0] != VERSION:
        message = f"keeper: protocol version {packet[0]} is not spoken here ({VERSION} is)"
        raise Corrupt(message)
    return Frame(kind=chr(packet[1]), data=packet[2:])


def exactly(data: bytes, length: int, what: str) -> None:
    """Raise Corrupt for a payload of another length."""
    if len(data) != length:
        message = f"keeper: {what} is {length} bytes long, not {len(data)}"
        raise Corrupt(message)
