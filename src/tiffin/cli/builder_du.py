"""builder du: what the build cache holds, step by step."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli.command import DONE, Command
from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.df import StepUsage


def show(parsed: Parsed, session: Session) -> int:
    """Print a line a step and a cache mount, the largest first, then the sums."""
    usage = session.engine.system.df()
    steps = sorted(usage.steps, key=lambda step: (-step.size, step.id))
    if parsed.flag("verbose"):
        sys.stdout.write("\n".join(_described(step) for step in steps) + ("\n" if steps else ""))
    else:
        rows = [["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED", "WHAT"]]
        sys.stdout.write(formats.table([*rows, *map(_row, steps)]))
    row = usage.rows[-1]
    sys.stdout.write(f"Reclaimable:\t{formats.size(row.reclaimable)}\nTotal:\t\t{formats.size(row.size)}\n")
    return 0


def _row(step: StepUsage) -> list[str]:
    return [
        _id(step),
        str(not step.shared).lower(),
        formats.size(step.size),
        formats.ago(clock.from_ns(step.last_used)),
        formats.cut(step.text, 60),
    ]


def _id(step: StepUsage) -> str:
    """Return what a step goes by: the id of a failed one is what `builder debug --step` takes."""
    return step.id.partition(":")[2] if step.id.startswith("failed:") else formats.short(step.id)


def _described(step: StepUsage) -> str:
    facts = (
        ("ID", _id(step)),
        ("Created at", clock.from_ns(step.created)),
        ("Reclaimable", str(not step.shared).lower()),
        ("Size", formats.size(step.size)),
        ("Description", step.text),
        ("Usage count", str(step.uses)),
        ("Last used", formats.ago(clock.from_ns(step.last_used))),
        ("Type", step.kind),
    )
    return "".join(f"{name + ':':<15}{value}\n" for name, value in facts)


BUILDER_DU = Command(
    spellings=("builder du",),
    usage="[OPTIONS]",
    short="Show what the build cache holds",
    maximum=0,
    flags=(("verbose", "", "bool", "Provide a more verbose output", "", DONE),),
    handler=show,
)
