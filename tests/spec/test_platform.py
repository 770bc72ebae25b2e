"""Platforms: containerd's normal forms, and which image runs where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.spec.platform import Platform

words = st.sampled_from(["linux", "windows", "amd64", "arm64", "arm", "386", "v6", "v7", "v8", "8", "X86_64"])


def platform(text: str) -> Platform:
    return Platform.parse(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/X86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
    ],
)
def test_names_are_normalised_as_containerd_does(text: str, normal: str) -> None:
    """The many names of one architecture become one."""
    assert str(platform(text)) == normal


@given(st.lists(words | st.text(max_size=5), max_size=4).map("/".join))
def test_anything_parses_to_a_fixed_point_or_is_refused(text: str) -> None:
    """What parses, parses again to itself, in text and in JSON; all else raises InvalidArgument."""
    try:
        found = platform(text)
    except InvalidArgument:
        return
    assert platform(str(found)) == found
    assert Platform.from_json(found.to_json()) == found


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "a b", "linux/é", "linux//v7"])
def test_junk_is_refused(text: str) -> None:
    """One to three words of ASCII letters, digits, `_`, `-` and `.` are a platform."""
    with pytest.raises(InvalidArgument):
        platform(text)


def test_a_bare_operating_system_means_this_machine() -> None:
    """`--platform linux` is this machine's architecture."""
    assert platform("linux") == Platform.here()


@pytest.mark.parametrize(
    ("here", "offered", "best"),
    [
        ("amd64", ["arm64", "amd64", "386"], "amd64"),
        ("amd64", ["amd64/v3", "amd64"], "amd64"),
        ("arm/v7", ["arm/v5", "arm/v6", "arm64"], "arm/v6"),
        ("arm/v6", ["arm/v7", "arm64"], ""),
        ("arm/v7", ["arm/v6", "arm/v7"], "arm/v7"),
        ("arm64", ["amd64"], ""),
        ("amd64", [], ""),
    ],
)
def test_the_best_that_runs_here_is_chosen(here: str, offered: list[str], best: str) -> None:
    """An exact match wins, then the newest variant that this machine runs."""
    chosen = platform(f"linux/{here}").best(platform(f"linux/{o}") for o in offered)
    assert chosen == (platform(f"linux/{best}") if best else None)
