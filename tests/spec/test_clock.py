"""Moments: `datetime` judges our reading and writing of RFC 3339."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiffin.spec import clock, state

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
moments = st.datetimes(timezones=st.just(dt.UTC))
nanoseconds = st.builds(
    lambda moment, ns: (moment.replace(microsecond=0) - EPOCH) // dt.timedelta(seconds=1) * 10**9 + ns,
    moments,
    st.integers(0, 10**9 - 1),
)


@given(nanoseconds)
@example(0)
@example(-1)
def test_writing_then_reading_gives_the_same_nanosecond(moment: int) -> None:
    """Nothing is lost between a number of nanoseconds and its text, in any year of four digits."""
    assert clock.to_ns(clock.from_ns(moment)) == moment


@given(moments, st.integers(-23, 23), st.integers(0, 59))
def test_reading_agrees_with_datetime(moment: dt.datetime, hours: int, minutes: int) -> None:
    """Any zone's moment is the same number of microseconds as datetime makes of it."""
    zone = dt.timezone(dt.timedelta(hours=hours, minutes=minutes if hours >= 0 else -minutes))
    text = moment.replace(tzinfo=zone).isoformat(timespec="microseconds")
    expected = (moment.replace(tzinfo=zone) - EPOCH) // dt.timedelta(microseconds=1)
    assert clock.to_ns(text) == expected * 1000


@given(nanoseconds)
def test_text_sorts_and_reads_as_datetimes(moment: int) -> None:
    """What is written is a moment that datetime reads (it keeps microseconds)."""
    read = dt.datetime.fromisoformat(clock.from_ns(moment // 1000 * 1000))
    assert (read - EPOCH) // dt.timedelta(microseconds=1) == moment // 1000


def test_the_moment_that_never_came_can_be_read() -> None:
    """Docker's zero time is a moment of the year 1, written with four digits."""
    assert clock.from_ns(clock.to_ns(state.NEVER)) == state.NEVER


@given(st.text("0123456789-:.TZ+ _", max_size=30) | st.text(max_size=30))
@example("2020-13-01T00:00:00Z")
@example("2021-02-29T00:00:00Z")
@example("2020-01-01T24:00:00Z")
@example("2020-01-01T00:00:60Z")
@example("2020-01-01T00:00:00.1_0Z")
@example("2020-01-01T00:00:00+99:00")
@example("+020-01-01T00:00:00Z")
@example("2020-01-01T00:00:00.Z")
@example("2020-01-01T00:00:00+1")
@example("٢٠٢٠-01-01T00:00:00Z")
def test_anything_else_is_refused(text: str) -> None:
    """A text that is no RFC 3339 moment raises ValueError, and nothing but that."""
    try:
        moment = clock.to_ns(text)
    except ValueError:
        return
    assert text[10] == "T"
    shortened = dt.datetime.fromisoformat(text[:19] + "+00:00")
    assert abs((shortened - EPOCH) // dt.timedelta(seconds=1) - moment // 10**9) <= 86400


@pytest.mark.parametrize(
    "text", ["", "T", "2020-01-01", "2020-01-01T00:00:00", "2020-1-1T0:0:0Z", "2020-01-01t00:00:00Z"]
)
def test_half_a_moment_is_refused(text: str) -> None:
    """Date, time and zone are all needed, with two digits each."""
    with pytest.raises(ValueError, match="RFC 3339"):
        clock.to_ns(text)
