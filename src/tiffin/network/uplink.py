"""The way out of an ordinary user's own host: slirp4netns, which speaks TCP and UDP in its place.

It needs no rights on the real host. It ends when nobody holds the other end of a pipe to it any more.
"""

from __future__ import annotations

import _socket
import os

from tiffin.errors import Unavailable
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.network.ports import Fact

_PROGRAM = "slirp4netns"
INTERFACE, ADDRESS, NAMES = "tap0", "10.0.2.100", "10.0.2.3"
"""The interface that it makes, and its address; who answers there for the real host's name servers."""

GUARD = f"""\
table ip tiffin_uplink {{
  chain arriving {{
    # Published ports come to this address, also those that are published on the real loopback only.
    type filter hook prerouting priority -300; policy accept;
    ip daddr {ADDRESS} iifname != "{INTERFACE}" drop
  }}
  chain leaving {{
    # To slirp4netns the other addresses of its network are the real host's loopback. Its own switch would
    # forbid answers, too, to who asks a published UDP port from there.
    type filter hook forward priority 0; policy accept;
    oifname != "{INTERFACE}" accept
    ip daddr != 10.0.2.0/24 accept
    ct state established accept
    ip daddr {NAMES} meta l4proto {{ tcp, udp }} th dport 53 accept
    drop
  }}
}}
"""
"""Rules for whom it serves, in place before it starts."""

MTU = 65520
"""What it carries in one piece; networks that lead to it are three times as fast with the same."""

_PLACES = ("/usr/bin", "/usr/local/bin", "/bin")
_TUN = "/dev/net/tun"
_READY, _ALIVE = 3, 4
_ANSWER = 4096
_PATIENCE_SECONDS = 5.0


def find() -> str:
    """Return the program, "" if it is not installed."""
    return next((p for p in (f"{place}/{_PROGRAM}" for place in _PLACES) if os.access(p, os.X_OK)), "")


def lacking() -> tuple[str, str]:
    """Return what is not there for it and what would change that, ("", "") if nothing."""
    if not find():
        return "slirp4netns is not installed", "apt-get install slirp4netns"
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return f"this user may not open {_TUN}", f"sudo modprobe tun; sudo chmod 666 {_TUN}"
    return "", ""


def start(namespace: int, holding: int, control: str) -> int:
    """Connect a network namespace with the outside; return the process, which ends with the pipe `holding`.

    It takes orders at the socket `control`. Raises Unavailable with the program's own words.
    """
    ready, saying_ready = os.pipe2(os.O_CLOEXEC)
    alive = os.open(f"/proc/self/fd/{holding}", os.O_RDONLY | os.O_CLOEXEC)
    errors = os.memfd_create("errors")
    command = [
        *(find(), "--configure", f"--mtu={MTU}", f"--api-socket={control}"),
        *(f"--ready-fd={_READY}", f"--exit-fd={_ALIVE}", "--netns-type=path"),
        *(f"/proc/{os.getpid()}/fd/{namespace}", INTERFACE),
    ]
    # Higher than both numbers first, so that neither is overwritten before it is copied.
    copies = [_high(descriptor) for descriptor in (saying_ready, alive)]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    wanted = ((null, 0), (null, 1), (errors, 2), (copies[0], _READY), (copies[1], _ALIVE))
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for file, number in wanted]
    try:
        try:
            process = os.posix_spawn(command[0], command, {"PATH": os.defpath}, file_actions=actions)
        finally:
            for descriptor in (saying_ready, copies[0]):
                os.close(descriptor)
        if not os.read(ready, 1):
            said = os.pread(errors, _ANSWER, 0).decode(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"slirp4netns: {said or 'it ended at once'}", hint="tiffin doctor")
    finally:
        for descriptor in (ready, alive, copies[1], null, errors):
            os.close(descriptor)
    return process


def _high(descriptor: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ALIVE + 1)


def forward(control: str, fact: Fact) -> int:
    """Lead a port of the host to the container; return the number to take it back by."""
    host, number, protocol, target, port = fact
    arguments = {"proto": protocol, "host_addr": host, "host_port": number, "guest_addr": target}
    answer = _ask(control, "add_hostfwd", {**arguments, "guest_port": port})
    return int(answer["return"]["id"])


def unforward(control: str, number: int) -> None:
    """Take a port of the host back."""
    _ask(control, "remove_hostfwd", {"id": number})


def forwards(control: str) -> list[tuple[int, str, int]]:
    """Return the ports that are led in: (number to take it back by, protocol, inner port)."""
    answer = _ask(control, "list_hostfwd", {})
    entries: Any = answer.get("return", answer)["entries"]  # 1.2 leaves out what its manual says
    return [(int(entry["id"]), str(entry["proto"]), int(entry["guest_port"])) for entry in entries]


def _ask(control: str, order: str, arguments: dict[str, object]) -> dict[str, Any]:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    sock.settimeout(_PATIENCE_SECONDS)  # a container's keeper waits: it must not hang with the program
    try:
        sock.connect(control)
        sock.sendall(jsontext.dumps_bytes({"execute": order, "arguments": arguments}))
        sock.shutdown(_socket.SHUT_WR)
        data = b""
        while piece := sock.recv(_ANSWER):
            data += piece
    finally:
        sock.close()
    answer = jsontext.load_object(data)
    if "error" in answer:
        raise Unavailable(f"slirp4netns: {answer['error'].get('desc', order)}")
    return answer
