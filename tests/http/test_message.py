"""Targets, queries and ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.http.message import Malformed, NotSatisfiable, Request, byte_range, split_target


def test_a_target_is_decoded_once() -> None:
    """Path and query are decoded; a percent sign that was encoded stays one."""
    assert split_target(b"/v2/a%3Ab?n=1&last=%25%32&n=x+y&flag") == (
        "/v2/a:b",
        (("n", "1"), ("last", "%2"), ("n", "x y"), ("flag", "")),
    )


def test_query_parameters_are_found_by_name() -> None:
    """The last value counts, all can be had, and an empty one is still given."""
    path, query = split_target(b"/?n=1&n=2&e=")
    request = Request(method="GET", target="", path=path, query=query, headers=(), body=None)  # type: ignore[arg-type]
    assert request.parameter("n") == "2"
    assert request.parameters("n") == ["1", "2"]
    assert request.bears("e")
    assert not request.bears("x")


@pytest.mark.parametrize("target", [b"*", b"http://x/", b"", b"/%2F", b"/%2f", b"/%00", b"/?a=%00", b"/%ff"])
def test_other_targets_are_refused(target: bytes) -> None:
    """Only a clean path and query get through."""
    with pytest.raises(Malformed):
        split_target(target)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("bytes=0-", (0, 10)),
        ("bytes=3-4", (3, 5)),
        ("Bytes = 3-400", (3, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=4-3", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("lines=0-1", None),
        ("bytes=+1-2", None),
    ],
)
def test_a_range_is_one_part_or_the_whole(header: str, found: tuple[int, int] | None) -> None:
    """One range of bytes is understood; for anything else the whole is sent."""
    assert byte_range(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    """There is nothing to send."""
    with pytest.raises(NotSatisfiable):
        byte_range(header, 10)


@given(st.text(), st.integers(min_value=0, max_value=1 << 40))
def test_a_range_lies_inside(header: str, size: int) -> None:
    """Whatever is asked for, what is given lies inside and is not empty."""
    try:
        found = byte_range(f"bytes={header}", size)
    except NotSatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
