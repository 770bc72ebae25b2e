"""build --explain, builder explain: why each step was cached or ran."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.build.events import Difference, Step
    from tiffin.build.explain import Explanation
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_FORMATS = ("", "text", "json")
_COLUMN = 56
_DIGEST = 12
"""How many digits of a digest are shown beside another."""
_WIDEST = 60
_VERDICTS = {
    "config": "makes no files",
    "gone": "not cached: the result of an earlier build was pruned",
    "new": "not cached: no earlier build had this step here",
    "parent": "not cached: a step before it changed",
    "unwanted": "not cached: no cache was wanted",
}


def wanted(parsed: Parsed) -> bool:
    """Tell whether a build is to be explained; raises InvalidArgument for a format that is none."""
    _check(parsed.text("format"))
    if parsed.text("format") and not parsed.flag("explain"):
        raise InvalidArgument("--format is how --explain answers", hint="give --explain, too")
    return parsed.flag("explain")


def _check(text: str) -> None:
    if text not in _FORMATS:
        raise InvalidArgument(f"invalid format: {text}", hint="one of text, json")


def explain(parsed: Parsed, session: Session) -> int:
    """Print how an image was built."""
    _check(parsed.text("format"))
    show(session.engine.images.explain(parsed.arguments[0]), parsed.text("format"))
    return 0


def show(explanation: Explanation, kind: str) -> None:
    """Print an explanation, for people or as docs/build-explanation.schema.json has it."""
    if kind == "json":
        from tiffin.spec import jsontext

        sys.stdout.write(jsontext.dumps(explanation.to_json()) + "\n")
        return
    total = max((step.number for step in explanation.steps), default=0)
    seconds = {step.number: step.seconds for step in explanation.steps}
    for step in explanation.steps:
        for line in _lines(step, total, seconds):
            sys.stdout.write(f"{line}\n")


def _lines(step: Step, total: int, seconds: dict[int, float]) -> Iterator[str]:
    from tiffin.cli import format as formats

    why = step.why
    title = formats.cut(f"{step.number:>2}/{total} {step.text}", _COLUMN)
    if why.verdict == "config" or (why.verdict == "cached" and not why.since):
        yield title
        return
    yield f"{title:<{_COLUMN}} line {step.line}"
    if why.verdict == "cached":
        yield f"      cached: nothing differs from {_moment(why.since)}"
        return
    count = len(why.differences) + why.more
    differ = "one input differs" if count == 1 else f"{count} inputs differ"
    text = _VERDICTS.get(why.verdict, f"{'not cached' if step.layer else 'changed'}: {differ}")
    yield f"      {text}" + (f" (last built {_moment(why.since)})" if why.since else "")
    if why.verdict == "changed":
        yield from (f"        {_difference(each)}" for each in why.differences)
        if why.more:
            yield f"        and {why.more} more"
    if step.cause:
        yield f"      because of step {step.cause}"
    elif step.layer or step.cost:
        spent = sum(seconds.get(number, 0.0) for number in (step.number, *step.cost))
        steps = "".join(f" and {number}" for number in step.cost)
        yield f"      cost: step {step.number}{steps}, {spent:.1f} s"


def _difference(each: Difference) -> str:
    name = f"{each.kind} {each.name}" if each.kind in {"ARG", "ENV"} else each.name
    return f"{name or each.kind}: {_short(each.before)} -> {_short(each.after)}"


def _short(value: str | None) -> str:
    """Return one side: a digest by its first digits, a long command cut."""
    if value is None:
        return "(none)"
    head, mark, digits = value.rpartition("sha256:")
    if mark and len(digits) > _DIGEST:
        return f"{head}{mark}{digits[:_DIGEST]}…"
    line = " ".join(value.split("\n"))
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"


def _moment(text: str) -> str:
    """Return a moment as people write it, to the minute, UTC."""
    return text[:16].replace("T", " ") if text else "an earlier build"


BUILDER_EXPLAIN = Command(
    spellings=("builder explain",),
    usage="[OPTIONS] IMAGE",
    short="Show why each step of an image's build was cached or ran",
    long=(
        "Show why each step of an image's build was cached or ran: what differed from the build before,\n"
        "with both values, and the later steps that it cost."
    ),
    minimum=1,
    maximum=1,
    flags=(("format", "", "string", "text or json", "", DONE),),
    handler=explain,
)
