"""logs: what a container printed."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def show(parsed: Parsed, session: Session) -> int:
    """Print stdout's lines on stdout and stderr's on stderr, in the order they came."""
    containers = session.engine.containers
    stamped = parsed.flag("timestamps")
    details = b" " if parsed.flag("details") else b""  # what log options would add stands before it
    entries = containers.logs(
        parsed.arguments[0],
        follow=parsed.flag("follow"),
        tail=_tail(parsed.text("tail")),
        since=parsed.text("since"),
        until=parsed.text("until"),
    )
    outputs = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    following = parsed.flag("follow")
    for entry in entries:
        output = outputs[entry.stream]
        stamp = f"{clock.nine_digits(entry.time)} ".encode() if stamped else b""
        output.write(stamp + details + entry.data)
        if following:
            output.flush()
    return 0


def _tail(text: str) -> int:
    """Read --tail: a number, else all (docker takes junk as all)."""
    return int(text) if text.isascii() and text.isdigit() else -1


LOGS = Command(
    spellings=("container logs", "logs"),
    usage="[OPTIONS] CONTAINER",
    short="Fetch the logs of a container",
    minimum=1,
    maximum=1,
    flags=(
        (
            "details",
            "",
            "bool",
            "Show extra details provided to logs",
            "",
            DONE,
        ),
        ("follow", "f", "bool", "Follow log output", "", DONE),
        (
            "since",
            "",
            "string",
            (
                'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 '
                "minutes)"
            ),
            "",
            DONE,
        ),
        ("tail", "n", "string", "Number of lines to show from the end of the logs", "all", DONE),
        ("timestamps", "t", "bool", "Show timestamps", "", DONE),
        (
            "until",
            "",
            "string",
            (
                'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 '
                "minutes)"
            ),
            "",
            DONE,
        ),
    ),
    handler=show,
)
