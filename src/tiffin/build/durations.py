"""Durations as Go writes them: `1h2m3.5s`."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECOND = 10**9
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6}
_UNITS |= {"s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND}


def duration(text: str) -> int | None:
    """Read Go's duration text (`1h2m3.5s`) as nanoseconds; None for anything else."""
    sign = -1 if text[:1] == "-" else 1
    rest = text.lstrip("+-") if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest):
        match = _DURATION.match(rest, at)
        if match is None:
            return None
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        total += int(whole or 0) * unit
        total += int(fraction) * unit // 10 ** len(fraction) if fraction else 0
        at = match.end()
    return sign * total if at else None
