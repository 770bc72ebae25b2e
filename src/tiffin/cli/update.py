"""update: change limits and the restart policy of containers that exist."""

from __future__ import annotations

import sys

from tiffin.cli import options
from tiffin.cli.command import DONE, Command
from tiffin.cli.each import each
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def update(parsed: Parsed, session: Session) -> int:
    """Change each and print its name."""
    if not any(parsed.given(row[0]) for row in parsed.command.flags):
        raise InvalidArgument("you must provide one or more flags when using this command.")
    changes = options.limits(parsed)
    if parsed.given("restart"):
        changes["restart_policy"] = options.restart_policy(parsed.text("restart"))

    def one(name: str) -> str:
        for warning in session.engine.containers.update(name, **changes):
            sys.stderr.write(f"WARNING: {warning}\n")
        return name

    return each(parsed.arguments, one)


# fmt: off
UPDATE = Command(
    spellings=("container update", "update"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Update configuration of one or more containers",
    minimum=1,
    flags=(
        (
            "blkio-weight", "", "uint16",
            "Block IO (relative weight), between 10 and 1000, or 0 to disable",
            "0", DONE,
        ),
        ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period", "", DONE),
        ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", "", DONE),
        ("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds", "", DONE),
        ("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds", "", DONE),
        ("cpu-shares", "c", "int", "CPU shares (relative weight)", "", DONE),
        ("cpus", "", "decimal", "Number of CPUs", "", DONE),
        ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)", "", DONE),
        ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)", "", DONE),
        ("memory", "m", "bytes", "Memory limit", "", DONE),
        ("memory-reservation", "", "bytes", "Memory soft limit", "", DONE),
        (
            "memory-swap", "", "bytes",
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
            "", DONE,
        ),
        ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)", "", DONE),
        ("restart", "", "string", "Restart policy to apply when a container exits", "", DONE),
    ),
    handler=update,
)
