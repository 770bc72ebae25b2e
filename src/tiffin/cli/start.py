"""start: start containers that exist."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument, NotModified, TiffinError
from tiffin.spec import detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_CHECKPOINTS = "refused: checkpoints are not built yet"


def start(parsed: Parsed, session: Session) -> int:
    """Start each and print its name; with -a or -i, one, and stay with it."""
    if parsed.flag("attach") or parsed.flag("interactive"):
        if len(parsed.arguments) > 1:
            raise InvalidArgument("you cannot start and attach multiple containers at once")
        return _attached(parsed, session, parsed.arguments[0])
    failed = []
    for name in parsed.arguments:
        try:
            session.engine.containers.start(name).close()
        except NotModified:
            pass  # it runs already: so it should
        except TiffinError as error:
            sys.stderr.write(f"tiffin: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
            failed.append(name)
            continue
        sys.stdout.write(f"{name}\n")
    if failed:
        sys.stdout.flush()
        sys.stderr.write(f"tiffin: failed to start containers: {', '.join(failed)}\n")
    return 1 if failed else 0


def _attached(parsed: Parsed, session: Session, name: str) -> int:
    from tiffin.cli import terminal

    containers = session.engine.containers
    record = containers.get(name)
    tty = record.config.tty
    stdin = parsed.flag("interactive") and record.config.open_stdin
    keys = detach.keys_of(parsed.text("detach-keys"))
    terminal.check_stdin(interactive=stdin, tty=tty)
    code = terminal.converse(
        lambda: containers.start(
            record.id, attach=True, stdin=stdin, size=terminal.size() if tty else (0, 0)
        ),
        stdin=stdin,
        tty=tty,
        keys=keys,
        ended=(lambda c: containers.forget(record.id, c)) if record.host.auto_remove else None,
    )
    return max(code, 0)


START = Command(
    spellings=("container start", "start"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Start one or more stopped containers",
    minimum=1,
    flags=(
        ("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals", "", DONE),
        ("checkpoint", "", "string", "Restore from this checkpoint", "", _CHECKPOINTS),
        ("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory", "", _CHECKPOINTS),
        ("detach-keys", "", "string", "Override the key sequence for detaching a container", "", DONE),
        ("interactive", "i", "bool", "Attach container's STDIN", "", DONE),
    ),
    handler=start,
)
