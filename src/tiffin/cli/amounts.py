"""Amounts that people write: `512m`, `1.5` cpus, `1m30s`; docker's grammars and sentences."""

from __future__ import annotations

_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def check(kind: str, text: str, *, negative_one: bool = False) -> None:
    """Raise ValueError (with docker's sentence) where `text` is not of this kind."""
    if kind == "bytes":
        if not (negative_one and text == "-1"):
            size(text)
    elif kind == "decimal":
        nano_cpus(text)
    else:
        duration(text)


def size(text: str) -> int:
    """Return bytes: `512m`, `1.5GiB`, `100` (docker's go-units, all units powers of 1024)."""
    last = max((text.rfind(c) for c in "0123456789. "), default=-1)
    if last < 0:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[: last + 1], text[last + 1 :].lower()
    if text[last] == " ":
        number = text[:last]
    try:
        value = float(number) if number == number.strip() and "_" not in number else float("x")
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{number}": invalid syntax') from None
    if value < 0 or value != value or value > 1 << 62:  # noqa: PLR0124 - NaN is not itself
        raise ValueError(f"invalid size: '{text}'")
    if suffix in {"", "b"}:
        return int(value)
    if suffix[0] in _BINARY and suffix[1:] in {"", "b", "ib"}:
        return int(value * _BINARY[suffix[0]])
    raise ValueError(f"invalid suffix: '{suffix}'")


def nano_cpus(text: str) -> int:
    """Return billionths of a cpu of `1.5`, `2`, `3/4` or `1e-1`, exactly."""
    head, slash, bottom = text.partition("/")
    try:
        top, scale = _exact(head)
        divisor = int(bottom) if slash else 1
        if divisor <= 0 or "_" in bottom:
            raise ValueError(text)
    except ValueError:
        raise ValueError(f"failed to parse {text} as a rational number") from None
    numerator = top * 1_000_000_000
    denominator = divisor
    if scale < 0:
        denominator *= 10**-scale
    else:
        numerator *= 10**scale
    if numerator % denominator:
        raise ValueError("value is too precise")
    return numerator // denominator


def _exact(text: str) -> tuple[int, int]:
    """Return (mantissa, power of ten) of a decimal number."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole[1:] if whole[:1] in {"+", "-"} else whole) + fraction
    power = int(exponent or 0)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 60 or abs(power) > 60:
        raise ValueError(text)
    value = int(digits)
    return (-value if whole.startswith("-") else value), power - len(fraction)


def duration(text: str) -> int:
    """Return nanoseconds of Go's `1h15m30.5s`; "0" needs no unit. Raises ValueError in Go's words."""
    rest = text[1:] if text[:1] in {"+", "-"} else text
    sign = -1 if text[:1] == "-" else 1
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0
    while rest:
        count, dot, fraction, rest = _number(rest)
        if not count and not fraction:
            raise ValueError(f'time: invalid duration "{text}"')
        unit = ""
        while rest and rest[0] not in "0123456789.":
            unit, rest = unit + rest[0], rest[1:]
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += int(count or 0) * _NANOSECONDS[unit]
        if dot and fraction:
            total += int(fraction) * _NANOSECONDS[unit] // 10 ** len(fraction)
    if total >= 1 << 63:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def _number(text: str) -> tuple[str, str, str, str]:
    """Split the leading `12.5` off: (whole, dot, fraction, rest)."""
    end = 0
    while end < len(text) and text[end] in "0123456789":
        end += 1
    whole, rest = text[:end], text[end:]
    if rest[:1] != ".":
        return whole, "", "", rest
    end = 1
    while end < len(rest) and rest[end] in "0123456789":
        end += 1
    return whole, ".", rest[1:end], rest[end:]
