"""registry serve: the registry in the box."""

from __future__ import annotations

import os
import sys

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.http.connection import Served
    from tiffin.settings import Settings

_WELL = frozenset({"localhost", "127.0.0.1", "::1"})


def serve(parsed: Parsed, session: Session) -> int:
    """Serve until SIGINT or SIGTERM; the address goes to standard output, requests to standard error."""
    import signal

    from tiffin.box.htpasswd import Htpasswd
    from tiffin.box.registry import Registry
    from tiffin.http.server import Server, listen, tls_context

    host, port = _address(parsed.text("addr"))
    certificate, key = parsed.text("tls-cert"), parsed.text("tls-key")
    if bool(certificate) != bool(key):
        raise InvalidArgument("--tls-cert and --tls-key go together")
    tls = tls_context(certificate, key) if certificate else None
    users = Htpasswd(parsed.text("htpasswd")) if parsed.text("htpasswd") else None
    registry = Registry(_settings(parsed, session), users=users)
    listener = listen(host, port)
    server = Server([listener], registry, tls=tls, log=log)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    shown = f"[{host}]" if ":" in host else host or "0.0.0.0"  # noqa: S104 - only shown
    port = listener.getsockname()[1]
    if users is not None and tls is None and host not in _WELL:
        sys.stderr.write(
            "WARNING: passwords go over the network in the clear without --tls-cert and --tls-key\n"
        )
    sys.stdout.write(f"listening on {'https' if tls else 'http'}://{shown}:{port}\n")
    sys.stdout.flush()
    server.serve()
    registry.close()
    return 0


def _settings(parsed: Parsed, session: Session) -> Settings:
    from tiffin.store.layout import Layout

    settings = session.settings
    root = parsed.text("root") or Layout(root=settings.root, run=settings.run).box
    return settings.replace(root=os.path.abspath(root))


def _address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, [IPV6]:PORT or :PORT (everywhere)."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise InvalidArgument(f"--addr must be HOST:PORT, not {text!r}", hint="for example 127.0.0.1:5000")
    return host, int(port)


def log(served: Served) -> None:
    """Write a line about a request. Targets are quoted: they are whatever somebody sent."""
    trouble = f" {type(served.trouble).__name__}: {served.trouble}" if served.trouble else ""
    sys.stderr.write(
        f'{served.peer} "{served.method} {ascii(served.target)[1:-1]}" '
        f"{served.status} {served.sent} {served.seconds * 1000:.1f}ms{trouble}\n"
    )
    sys.stderr.flush()


SERVE = Command(
    spellings=("registry serve",),
    usage="[OPTIONS]",
    short="Serve a registry (the OCI distribution API)",
    long="Serve a registry (the OCI distribution API) until interrupted.\n"
    "What is pushed is kept below DIR, a store of its own.",
    maximum=0,
    flags=(
        ("addr", "", "string", "Address to listen on; port 0 takes a free one", "127.0.0.1:5000", DONE),
        ("htpasswd", "", "string", "Let in only users of this file (bcrypt)", "", DONE),
        ("root", "", "string", 'Where to keep it (default "ROOT/box")', "", DONE),
        ("tls-cert", "", "string", "Serve HTTPS with this certificate chain (PEM)", "", DONE),
        ("tls-key", "", "string", "The certificate's private key (PEM)", "", DONE),
    ),
    handler=serve,
)
