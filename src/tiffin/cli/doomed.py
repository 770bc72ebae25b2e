"""What a `--dry-run` shows: each thing that would go, its bytes, when it was last used, why it goes."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli.each import complain
from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.prune import Doomed, Plan

_KINDS = {
    "container": ("container", "containers"),
    "volume": ("volume", "volumes"),
    "network": ("network", "networks"),
    "image": ("image", "images"),
    "name": ("name", "names"),
    "cache": ("cache mount", "cache mounts"),
    "step": ("build step", "build steps"),
    "leftover": ("leftover", "leftovers"),
}
FLAG = ("dry-run", "", "bool", "Only show what would be removed", "", "done")


def show(plan: Plan) -> int:
    """Print a plan, and what it would meet; nothing is removed. Returns 1 where something is refused."""
    rows = [_row(item) for item in plan.items]
    listed = formats.table([["KIND", "ID", "NAME", "SIZE", "LAST USED", "WHY"], *rows]) if rows else ""
    whole = f" (of {formats.size(plan.present)})" if plan.present else ""
    heading = f"would remove {_count(plan)}, {formats.size(plan.size)}{whole}\n"
    sys.stdout.write(heading + listed)
    for error in plan.refused:
        complain(error)
    return 1 if plan.refused else 0


def _row(item: Doomed) -> list[str]:
    from tiffin.engine.prune import shown_name

    used = formats.ago(clock.from_ns(item.last_used)) if item.last_used else "-"
    name = formats.cut(shown_name(item), 40)
    identifier = item.id if item.kind == "volume" else formats.short(item.id)
    return [_KINDS[item.kind][0], identifier, name, formats.size(item.size), used, item.why]


def _count(plan: Plan) -> str:
    words = []
    for kind, (one, many) in _KINDS.items():
        count = sum(item.kind == kind for item in plan.items)
        if count:
            words.append(f"{count} {one if count == 1 else many}")
    return ", ".join(words) or "nothing"
