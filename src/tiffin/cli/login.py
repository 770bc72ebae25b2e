"""login and logout: credentials for registries, kept where docker keeps them."""

from __future__ import annotations

import os
import sys

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument, Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_HUB = "docker.io"
_HUB_SHOWN = "https://index.docker.io/v1/"


def login(parsed: Parsed, session: Session) -> int:
    """Ask for what was not given, check it with the registry, keep it."""
    server = _server(parsed)
    user = parsed.text("username")
    password = _password(parsed, user)
    if not user or not password:
        if not os.isatty(0):
            raise InvalidArgument(
                "Cannot perform an interactive login from a non TTY device",
                hint="give -u NAME and --password-stdin",
            )
        user, password = _ask(user, password)
    kept = session.engine.system.login(server, user, password)
    if kept:
        sys.stderr.write(
            f"\nWARNING! Your credentials are stored unencrypted in '{kept}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n\n"
        )
    sys.stdout.write("Login Succeeded\n")
    return 0


def logout(parsed: Parsed, session: Session) -> int:
    """Forget what login kept."""
    server = _server(parsed)
    shown = _HUB_SHOWN if server == _HUB else server
    if session.engine.system.logout(server):
        sys.stdout.write(f"Removing login credentials for {shown}\n")
    else:
        sys.stdout.write(f"Not logged in to {shown}\n")
    return 0


def _server(parsed: Parsed) -> str:
    """Return the registry's host, as it stands in image names."""
    from tiffin.registry import address

    return address.domain_of(parsed.arguments[0] if parsed.arguments else "")


def _password(parsed: Parsed, user: str) -> str:
    if parsed.flag("password-stdin"):
        if parsed.given("password"):
            raise InvalidArgument("--password and --password-stdin are mutually exclusive")
        if not user:
            raise InvalidArgument("Must provide --username with --password-stdin")
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if parsed.given("password"):
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    return parsed.text("password")


def _ask(user: str, password: str) -> tuple[str, str]:
    import getpass

    if not user:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        user = sys.stdin.readline().strip()
    if not user:
        raise Unauthorized("username is required")
    password = password or getpass.getpass("Password: ")
    if not password:
        raise Unauthorized("password is required")
    return user, password


LOGIN = Command(
    spellings=("login",),
    usage="[OPTIONS] [SERVER]",
    short="Authenticate to a registry",
    long="Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    maximum=1,
    flags=(
        ("password", "p", "string", "Password or Personal Access Token (PAT)", "", DONE),
        (
            "password-stdin",
            "",
            "bool",
            "Take the Password or Personal Access Token (PAT) from stdin",
            "",
            DONE,
        ),
        ("username", "u", "string", "Username", "", DONE),
    ),
    handler=login,
)
LOGOUT = Command(
    spellings=("logout",),
    usage="[SERVER]",
    short="Log out from a registry",
    long="Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    maximum=1,
    handler=logout,
)
