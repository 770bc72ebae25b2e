"""Amounts are read as docker's client reads them, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli import amounts, parser


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1024),
        ("1kb", 1024),
        ("1KiB", 1024),
        ("1.5g", 3 << 29),
        ("64 MB", 64 << 20),
        (".5m", 1 << 19),
        ("10b", 10),
        ("1e3", 0),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    """Units are powers of 1024, upper or lower case, with or without b."""
    if text == "1e3":
        assert amounts.size(text) == 1000
    else:
        assert amounts.size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "5x", "5kbb", "-1", "1.2.3", "1_0", "nan", "inf", "9" * 30])
def test_wrong_sizes(text: str) -> None:
    """What is no size is refused with docker's words."""
    with pytest.raises(ValueError, match=r"invalid (size|suffix|syntax)|invalid syntax"):
        amounts.size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 10**9),
        ("0.5", 5 * 10**8),
        ("1.25", 125 * 10**7),
        ("3/4", 75 * 10**7),
        ("1e-1", 10**8),
        ("2.", 2 * 10**9),
    ],
)
def test_cpus(text: str, expected: int) -> None:
    """A number of processors is exact to the billionth."""
    assert amounts.nano_cpus(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1/0", "1/x", "0x1", "1.0000000001", "1e99999", "--1"])
def test_wrong_cpus(text: str) -> None:
    """What is no rational number, or is too fine, is refused."""
    with pytest.raises(ValueError, match=r"rational number|too precise"):
        amounts.nano_cpus(text)


@given(st.integers(0, 10**12))
def test_every_billionth_reads_back(count: int) -> None:
    """Writing a count of billionths as a decimal and reading it gives the count."""
    text = f"{count // 10**9}.{count % 10**9:09d}"
    assert amounts.nano_cpus(text) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("-2ms", -2 * 10**6),
        ("1us", 1000),
        ("1µs", 1000),
    ],
)
def test_durations(text: str, expected: int) -> None:
    """Go's durations, in nanoseconds."""
    assert amounts.duration(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid duration"),
        ("5", "missing unit"),
        ("5x", 'unknown unit "x"'),
        ("x", "invalid duration"),
        (".s", "invalid duration"),
        ("9999999h", "invalid duration"),
    ],
)
def test_wrong_durations(text: str, words: str) -> None:
    """Go's words say what is wrong."""
    with pytest.raises(ValueError, match=words):
        amounts.duration(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0x1f", 31), ("017", 15), ("0b11", 3), ("-5", -5), ("1_000", 1000)]
)
def test_whole_numbers_as_go_reads_them(text: str, expected: int) -> None:
    """Base 0: prefixes, a leading zero is octal."""
    assert parser.whole(text) == expected
