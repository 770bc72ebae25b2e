"""The flags that stand before the command."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.cli.parser import HelpAsked, UsageError
from tiffin.cli.parser import parse as parse_flags
from tiffin.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

NO_DAEMON = "refused: tiffin has no daemon to talk to; --root chooses the store"
TIFFIN = Command(
    spellings=("",),
    usage="[OPTIONS] COMMAND",
    short="A container engine without a daemon",
    interspersed=False,
    flags=(
        ("config", "", "string", "Location of client config files", "~/.docker", DONE),
        ("context", "c", "string", "Name of the context to use to connect to the daemon", "", NO_DAEMON),
        ("debug", "D", "bool", "Enable debug mode", "", DONE),
        ("host", "H", "list", "Daemon socket to connect to", "", NO_DAEMON),
        (
            "log-level",
            "l",
            "string",
            'Set the logging level ("debug", "info", "warn", "error", "fatal")',
            "info",
            "refused: there is no log; --debug shows tracebacks",
        ),
        ("offline", "", "bool", "Touch no network: use what is here, or say what is missing", "", DONE),
        ("root", "", "string", "Folder of images and containers", "", DONE),
        ("run", "", "string", "Folder of what runs", "", DONE),
        ("tls", "", "bool", "Use TLS; implied by --tlsverify", "", NO_DAEMON),
        ("tlscacert", "", "string", "Trust certs signed only by this CA", "~/.docker/ca.pem", NO_DAEMON),
        ("tlscert", "", "string", "Path to TLS certificate file", "~/.docker/cert.pem", NO_DAEMON),
        ("tlskey", "", "string", "Path to TLS key file", "~/.docker/key.pem", NO_DAEMON),
        ("tlsverify", "", "bool", "Use TLS and verify the remote", "", NO_DAEMON),
        ("version", "v", "bool", "Print version information and quit", "", DONE),
    ),
)


def read(words: Sequence[str], keeper: _socket.socket | None) -> tuple[int, Session]:
    """Read the global flags; return the command's position (-1: all is done) and the session."""
    try:
        parsed = parse_flags(TIFFIN, "", words)
    except HelpAsked:
        from tiffin.cli import help as helping

        sys.stdout.write(helping.front_page())
        return -1, Session(keeper=keeper)
    except UsageError as error:
        error.usage = "tiffin [OPTIONS] COMMAND [ARG...]"
        error.hint = "Run 'tiffin --help' for more information"
        raise
    session = Session(
        root=parsed.text("root"),
        run=parsed.text("run"),
        config=parsed.text("config") if parsed.given("config") else "",
        debug=parsed.flag("debug"),
        offline=parsed.flag("offline"),
        keeper=keeper,
    )
    if parsed.flag("version"):
        import tiffin

        sys.stdout.write(f"Tiffin version {tiffin.__version__}\n")
        return -1, session
    return len(words) - len(parsed.arguments), session
