"""stats: what containers use, once or as a live table."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli import listing
from tiffin.cli.command import DONE, TABLE_FORMAT, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.stats import Stats

_COLUMNS = ("Container", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_HEADERS = {
    "Container": "CONTAINER ID",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_HOME, _CLEAR_REST, _CLEAR_LINE = "\x1b[H", "\x1b[J", "\x1b[K"


def show(parsed: Parsed, session: Session) -> int:
    """Print one table, or one a second over the last."""
    wanted = parsed.text("format")
    live = not parsed.flag("no-stream")
    fields = _fields(whole=parsed.flag("no-trunc"))
    for found in session.engine.containers.stats(*parsed.arguments, all=parsed.flag("all")):
        text = listing.show(found, wanted, columns=_COLUMNS, fields=fields, headers=_HEADERS)
        if live and wanted in {"", "table"}:
            text = _HOME + text.replace("\n", f"{_CLEAR_LINE}\n") + _CLEAR_REST
        sys.stdout.write(text)
        sys.stdout.flush()
        if not live:
            break
    return 0


def _fields(*, whole: bool) -> dict[str, Callable[[Stats], object]]:
    def identifier(stats: Stats) -> str:
        return stats.id if whole else stats.id[:12]

    return {
        "Container": identifier,
        "ID": identifier,
        "Name": lambda stats: stats.name,
        "CPUPerc": lambda stats: f"{stats.cpu_percent:.2f}%",
        "MemUsage": lambda stats: f"{_binary(stats.usage.memory)} / {_binary(stats.memory_limit)}",
        "MemPerc": lambda stats: f"{100.0 * stats.usage.memory / (stats.memory_limit or 1):.2f}%",
        "NetIO": lambda stats: _both(stats.network_received, stats.network_sent),
        "BlockIO": lambda stats: _both(stats.usage.bytes_read, stats.usage.bytes_written),
        "PIDs": lambda stats: str(stats.usage.processes),
    }


def _both(first: int, second: int) -> str:
    return f"{formats.size(first)} / {formats.size(second)}"


def _binary(count: int) -> str:
    """Return bytes in powers of 1024, four digits (docker's BytesSize)."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_BINARY) - 1:
        value /= 1024
        unit += 1
    return f"{value:.4g}{_BINARY[unit]}"


# fmt: off
STATS = Command(
    spellings=("container stats", "stats"),
    usage="[OPTIONS] [CONTAINER...]",
    short="Display a live stream of container(s) resource usage statistics",
    flags=(
        ("all", "a", "bool", "Show all containers (default shows just running)", "", DONE),
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("no-stream", "", "bool", "Disable streaming stats and only pull the first result", "", DONE),
        ("no-trunc", "", "bool", "Do not truncate output", "", DONE),
    ),
    handler=show,
)
