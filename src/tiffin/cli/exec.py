"""exec: one more process in a running container."""

from __future__ import annotations

from tiffin.cli import keyvalues
from tiffin.cli.command import DONE, Command
from tiffin.spec import detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def execute(parsed: Parsed, session: Session) -> int:
    """Run the command and return its exit code; with -d, 0 at once."""
    from tiffin.engine.exec import ExecRequest

    name, *argv = parsed.arguments
    detached, tty = parsed.flag("detach"), parsed.flag("tty")
    stdin = parsed.flag("interactive") and not detached
    if stdin and tty:
        from tiffin.cli import terminal

        terminal.check_stdin(interactive=True, tty=True)
    env = keyvalues.environment(parsed, session.settings.environment)
    request = ExecRequest(
        argv=tuple(argv),
        env=tuple(entry for entry in env if "=" in entry),
        user=parsed.text("user"),
        working_dir=parsed.text("workdir"),
        tty=tty,
        stdin=stdin,
        detach=detached,
        privileged=parsed.flag("privileged"),
        size=_size() if tty else (0, 0),
    )
    containers = session.engine.containers
    if detached:
        containers.exec(name, request).close()
        return 0
    from tiffin.cli import terminal

    code = terminal.converse(
        lambda: containers.exec(name, request),
        stdin=stdin,
        tty=tty,
        keys=detach.keys_of(parsed.text("detach-keys")),
        proxy=False,
    )
    return max(code, 0)


def _size() -> tuple[int, int]:
    from tiffin.cli import terminal

    return terminal.size()


EXEC = Command(
    spellings=("container exec", "exec"),
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    short="Execute a command in a running container",
    minimum=2,
    interspersed=False,
    flags=(
        ("detach", "d", "bool", "Detached mode: run command in the background", "", DONE),
        ("detach-keys", "", "string", "Override the key sequence for detaching a container", "", DONE),
        ("env", "e", "list", "Set environment variables", "", DONE),
        ("env-file", "", "list", "Read in a file of environment variables", "", DONE),
        ("interactive", "i", "bool", "Keep STDIN open even if not attached", "", DONE),
        ("privileged", "", "bool", "Give extended privileges to the command", "", DONE),
        ("tty", "t", "bool", "Allocate a pseudo-TTY", "", DONE),
        ("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")', "", DONE),
        ("workdir", "w", "string", "Working directory inside the container", "", DONE),
    ),
    handler=execute,
)
