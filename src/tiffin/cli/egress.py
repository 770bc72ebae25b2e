"""container egress: what a container may reach, and what it has tried to."""

from __future__ import annotations

import sys

from tiffin.cli import listing
from tiffin.cli.command import DONE, TABLE_FORMAT, Command
from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.listing import Fields
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.egress import Attempt

_COLUMNS = ("Verdict", "Wanted", "Port", "Times", "Last")
_HEADERS = {name: name.upper() for name in (*_COLUMNS, "Name", "Address")}


def egress(parsed: Parsed, session: Session) -> int:
    """Change the list and print it; or print what was tried."""
    networks = session.engine.networks
    name = parsed.arguments[0]
    more, less = (
        [part for text in parsed.many(flag) for part in text.split(",")] for flag in ("allow", "revoke")
    )
    if more or less:
        lines = networks.change_egress(name, allow=more, revoke=less)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    from tiffin.cli import format as formats

    fields: Fields = {
        "Verdict": lambda one: "allowed" if one.allowed else "refused",
        "Wanted": _wanted,
        "Name": lambda one: one.name,
        "Address": lambda one: one.address,
        "Port": lambda one: one.port or "name",
        "Times": lambda one: one.times,
        "Last": lambda one: formats.ago(clock.from_ns(int(one.last * 1e9))),
    }
    found = networks.egress(name)
    sys.stdout.write(
        listing.show(found, parsed.text("format"), columns=_COLUMNS, fields=fields, headers=_HEADERS)
    )
    return 0


def _wanted(one: Attempt) -> str:
    if one.name and one.address:
        return f"{one.name} ({one.address})"
    return one.name or one.address


# fmt: off
EGRESS = Command(
    spellings=("container egress",),
    usage="[OPTIONS] CONTAINER",
    short="Show what a container has tried to reach, or change what it may",
    minimum=1,
    maximum=1,
    flags=(
        ("allow", "", "list", "Let it reach NAME|NETWORK[:PORT],... too", "", DONE),
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("revoke", "", "list", "Let it reach these no more", "", DONE),
    ),
    handler=egress,
)
