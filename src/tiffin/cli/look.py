"""pause, unpause, top, diff and port: short looks at a container, and holding it still."""

from __future__ import annotations

import sys

from tiffin.cli.command import Command
from tiffin.cli.each import each
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_WIDTH, _GAP = 20, 3
"""Go's tabwriter as docker's `top` sets it: columns of 20, three spaces between."""


def pause(parsed: Parsed, session: Session) -> int:
    """Freeze each and print its name."""
    return _each(parsed, session.engine.containers.pause)


def unpause(parsed: Parsed, session: Session) -> int:
    """Let each go on and print its name."""
    return _each(parsed, session.engine.containers.unpause)


def _each(parsed: Parsed, act: Callable[[str], None]) -> int:
    def one(name: str) -> str:
        act(name)
        return name

    return each(parsed.arguments, one)


def top(parsed: Parsed, session: Session) -> int:
    """Print the processes."""
    name, *arguments = parsed.arguments
    table = session.engine.containers.top(name, arguments)
    rows = [table.titles, *table.rows]
    widths = [max(_WIDTH, _GAP + max(len(row[i]) for row in rows)) for i in range(len(table.titles))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        sys.stdout.write("".join(cells) + row[-1] + "\n")
    return 0


def diff(parsed: Parsed, session: Session) -> int:
    """Print a letter and a path for each change."""
    if not parsed.arguments[0]:
        raise InvalidArgument("Container name cannot be empty")
    for change in session.engine.containers.diff(parsed.arguments[0]):
        sys.stdout.write(f"{change.kind} {change.path}\n")
    return 0


def port(parsed: Parsed, session: Session) -> int:
    """Print the published ports, or where one of them is."""
    name, *wanted = parsed.arguments
    engine = session.engine
    state = engine.containers.state(name)
    published = [tuple(fact) for fact in state.network.get("ports", ())]
    published.sort(key=lambda fact: (fact[3], fact[2], ":" in fact[0]))
    if not wanted:
        from tiffin.engine.publish import shown

        sys.stdout.write("".join(f"{shown(fact)}\n" for fact in published))
        return 0
    number, _, protocol = wanted[0].partition("/")
    if not (number.isascii() and number.isdigit()):
        raise InvalidArgument(f"invalid port '{wanted[0]}'", hint="for example 80 or 53/udp")
    found = [fact for fact in published if (str(fact[3]), fact[2]) == (number, protocol or "tcp")]
    if not found:
        raise InvalidArgument(f"no public port '{number}/{protocol or 'tcp'}' published for {name}")
    for host, where, _, _ in found:
        sys.stdout.write(f"[{host}]:{where}\n" if ":" in host else f"{host}:{where}\n")
    return 0


PAUSE = Command(
    spellings=("container pause", "pause"),
    usage="CONTAINER [CONTAINER...]",
    short="Pause all processes within one or more containers",
    minimum=1,
    handler=pause,
)

UNPAUSE = Command(
    spellings=("container unpause", "unpause"),
    usage="CONTAINER [CONTAINER...]",
    short="Unpause all processes within one or more containers",
    minimum=1,
    handler=unpause,
)

TOP = Command(
    spellings=("container top", "top"),
    usage="CONTAINER [ps OPTIONS]",
    short="Display the running processes of a container",
    minimum=1,
    interspersed=False,
    handler=top,
)

DIFF = Command(
    spellings=("container diff", "diff"),
    usage="CONTAINER",
    short="Inspect changes to files or directories on a container's filesystem",
    minimum=1,
    maximum=1,
    handler=diff,
)

PORT = Command(
    spellings=("container port", "port"),
    usage="CONTAINER [PRIVATE_PORT[/PROTO]]",
    short="List port mappings or a specific mapping for the container",
    minimum=1,
    maximum=2,
    handler=port,
)
