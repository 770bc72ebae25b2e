"""Moments as text: RFC 3339 in UTC with nanoseconds, as docker writes them (without `datetime`)."""

from __future__ import annotations

import time


def now() -> str:
    """Return this moment, trailing zeros of the fraction cut (Go's RFC3339Nano)."""
    return from_ns(time.time_ns())


def from_ns(nanoseconds: int) -> str:
    """Return a moment given in nanoseconds since 1970."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    t = time.gmtime(seconds)
    # Not strftime: its %Y writes the year 1 as "1".
    day = f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}"
    tail = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{day}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}{tail}Z"


def nine_digits(moment: str) -> str:
    """Return a moment with all nine digits of its fraction, as `logs -t` has them."""
    whole, _, fraction = moment.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}Z"


def to_ns(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 moment; raise ValueError for anything else."""
    if len(text) < 20 or text[4] + text[7] + text[10] + text[13] + text[16] != "--T::":
        raise _unreadable(text)
    year, month, day = _digits(text[:4]), _digits(text[5:7]), _digits(text[8:10])
    hour, minute, second = _digits(text[11:13]), _digits(text[14:16]), _digits(text[17:19])
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        raise _unreadable(text)
    days = _days(year, month, 1)
    following = _days(year, month + 1, 1) if month < 12 else days + 31
    if not 1 <= day <= following - days:
        raise _unreadable(text)
    fraction, offset = _fraction_and_offset(text, text[19:])
    seconds = (days + day - 1) * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * 1_000_000_000 + fraction


def _fraction_and_offset(text: str, tail: str) -> tuple[int, int]:
    """Read `[.FRACTION](Z|+HH:MM)`: nanoseconds (further digits are cut) and seconds east of Greenwich."""
    fraction = 0
    if tail[0] == ".":
        digits = tail[1:].rstrip("Zz") if tail[-1] in "Zz" else tail[1:-6]
        fraction = _digits((digits + "000000000")[:9]) if digits and _digits(digits) >= 0 else -1
        tail = tail[1 + len(digits) :]
    if tail in {"Z", "z"} and fraction >= 0:
        return fraction, 0
    if len(tail) != 6 or tail[0] not in "+-" or tail[3] != ":" or fraction < 0:
        raise _unreadable(text)
    hours, minutes = _digits(tail[1:3]), _digits(tail[4:6])
    if hours > 23 or minutes > 59:
        raise _unreadable(text)
    return fraction, (hours * 3600 + minutes * 60) * (-1 if tail[0] == "-" else 1)


def _digits(text: str) -> int:
    """Read a number; int() alone would also take signs, spaces, underscores and other scripts' digits."""
    if not (text.isascii() and text.isdigit()):
        raise _unreadable(text)
    return int(text)


def _unreadable(text: str) -> ValueError:
    return ValueError(f"not an RFC 3339 moment: {text!r}")


def _days(year: int, month: int, day: int) -> int:
    """Count days since 1970-01-01 (proleptic Gregorian; the algorithm of Howard Hinnant)."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146097 + day_of_era - 719468
