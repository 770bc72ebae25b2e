"""What a pull, a push and a build show: lines in a log, moving lines on a terminal."""

from __future__ import annotations

import io

from tiffin.build import events
from tiffin.cli import build_progress
from tiffin.cli.progress import Transfer
from tiffin.engine.progress import Progress


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


PULL = (
    Progress(status="Pulling from shop", id="1"),
    Progress(status="Pulling fs layer", id="aaaa", total=10),
    Progress(status="Downloading", id="aaaa", current=5, total=10),
    Progress(status="Download complete", id="aaaa", current=10, total=10),
    Progress(status="Extracting", id="aaaa", current=1, total=10),
    Progress(status="Pull complete", id="aaaa", total=10),
    Progress(status="Digest: sha256:1"),
)


def test_a_log_has_dockers_lines() -> None:
    """Each change is one line; what moves many times a second is left out."""
    out = io.StringIO()
    show = Transfer(out)
    for progress in PULL:
        show(progress)
    show.close()
    assert out.getvalue().splitlines() == [
        "1: Pulling from shop",
        "aaaa: Pulling fs layer",
        "aaaa: Download complete",
        "aaaa: Pull complete",
        "Digest: sha256:1",
    ]


def test_quiet_says_nothing() -> None:
    """-q leaves only what the command itself prints."""
    out = io.StringIO()
    show = Transfer(out, quiet=True)
    for progress in PULL:
        show(progress)
    show.close()
    assert out.getvalue() == ""


def test_a_terminal_has_bars() -> None:
    """Each layer has a line of its own that ends complete; lines about the whole stay above."""
    out = Screen()
    show = Transfer(out)
    for progress in PULL:
        show(progress)
    show.close()
    shown = out.getvalue()
    assert "1: Pulling from shop" in shown
    assert "aaaa: Pull complete" in shown
    assert "Digest: sha256:1" in shown


BUILD = (
    events.PlanMade(total=2, stages=1),
    events.StepStarted(number=1, total=2, text="FROM box:1", line=1, stage="stage-0"),
    events.StepDone(number=1, total=2, cached=True, seconds=0.0),
    events.StepStarted(number=2, total=2, text="RUN make", line=2, stage="stage-0"),
    events.StepOutput(number=2, stream=1, data=b"one\ntw"),
    events.StepOutput(number=2, stream=1, data=b"o\n\x1b[2Jx\rthree"),
    events.Warned(message="MAINTAINER is old", line=3),
    events.StepDone(
        number=2, total=2, cached=False, seconds=1.25, size=4100, layer=True, reason="changed: a"
    ),
)


def test_a_build_in_a_log() -> None:
    """A line a step with its cost and reason; output in whole lines, without what moves the cursor."""
    out = io.StringIO()
    show = build_progress.display(out, kind="auto", tags=())
    for event in BUILD:
        show(event)
    show.close()
    assert out.getvalue().splitlines() == [
        " 1/2 FROM box:1                                      cached",
        " 2/2 RUN make",
        "   2 | one",
        "   2 | two",
        "warning: MAINTAINER is old (line 3)",
        "   2 | three",
        " 2/2 RUN make                                          1.2s   4.1 kB  changed: a",
    ]


def test_a_build_on_a_terminal_ends_with_the_same_steps() -> None:
    """The moving lines are gone at the end, the steps stay."""
    out = Screen()
    show = build_progress.display(out, kind="auto", tags=())
    for event in BUILD:
        show(event)
    show.close()
    shown = out.getvalue()
    assert " 1/2 FROM box:1                                      cached" in shown
    assert "changed: a" in shown
    assert "\x1b[2J" not in shown
