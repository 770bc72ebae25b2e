"""stop, restart, kill, wait and rename: a container's life after its start."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.cli.each import each
from tiffin.errors import NotModified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def stop(parsed: Parsed, session: Session) -> int:
    """Stop each, one after the other; one that does not run is fine."""
    containers = session.engine.containers

    def one(name: str) -> str:
        try:
            containers.stop(name, timeout=_timeout(parsed), signal=parsed.text("signal"))
        except NotModified:
            return name  # it does not run: so it should
        return name

    return each(parsed.arguments, one)


def restart(parsed: Parsed, session: Session) -> int:
    """Stop and start each."""
    containers = session.engine.containers

    def one(name: str) -> str:
        containers.restart(name, timeout=_timeout(parsed), signal=parsed.text("signal"))
        return name

    return each(parsed.arguments, one)


def kill(parsed: Parsed, session: Session) -> int:
    """Send each a signal."""
    containers = session.engine.containers

    def one(name: str) -> str:
        containers.kill(name, parsed.text("signal") or "KILL")
        return name

    return each(parsed.arguments, one)


def wait(parsed: Parsed, session: Session) -> int:
    """Print each one's exit code when it has ended."""
    containers = session.engine.containers

    def one(name: str) -> None:
        sys.stdout.write(f"{containers.wait(name)}\n")
        sys.stdout.flush()

    return each(parsed.arguments, one)


def rename(parsed: Parsed, session: Session) -> int:
    """Give a container another name."""
    session.engine.containers.rename(*parsed.arguments)
    return 0


def _timeout(parsed: Parsed) -> int | None:
    return parsed.number("timeout") if parsed.given("timeout") else None


STOP = Command(
    spellings=("container stop", "stop"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Stop one or more running containers",
    minimum=1,
    flags=(
        ("signal", "s", "string", "Signal to send to the container", "", DONE),
        ("timeout", "t", "int", "Seconds to wait before killing the container", "", DONE),
    ),
    handler=stop,
)
RESTART = Command(
    spellings=("container restart", "restart"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Restart one or more containers",
    minimum=1,
    status="differs: a container of --rm is not restarted",
    flags=(
        ("signal", "s", "string", "Signal to send to the container", "", DONE),
        ("timeout", "t", "int", "Seconds to wait before killing the container", "", DONE),
    ),
    handler=restart,
)
KILL = Command(
    spellings=("container kill", "kill"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Kill one or more running containers",
    minimum=1,
    flags=(("signal", "s", "string", "Signal to send to the container", "", DONE),),
    handler=kill,
)
WAIT = Command(
    spellings=("container wait", "wait"),
    usage="CONTAINER [CONTAINER...]",
    short="Block until one or more containers stop, then print their exit codes",
    minimum=1,
    handler=wait,
)
RENAME = Command(
    spellings=("container rename", "rename"),
    usage="CONTAINER NEW_NAME",
    short="Rename a container",
    minimum=2,
    maximum=2,
    handler=rename,
)
