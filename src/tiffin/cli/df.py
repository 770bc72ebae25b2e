"""system df: disk usage, in docker's tables."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli.command import DONE, TABLE_FORMAT, Command
from tiffin.errors import InvalidArgument
from tiffin.spec import clock, lapse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.listing import Fields
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.df import DiskUsage, ImageUsage, Row

_HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_FIELDS: Fields = {
    "Type": lambda row: row.type,
    "TotalCount": lambda row: str(row.total),
    "Active": lambda row: str(row.active),
    "Size": lambda row: formats.size(row.size),
    "Reclaimable": lambda row: _reclaimable(row),  # noqa: PLW0108 - it is defined below
}


def show(parsed: Parsed, session: Session) -> int:
    """Print a line for each kind of thing, or with -v a line for each thing."""
    from tiffin.cli import listing

    template = parsed.text("format")
    if parsed.flag("verbose") and template not in {"", "table"}:
        raise InvalidArgument("the verbose and the format options conflict")
    usage = session.engine.system.df()
    if parsed.flag("verbose"):
        sys.stdout.write(_verbose(usage))
    else:
        columns = tuple(_HEADERS)
        sys.stdout.write(
            listing.show(usage.rows, template, columns=columns, fields=_FIELDS, headers=_HEADERS)
        )
    return 0


def _reclaimable(row: Row) -> str:
    size = formats.size(row.reclaimable)
    return (
        f"{size} ({row.reclaimable * 100 // row.size}%)" if row.size and row.type != "Build Cache" else size
    )


def _verbose(usage: DiskUsage) -> str:
    parts = [
        "Images space usage:\n\n",
        formats.table([_IMAGES, *(row for image in usage.images for row in _image(image))]),
        "\nContainers space usage:\n\n",
        formats.table([_CONTAINERS, *_containers(usage)]),
        "\nLocal Volumes space usage:\n\n",
        formats.table([_VOLUMES, *([v.name, str(v.links), formats.size(v.size)] for v in usage.volumes)]),
        f"\nBuild cache usage: {formats.size(usage.rows[-1].size)}\n\n",
        formats.table([_STEPS, *_steps(usage)]),
    ]
    return "".join(parts)


_IMAGES = [
    *("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"),
]
_CONTAINERS = [
    *("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"),
]
_VOLUMES = ["VOLUME NAME", "LINKS", "SIZE"]
_STEPS = ["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"]


def _image(image: ImageUsage) -> Sequence[list[str]]:
    sizes = [image.size, image.size - image.unique, image.unique]
    rest = [
        formats.short(image.view.id),
        formats.ago(image.view.created),
        *map(formats.size, sizes),
        str(image.containers),
    ]
    names = [name.rpartition(":") for name in image.view.tags] or [("<none>", "", "<none>")]
    return [[repository, tag, *rest] for repository, _, tag in names]


def _containers(usage: DiskUsage) -> Sequence[list[str]]:
    return [
        [
            view.id[:12],
            view.image,
            formats.cut(f'"{" ".join(view.command)}"', 20),
            str(sum(mount.type == "volume" for mount in view.mounts)),
            formats.size(view.size_rw),
            formats.ago(view.created),
            lapse.status(view.state),
            view.name,
        ]
        for view in usage.containers
    ]


def _steps(usage: DiskUsage) -> Sequence[list[str]]:
    return [
        [
            formats.short(step.id),
            step.kind,
            formats.size(step.size),
            formats.ago(clock.from_ns(step.created)),
            formats.ago(clock.from_ns(step.last_used)),
            str(step.uses),
            str(step.shared).lower(),
        ]
        for step in usage.steps
    ]


SYSTEM_DF = Command(
    spellings=("system df",),
    usage="[OPTIONS]",
    short="Show docker disk usage",
    maximum=0,
    flags=(
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("verbose", "v", "bool", "Show detailed information on space usage", "", DONE),
    ),
    handler=show,
)
