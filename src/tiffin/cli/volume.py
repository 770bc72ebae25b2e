"""volume create, ls, inspect, rm."""

from __future__ import annotations

import os
import sys

from tiffin.cli import keyvalues, listing
from tiffin.cli.command import DONE, JSON_FORMAT, TABLE_FORMAT, Command
from tiffin.cli.each import each
from tiffin.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.listing import Fields
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.engine import Engine

_SWARM = "refused: tiffin is no swarm node"
_OPTIONS = "differs: mounted for each container that has the volume, so a tmpfs is not shared"
_HEADERS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}
_FIELDS: Fields = {
    "Driver": lambda _record: "local",
    "Name": lambda record: record.name,
    "Scope": lambda _record: "local",
    "Mountpoint": lambda record: record.path,
    "Labels": lambda record: ",".join(f"{k}={v}" for k, v in sorted(record.labels.items())),
    "Label": lambda record: lambda name: record.labels.get(name, ""),
    "Links": lambda _record: "N/A",
    "Size": lambda _record: "N/A",
    "Availability": lambda _record: "N/A",
    "Group": lambda _record: "N/A",
    "Status": lambda _record: "N/A",
}


def create(parsed: Parsed, session: Session) -> int:
    """Make a volume and print its name."""
    driver = parsed.text("driver")
    if driver != "local":
        message = f'error looking up volume plugin {driver}: plugin "{driver}" not found'
        raise NotFound(message, hint="only the local driver exists")
    name = parsed.arguments[0] if parsed.arguments else ""
    record = session.engine.volumes.create(
        name, labels=keyvalues.pairs(parsed.many("label")), options=keyvalues.pairs(parsed.many("opt"))
    )
    sys.stdout.write(f"{record.name}\n")
    return 0


def ls(parsed: Parsed, session: Session) -> int:
    """Print the volumes."""
    records = session.engine.volumes.list(filters=parsed.filters())
    if parsed.flag("quiet"):
        sys.stdout.write("".join(f"{record.name}\n" for record in records))
        return 0
    sys.stdout.write(
        listing.show(
            records, parsed.text("format"), columns=("Driver", "Name"), fields=_FIELDS, headers=_HEADERS
        )
    )
    return 0


def described(engine: Engine, name: str) -> dict[str, Any]:
    """Return docker's JSON of a volume."""
    record = engine.volumes.get(name)
    return {
        "CreatedAt": record.created,
        "Driver": "local",
        "Labels": dict(record.labels) or None,
        "Mountpoint": record.path,
        "Name": record.name,
        "Options": dict(record.options) or None,
        "Scope": "local",
    }


def inspect(parsed: Parsed, session: Session) -> int:
    """Show volumes."""
    from tiffin.cli.inspect import show

    return show(parsed, lambda name: described(session.engine, name))


def remove(parsed: Parsed, session: Session) -> int:
    """Remove volumes; with --force a missing one is fine."""
    volumes = session.engine.volumes
    force = parsed.flag("force")
    if parsed.flag("dry-run"):
        from tiffin.cli import doomed

        return doomed.show(volumes.plan_remove(parsed.arguments, force=force))

    def one(name: str) -> str:
        try:
            volumes.remove(name)
        except NotFound:
            if not force:
                raise
        return name

    return each(parsed.arguments, one)


def rename(parsed: Parsed, session: Session) -> int:
    """Give a volume another name."""
    session.engine.volumes.rename(*parsed.arguments)
    return 0


def clone(parsed: Parsed, session: Session) -> int:
    """Make a volume of another and print its name."""
    sys.stdout.write(f"{session.engine.volumes.clone(*parsed.arguments).name}\n")
    return 0


def export(parsed: Parsed, session: Session) -> int:
    """Write what a volume holds as a tar to a file or stdout."""
    from tiffin.cli import outfile

    volumes = session.engine.volumes
    record = volumes.get(parsed.arguments[0])  # before a file is touched
    outfile.write(parsed.text("output"), "export volume", lambda out: volumes.export(record.name, out))
    return 0


