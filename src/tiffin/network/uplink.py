"""The way out of an ordinary user's container: slirp4netns, a program that speaks TCP and UDP in its place.

It needs no rights on the host. It ends when a pipe to it is closed: with its keeper, however that ends.
"""

from __future__ import annotations

import _socket
import os

from tiffin.errors import Unavailable
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.network.ports import Fact

MODE = "slirp4netns"
"""The kind of network, as `--network` names it."""

ADDRESS, BITS, GATEWAY, NAMES = "10.0.2.100", 24, "10.0.2.2", "10.0.2.3"
"""The container's address, and who answers for the host and for its name servers."""

_PLACES = ("/usr/bin", "/usr/local/bin", "/bin")
_TUN = "/dev/net/tun"
_MTU = 65520
_READY, _ALIVE = 3, 4
_ANSWER = 4096


def find() -> str:
    """Return the program, "" if it is not installed."""
    return next((p for p in (f"{place}/{MODE}" for place in _PLACES) if os.access(p, os.X_OK)), "")


def lacking() -> tuple[str, str]:
    """Return what is not there for it and what would change that, ("", "") if nothing."""
    if not find():
        return "slirp4netns is not installed", "apt-get install slirp4netns"
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return f"this user may not open {_TUN}", f"sudo modprobe tun; sudo chmod 666 {_TUN}"
    return "", ""


def start(namespace: int, control: str) -> int:
    """Connect a network namespace with the outside; return the descriptor that, closed, ends it.

    It takes orders at the socket `control`. Raises Unavailable with the program's own words.
    """
    ready, saying_ready = os.pipe2(os.O_CLOEXEC)
    alive, holding = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("errors")
    command = [
        *(find(), "--configure", f"--mtu={_MTU}", "--disable-host-loopback", f"--api-socket={control}"),
        *(f"--ready-fd={_READY}", f"--exit-fd={_ALIVE}", "--netns-type=path"),
        *(f"/proc/{os.getpid()}/fd/{namespace}", "tap0"),
    ]
    # Higher than both numbers first, so that neither is overwritten before it is copied.
    copies = [_high(descriptor) for descriptor in (saying_ready, alive)]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    wanted = ((null, 0), (null, 1), (errors, 2), (copies[0], _READY), (copies[1], _ALIVE))
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for file, number in wanted]
    try:
        os.posix_spawn(command[0], command, {"PATH": os.defpath}, file_actions=actions)
        for descriptor in (saying_ready, copies[0]):
            os.close(descriptor)
        if not os.read(ready, 1):
            said = os.pread(errors, _ANSWER, 0).decode(errors="replace").strip().rpartition("\n")[2]
            os.close(holding)
            raise Unavailable(f"slirp4netns: {said or 'it ended at once'}", hint="tiffin doctor")
    finally:
        for descriptor in (ready, alive, copies[1], null, errors):
            os.close(descriptor)
    return holding


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


def _ask(control: str, order: str, arguments: dict[str, object]) -> dict[str, dict[str, int]]:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
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
