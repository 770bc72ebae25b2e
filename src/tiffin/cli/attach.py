"""attach: the terminal of a running container."""

from __future__ import annotations

import sys

from tiffin.cli import terminal
from tiffin.cli.command import DONE, Command
from tiffin.spec import detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.keeper.client import Connection


def attach(parsed: Parsed, session: Session) -> int:
    """Stay with a container until it ends (its exit code) or the detach keys come (1, as docker)."""
    containers = session.engine.containers
    record = containers.get(parsed.arguments[0])
    tty = record.config.tty
    stdin = record.config.open_stdin and not parsed.flag("no-stdin")
    keys = detach.keys_of(parsed.text("detach-keys"))
    terminal.check_stdin(interactive=stdin, tty=tty)

    def connect() -> Connection:
        connection = containers.attach(record.id, stdin=stdin)
        rows, columns = terminal.size()
        if tty and rows:
            connection.resize(rows, columns)
        return connection

    code = terminal.converse(
        connect,
        stdin=stdin,
        tty=tty,
        keys=keys,
        proxy=parsed.flag("sig-proxy"),
    )
    if code < 0:
        sys.stderr.write("read escape sequence\n")
        return 1
    return code


ATTACH = Command(
    spellings=("container attach", "attach"),
    usage="[OPTIONS] CONTAINER",
    short="Attach local standard input, output, and error streams to a running container",
    minimum=1,
    maximum=1,
    flags=(
        ("detach-keys", "", "string", "Override the key sequence for detaching a container", "", DONE),
        ("no-stdin", "", "bool", "Do not attach STDIN", "", DONE),
        ("sig-proxy", "", "bool", "Proxy all received signals to the process", "true", DONE),
    ),
    handler=attach,
)