def import_(parsed: Parsed, session: Session) -> int:
    """Unpack a tar into a volume and print its name."""
    name, *source = parsed.arguments
    path = source[0] if source else "-"
    if path == "-" and os.isatty(0):
        raise InvalidArgument("requested import from stdin, but stdin is a terminal")
    with sys.stdin.buffer if path == "-" else open(path, "rb") as stream:
        record = session.engine.volumes.import_tar(name, stream)
    sys.stdout.write(f"{record.name}\n")
    return 0


VOLUME_CREATE = Command(
    spellings=("volume create",),
    usage="[OPTIONS] [VOLUME]",
    short="Create a volume",
    maximum=1,
    flags=(
        (
            "availability",
            "",
            "string",
            'Cluster Volume availability ("active", "pause", "drain")',
            "active",
            _SWARM,
        ),
        ("driver", "d", "string", "Specify volume driver name", "local", DONE),
        ("group", "", "string", "Cluster Volume group (cluster volumes)", "", _SWARM),
        ("label", "", "list", "Set metadata for a volume", "", DONE),
        ("limit-bytes", "", "bytes", "Minimum size of the Cluster Volume in bytes", "", _SWARM),
        ("opt", "o", "map", "Set driver specific options", "map[]", _OPTIONS),
        ("required-bytes", "", "bytes", "Maximum size of the Cluster Volume in bytes", "", _SWARM),
        ("scope", "", "string", 'Cluster Volume access scope ("single", "multi")', "single", _SWARM),
        ("secret", "", "map", "Cluster Volume secrets", "map[]", _SWARM),
        (
            "sharing",
            "",
            "string",
            'Cluster Volume access sharing ("none", "readonly", "onewriter", "all")',
            "none",
            _SWARM,
        ),
        (
            "topology-preferred",
            "",
            "list",
            "A topology that the Cluster Volume would be preferred in",
            "",
            _SWARM,
        ),
        (
            "topology-required",
            "",
            "list",
            "A topology that the Cluster Volume must be accessible from",
            "",
            _SWARM,
        ),
        ("type", "", "string", 'Cluster Volume access type ("mount", "block")', "block", _SWARM),
    ),
    handler=create,
)

VOLUME_LS = Command(
    spellings=("volume ls", "volume list"),
    usage="[OPTIONS]",
    short="List volumes",
    maximum=0,
    flags=(
        (
            "cluster",
            "",
            "bool",
            "Display only cluster volumes, and use cluster volume list formatting",
            "",
            _SWARM,
        ),
        ("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")', "", DONE),
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("quiet", "q", "bool", "Only display volume names", "", DONE),
    ),
    handler=ls,
)

VOLUME_INSPECT = Command(
    spellings=("volume inspect",),
    usage="[OPTIONS] VOLUME [VOLUME...]",
    short="Display detailed information on one or more volumes",
    minimum=1,
    flags=(("format", "f", "string", JSON_FORMAT, "", DONE),),
    handler=inspect,
)

VOLUME_RM = Command(
    spellings=("volume rm", "volume remove"),
    usage="[OPTIONS] VOLUME [VOLUME...]",
    short="Remove one or more volumes",
    long=("Remove one or more volumes. You cannot remove a volume that is in use by a container."),
    minimum=1,
    flags=(
        ("dry-run", "", "bool", "Only show what would be removed", "", DONE),
        ("force", "f", "bool", "Force the removal of one or more volumes", "", DONE),
    ),
    handler=remove,
)

VOLUME_RENAME = Command(
    spellings=("volume rename",),
    usage="VOLUME NEW_NAME",
    short="Rename a volume that no container has",
    minimum=2,
    maximum=2,
    handler=rename,
)

VOLUME_CLONE = Command(
    spellings=("volume clone",),
    usage="VOLUME NEW_VOLUME",
    short="Create a volume with what another holds",
    minimum=2,
    maximum=2,
    handler=clone,
)

VOLUME_EXPORT = Command(
    spellings=("volume export",),
    usage="[OPTIONS] VOLUME",
    short="Export what a volume holds as a tar archive",
    minimum=1,
    maximum=1,
    flags=(("output", "o", "string", "Write to a file, instead of STDOUT", "", DONE),),
    handler=export,
)

VOLUME_IMPORT = Command(
    spellings=("volume import",),
    usage="VOLUME [file|-]",
    short="Unpack a tar archive into a volume, which is made if need be",
    minimum=1,
    maximum=2,
    handler=import_,
)
