"""The prunes of containers, build cache, volumes, and of everything: each can say first what it would do."""

from __future__ import annotations

import sys

from tiffin.cli import confirm, doomed
from tiffin.cli.command import DONE, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.prune import Carried

_FORCE = ("force", "f", "bool", "Do not prompt for confirmation", "", DONE)


def containers(parsed: Parsed, session: Session) -> int:
    """Remove stopped containers, after asking."""
    wanted = session.engine.containers
    if parsed.flag("dry-run"):
        return doomed.show(wanted.plan_prune(filters=parsed.filters()))
    if not parsed.flag("force") and not confirm.ask("WARNING! This will remove all stopped containers."):
        return 0
    pruned = wanted.prune(filters=parsed.filters())
    sys.stdout.write(confirm.report("Deleted Containers:", pruned.removed, pruned.reclaimed))
    return 0


def volumes(parsed: Parsed, session: Session) -> int:
    """Remove volumes that no container has, after asking."""
    every, filters = parsed.flag("all"), parsed.filters()
    wanted = session.engine.volumes
    if parsed.flag("dry-run"):
        return doomed.show(wanted.plan_prune(all=every, filters=filters))
    what = "all" if every else "anonymous"
    warning = f"WARNING! This will remove {what} local volumes not used by at least one container."
    if not parsed.flag("force") and not confirm.ask(warning):
        return 0
    pruned = wanted.prune(all=every, filters=filters)
    sys.stdout.write(confirm.report("Deleted Volumes:", pruned.removed, pruned.reclaimed))
    return 0


def build_cache(parsed: Parsed, session: Session) -> int:
    """Forget build results, after asking."""
    from tiffin.cli import amounts

    every = parsed.flag("all")
    keep = parsed.text("keep-storage")
    system = session.engine.system
    if not parsed.flag("dry-run") and not parsed.flag("force"):
        what = "build cache" if every else "dangling build cache"
        if not confirm.ask(f"WARNING! This will remove all {what}."):
            return 0
    plan = system.plan_prune_build_cache(
        all=every, filters=parsed.filters(), keep_bytes=amounts.size(keep) if keep else 0
    )
    if parsed.flag("dry-run"):
        return doomed.show(plan)
    carried = system.prune(plan)
    lines = [item.id.partition(":")[2] for item in carried.of("step")]
    sys.stdout.write(confirm.report("Deleted build cache objects:", lines, carried.reclaimed))
    return 0


def everything(parsed: Parsed, session: Session) -> int:
    """Remove what is not in use, after asking."""
    every, with_volumes, filters = parsed.flag("all"), parsed.flag("volumes"), parsed.filters()
    system = session.engine.system
    plan = system.plan_prune(all=every, volumes=with_volumes, filters=filters)
    if parsed.flag("dry-run"):
        return doomed.show(plan)
    warning = _warning(every=every, volumes=with_volumes, filters=parsed.many("filter"))
    if not parsed.flag("force") and not confirm.ask(warning):
        return 0
    carried = system.prune(plan)
    sys.stdout.write(_report(carried))
    return 0


def _warning(*, every: bool, volumes: bool, filters: list[str]) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if volumes:
        lines.append("all anonymous volumes not used by at least one container")
    images = "images without at least one container associated to them" if every else "dangling images"
    lines += [f"all {images}", "all build cache" if every else "unused build cache"]
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if filters:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {f}\n" for f in filters)
    return text


def _report(carried: Carried) -> str:
    from tiffin.engine.images import removed_lines

    images = [
        f"untagged: {line.untagged}" if line.untagged else f"deleted: {line.deleted}"
        for line in removed_lines(carried.of("image"))
    ]
    parts = (
        ("Deleted Containers:", [item.id for item in carried.of("container")]),
        ("Deleted Volumes:", [item.id for item in carried.of("volume")]),
        ("Deleted Networks:", [name for item in carried.of("network") for name in item.names]),
        ("Deleted Images:", images),
        ("Deleted build cache objects:", [item.id.partition(":")[2] for item in carried.of("step")]),
    )
    listed = "".join(
        f"{title}\n" + "".join(f"{x}\n" for x in lines) + "\n" for title, lines in parts if lines
    )
    return listed + confirm.report("", (), carried.reclaimed)


CONTAINER_PRUNE = Command(
    spellings=("container prune",),
    usage="[OPTIONS]",
    short="Remove all stopped containers",
    maximum=0,
    flags=(
        doomed.FLAG,
        ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")', "", DONE),
        _FORCE,
    ),
    handler=containers,
)
VOLUME_PRUNE = Command(
    spellings=("volume prune",),
    usage="[OPTIONS]",
    short="Remove unused local volumes",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused volumes, not just anonymous ones", "", DONE),
        doomed.FLAG,
        ("filter", "", "filter", 'Provide filter values (e.g. "label=<label>")', "", DONE),
        _FORCE,
    ),
    handler=volumes,
)
BUILDER_PRUNE = Command(
    spellings=("builder prune",),
    usage="",
    short="Remove build cache",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused build cache, not just dangling ones", "", DONE),
        doomed.FLAG,
        ("filter", "", "filter", 'Provide filter values (e.g. "until=24h")', "", DONE),
        _FORCE,
        ("keep-storage", "", "bytes", "Amount of disk space to keep for cache", "", DONE),
    ),
    handler=build_cache,
)
SYSTEM_PRUNE = Command(
    spellings=("system prune",),
    usage="[OPTIONS]",
    short="Remove unused data",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Remove all unused images not just dangling ones", "", DONE),
        doomed.FLAG,
        ("filter", "", "filter", 'Provide filter values (e.g. "label=<key>=<value>")', "", DONE),
        _FORCE,
        ("volumes", "", "bool", "Prune anonymous volumes", "", DONE),
    ),
    handler=everything,
)
