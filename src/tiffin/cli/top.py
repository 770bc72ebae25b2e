"""`tiffin` itself: the flags before the command, groups, unknown commands, and the page of all commands."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.cli.parser import HelpAsked, UsageError
from tiffin.cli.parser import parse as parse_flags
from tiffin.cli.session import Session
from tiffin.spec.value import Value

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


class Group(Value):
    """A noun that holds commands: its place in the list of `tiffin --help`, and one line about it."""

    name: str
    short: str
    section: str = "Management Commands"


GROUPS = (
    Group(name="builder", short="Manage builds"),
    Group(name="checkpoint", short="Manage checkpoints"),
    Group(name="container", short="Manage containers"),
    Group(name="context", short="Manage contexts"),
    Group(name="image", short="Manage images"),
    Group(name="manifest", short="Manage Docker image manifests and manifest lists"),
    Group(name="network", short="Manage networks"),
    Group(name="plugin", short="Manage plugins"),
    Group(name="system", short="Manage Docker"),
    Group(name="trust", short="Manage trust on Docker images"),
    Group(name="trust key", short="Manage keys for signing Docker images"),
    Group(name="trust signer", short="Manage entities who can sign Docker images"),
    Group(name="volume", short="Manage volumes"),
    Group(name="config", short="Manage Swarm configs", section="Swarm Commands"),
    Group(name="node", short="Manage Swarm nodes", section="Swarm Commands"),
    Group(name="secret", short="Manage Swarm secrets", section="Swarm Commands"),
    Group(name="service", short="Manage Swarm services", section="Swarm Commands"),
    Group(name="stack", short="Manage Swarm stacks", section="Swarm Commands"),
    Group(name="swarm", short="Manage Swarm", section="Swarm Commands"),
)


def read(words: Sequence[str], keeper: _socket.socket | None) -> tuple[int, Session]:
    """Read the global flags; return the command's position (-1: all is done) and the session."""
    try:
        parsed = parse_flags(TIFFIN, "", words)
    except HelpAsked:
        sys.stdout.write(_page())
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
        keeper=keeper,
    )
    if parsed.flag("version"):
        import tiffin

        sys.stdout.write(f"Tiffin version {tiffin.__version__}\n")
        return -1, session
    return len(words) - len(parsed.arguments), session


def group(words: Sequence[str]) -> int:
    """Answer words that are no command: a group's list, `help`, or what may have been meant."""
    from tiffin.cli import help as helping

    asked = [word for word in words if word != "--help"]
    if asked[:1] == ["help"]:
        return _help(asked[1:])
    if not asked:
        sys.stdout.write(_page())
        return 0
    for length in (2, 1):
        found = next((g for g in GROUPS if g.name == " ".join(asked[:length])), None)
        if found and len(asked) == length:
            stream = sys.stdout if "--help" in words else sys.stderr
            stream.write(helping.group_page(found))
            return 0
        if found:
            return _unknown(asked[: length + 1], found)
    return _unknown(asked[:1], None)


def _help(words: Sequence[str]) -> int:
    from tiffin.cli.entry import run

    if not words:
        sys.stdout.write(_page())
        return 0
    return run([*words, "--help"])


def _unknown(words: Sequence[str], inside: Group | None) -> int:
    from tiffin.cli import suggest

    said = " ".join(words)
    where = f"tiffin {inside.name}" if inside else "tiffin"
    sys.stderr.write(f"tiffin: unknown command: tiffin {said}\n\n")
    near = suggest.commands(said)
    if near:
        sys.stderr.write("Did you mean: " + ", ".join(f"tiffin {name}" for name in near) + "?\n")
    if inside:
        sys.stderr.write(f"Usage:  {where}\n\n")
    sys.stderr.write(f"Run '{where} --help' for more information\n")
    return 1


def _page() -> str:
    from tiffin.cli import help as helping

    return helping.front_page()
