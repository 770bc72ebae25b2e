"""doctor: what this user may do here, and the one command that would change it."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session


def doctor(parsed: Parsed, session: Session) -> int:
    """Print what was looked at; 1 if containers cannot run."""
    from tiffin.engine.doctor import examine

    checks = examine(session.settings)
    if parsed.flag("json"):
        import json

        sys.stdout.write(json.dumps([check.as_dict() for check in checks]) + "\n")
    else:
        for check in checks:
            sys.stdout.write(f"{'ok ' if check.good else 'BAD'} {check.name}: {check.text}\n")
            if check.remedy:
                sys.stdout.write(f"      {check.remedy}\n")
    return 0 if all(check.good for check in checks) else 1


DOCTOR = Command(
    spellings=("doctor",),
    usage="[OPTIONS]",
    short="Say what this user may do here, and what would change it",
    maximum=0,
    flags=(("json", "", "bool", "Print it as JSON", "", DONE),),
    handler=doctor,
)
