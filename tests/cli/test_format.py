"""Tables and units: docker's characters."""

from __future__ import annotations

import pytest

from tiffin.cli import format as formats
from tiffin.cli.images import _lines
from tiffin.engine.image_views import ImageView
from tiffin.spec import clock, lapse
from tiffin.spec.state import NEVER, ContainerState

NOW = 1_800_000_000.0


def _before(seconds: float) -> str:
    return clock.from_ns(int((NOW - seconds) * 1e9))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (4_260_000, "4.26MB"),
        (1_980_000, "1.98MB"),
        (123_456_789, "123MB"),
        (10**12, "1TB"),
        (999_600, "1e+03kB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    """Three digits, powers of 1000 (go-units, with its quirk just below a unit)."""
    assert formats.size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "Less than a second"),
        (1.5, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (3600 * 47, "47 hours"),
        (3600 * 48, "2 days"),
        (86400 * 13, "13 days"),
        (86400 * 14, "2 weeks"),
        (86400 * 59, "8 weeks"),
        (86400 * 60, "2 months"),
        (86400 * 729, "24 months"),
        (86400 * 730, "2 years"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    """Go-units' HumanDuration at each of its edges."""
    assert lapse.duration(seconds) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ContainerState(status="created"), "Created"),
        (ContainerState(status="running", started_at=_before(5)), "Up 5 seconds"),
        (ContainerState(status="paused", started_at=_before(90)), "Up About a minute (Paused)"),
        (
            ContainerState(status="exited", exit_code=137, finished_at=_before(86400 * 21)),
            "Exited (137) 3 weeks ago",
        ),
        (
            ContainerState(status="restarting", exit_code=1, finished_at=_before(3)),
            "Restarting (1) 3 seconds ago",
        ),
        (ContainerState(status="dead"), "Dead"),
        (ContainerState(status="removing"), "Removal In Progress"),
    ],
)
def test_status(state: ContainerState, expected: str) -> None:
    """The STATUS column of ps."""
    assert lapse.status(state, NOW) == expected


def test_moments_that_are_missing() -> None:
    """An image that does not say when it was made shows N/A."""
    assert formats.ago("") == "N/A"
    assert formats.ago(NEVER) == "N/A"


def test_a_table_is_spaced_as_gos_tabwriter() -> None:
    """Three spaces between columns, ten characters at least, nothing behind the last."""
    assert formats.table([["ID", "NAME"], ["a", "b"]]) == "ID        NAME\na         b\n"
    assert formats.table([["A", "B"], ["12345678901", "x"]]) == "A             B\n12345678901   x\n"
    assert formats.table([["A"]]) == "A\n"
    assert formats.table([]) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", '"a b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\nb", '"a\\nb"'),
        ("é…", '"é…"'),
        ("\x1b[31m", '"\\x1b[31m"'),
    ],
)
def test_commands_are_quoted(text: str, expected: str) -> None:
    """A command cannot move the cursor of whoever lists it."""
    assert formats.quoted(text) == expected


def _image(*tags: str, digests: tuple[str, ...] = ()) -> ImageView:
    return ImageView(id="sha256:" + "a" * 64, tags=tags, digests=digests, created="", size=1)


def test_an_image_has_a_line_for_each_name() -> None:
    """Two tags are two lines; no tag is `<none>`, with the repository that its digest names."""
    digest = "sha256:" + "b" * 64
    two = _lines(_image("shop:1", "localhost:5000/shop:2"), digests=False)
    assert [(line.repository, line.tag) for line in two] == [("shop", "1"), ("localhost:5000/shop", "2")]
    assert [(line.repository, line.tag) for line in _lines(_image(), digests=False)] == [("<none>", "<none>")]
    pulled = _lines(_image(digests=(f"shop@{digest}",)), digests=False)
    assert [(line.repository, line.tag) for line in pulled] == [("shop", "<none>")]
    both = _lines(_image("shop:1", digests=(f"shop@{digest}",)), digests=True)
    assert [(line.tag, line.digest) for line in both] == [("1", digest)]
