"""Tables and units as docker prints them; hot, so without template engine, `json` or `datetime`."""

from __future__ import annotations

import sys
import time

from tiffin.spec import clock
from tiffin.spec.lapse import since
from tiffin.spec.state import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MINIMUM_WIDTH = 10
_PADDING = 3
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_PLACES = "%.3g"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows (the first is the header) as Go's tabwriter with docker's settings: 3 spaces, 10 wide."""
    widths = [0] * max(map(len, rows), default=0)
    for row in rows:
        for index, cell in enumerate(row[:-1]):
            widths[index] = max(widths[index], len(cell))
    padded = [max(_MINIMUM_WIDTH, width + _PADDING) for width in widths]
    lines = []
    for row in rows:
        cells = [cell.ljust(padded[index]) for index, cell in enumerate(row[:-1])]
        lines.append("".join(cells) + (row[-1] if row else ""))
    return "".join(f"{line}\n" for line in lines)


def warn_of_format(template: str) -> None:
    """Say on stderr, as docker does, that -q makes `--format` mean nothing."""
    if template not in {"", "table"}:
        sys.stderr.write("WARNING: Ignoring custom format, because both --format and --quiet are set.\n")


def size(count: float, places: str = _PLACES) -> str:
    """Return bytes for people, three digits, powers of 1000: `4.26MB` (docker's HumanSize)."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return (places % value) + _UNITS[unit]


def ago(moment: str, now: float | None = None) -> str:
    """Return `3 weeks ago`; docker's `N/A` for images that do not say when they were made."""
    if not moment or moment == NEVER:
        return "N/A"
    return f"{since(moment, now)} ago"


def local(moment: str) -> str:
    """Return a moment as Go prints a time here: `2026-11-23 10:12:00 +0000 UTC`."""
    try:
        at = clock.to_ns(moment) // 1_000_000_000
    except ValueError:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(at))


def rfc3339(moment: str) -> str:
    """Return a moment in whole seconds, local time: `2026-11-23T10:12:00Z`; `N/A` for none."""
    try:
        at = time.localtime(clock.to_ns(moment) // 1_000_000_000)
    except ValueError:
        return "N/A"
    offset = time.strftime("%z", at)
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", at) + zone


def short(identifier: str) -> str:
    """Return the twelve characters that docker shows of an id, without `sha256:`."""
    return identifier.rpartition(":")[2][:12]


def cut(text: str, length: int) -> str:
    """Shorten to `length` characters, the last being an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def quoted(text: str) -> str:
    """Quote as Go's strconv.Quote: printable characters stay, others are escaped."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    if plain.isprintable():
        return f'"{plain}"'
    names = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    return '"' + "".join(_escape(c, names) for c in plain) + '"'


def _escape(character: str, names: dict[str, str]) -> str:
    if character in names:
        return names[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def ports(published: Sequence[tuple[str, int, str, int]], exposed: Sequence[str]) -> str:
    """Return docker's short list of ports: neighbours that lead to neighbours are one range."""
    groups: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for host, number, protocol, port in published:
        groups.setdefault((host, protocol), []).append((port, number))
    words = []
    for (host, protocol), pairs in groups.items():
        where = f"[{host}]" if ":" in host else host
        for port, number, length in _runs(sorted(set(pairs))):
            words.append(f"{where}:{_span(number, length)}->{_span(port, length)}/{protocol}")
    reached = {f"{port}/{protocol}" for _, _, protocol, port in published}
    return ", ".join((*words, *(port for port in exposed if port not in reached)))


def _runs(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (first port, its host's, how many) of each run of neighbours."""
    found: list[tuple[int, int, int]] = []
    for port, number in pairs:
        if found and found[-1][0] + found[-1][2] == port and found[-1][1] + found[-1][2] == number:
            found[-1] = (*found[-1][:2], found[-1][2] + 1)
        else:
            found.append((port, number, 1))
    return found


def _span(first: int, length: int) -> str:
    return str(first) if length == 1 else f"{first}-{first + length - 1}"
