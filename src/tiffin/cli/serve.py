"""serve: the Docker Engine API on a socket."""

from __future__ import annotations

import os
import sys

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_WELL = frozenset({"localhost", "127.0.0.1", "::1"})
_MODE = 0o660
_CONNECTIONS = 1024


def serve(parsed: Parsed, session: Session) -> int:
    """Serve until SIGINT or SIGTERM; containers live on."""
    path = f"{session.settings.run}/docker.sock"
    host = parsed.text("host") or f"unix://{path}"
    if parsed.flag("print-env"):
        sys.stdout.write(f"export DOCKER_HOST={host}\n")
        return 0
    import signal
    import threading

    from tiffin.api.server import Api
    from tiffin.cli.registry import log
    from tiffin.engine.engine import Engine
    from tiffin.http.limits import Limits
    from tiffin.http.server import Server

    threading.stack_size(256 << 10)
    listener = _listener(host, parsed.text("group"))
    with Engine(session.settings) as engine:
        server = Server(
            [listener],
            Api(engine),
            limits=Limits(connections=_CONNECTIONS),
            log=log if parsed.text("log-level") in {"debug", "info"} else None,
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        sys.stdout.write(
            f"API listen on {host.removeprefix('unix://')}\n"
            f"export DOCKER_HOST={host}  (docker build needs DOCKER_BUILDKIT=0)\n"
        )
        sys.stdout.flush()
        server.serve()
    if host.startswith("unix://"):
        os.unlink(host.removeprefix("unix://"))
    return 0


def _listener(host: str, group: str) -> socket.socket:
    from tiffin.http.server import listen, listen_unix

    kind, separator, where = host.partition("://")
    if kind == "unix" and where:
        return listen_unix(os.path.abspath(where), mode=_MODE, group=_group(group))
    if kind == "tcp" and separator:
        address, _, port = where.rstrip("/").rpartition(":")
        if address.strip("[]") in _WELL and port.isascii() and port.isdigit():
            return listen(address.strip("[]"), int(port))
        message = f"{host}: whoever reaches it would be root here"
        raise InvalidArgument(message, hint="tcp is for loopback only")
    raise InvalidArgument(f"-H {host}: not unix://PATH or tcp://HOST:PORT")


def _group(name: str) -> int:
    import grp

    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise InvalidArgument(f"--group {name}: there is no such group") from error


SERVE = Command(
    spellings=("serve",),
    usage="[OPTIONS]",
    short="Answer the Docker Engine API on a socket",
    long="Answer the Docker Engine API on a socket until interrupted.\n"
    "It holds no state: it may end at any moment, and containers live on.",
    maximum=0,
    flags=(
        ("group", "", "string", "Group that may use the unix socket", "", DONE),
        ("host", "H", "string", "Where to listen (default unix://RUN/docker.sock)", "", DONE),
        ("log-level", "l", "string", "debug and info log every request", "warn", DONE),
        ("print-env", "", "bool", "Only print the line that docker's clients need", "", DONE),
    ),
    handler=serve,
)
