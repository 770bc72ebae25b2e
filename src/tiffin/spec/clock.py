"""Moments as text: RFC 3339 in UTC with nanoseconds, as docker writes them (without `datetime`)."""

from __future__ import annotations

import time


def now() -> str:
    """Return this moment, trailing zeros of the fraction cut (Go's RFC3339Nano)."""
    return from_ns(time.time_ns())


def from_ns(nanoseconds: int) -> str:
    """Return a moment given in nanoseconds since 1970."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    tail = f".{fraction:09d}".rstrip("0").rstrip(".") if fraction else ""
    return f"{text}{tail}Z"


def to_ns(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 moment; raise ValueError for anything else."""
    day, _, clock = text.partition("T")
    year, month, date = map(int, day.split("-"))
    sign, zone = 1, "Z"
    for index, character in enumerate(clock):
        if character in "Zz+-":
            clock, zone = clock[:index], clock[index:]
            break
    else:
        message = f"no time zone in {text!r}"
        raise ValueError(message)
    offset = 0
    if zone not in {"Z", "z"}:
        sign = -1 if zone[0] == "-" else 1
        hours, _, minutes = zone[1:].partition(":")
        offset = sign * (int(hours) * 3600 + int(minutes or 0) * 60)
    clock, _, fraction = clock.partition(".")
    hour, minute, second = map(int, clock.split(":"))
    seconds = _days(year, month, date) * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])


def _days(year: int, month: int, day: int) -> int:
    """Count days since 1970-01-01 (proleptic Gregorian; the algorithm of Howard Hinnant)."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146097 + day_of_era - 719468
