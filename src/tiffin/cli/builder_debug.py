"""builder debug, build --on-failure shell: a shell in the step that failed."""

from __future__ import annotations

import os
import sys

from tiffin.cli import buildsecrets
from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.errors import BuildFailed

_WAYS = ("stop", "shell")


def debug(parsed: Parsed, session: Session) -> int:
    """Open a shell, or run a command, in a failed step; return its exit code."""
    return _inside(
        session,
        parsed.text("step"),
        parsed.arguments,
        buildsecrets.secrets(parsed.many("secret"), session.settings.environment),
        buildsecrets.agents(parsed.many("ssh"), session.settings.environment),
    )


def wanted(parsed: Parsed) -> bool:
    """Tell whether a build that fails is to open a shell; raises InvalidArgument."""
    way = parsed.text("on-failure") or "stop"
    if way not in _WAYS:
        raise InvalidArgument(f"invalid --on-failure {way}", hint="one of " + ", ".join(_WAYS))
    return way == "shell"


def after(error: BuildFailed, session: Session, secrets: Mapping[str, bytes], ssh: Mapping[str, str]) -> int:
    """Tell of a failed build, open a shell in its step, and return the build's exit code."""
    from tiffin.cli.entry import report

    code = report(error, "build")
    if error.step is not None and error.step.id:
        _inside(session, error.step.id, (), secrets, ssh)
    return code


def _inside(
    session: Session, step: str, argv: Sequence[str], secrets: Mapping[str, bytes], ssh: Mapping[str, str]
) -> int:
    from tiffin.cli import terminal

    tty = os.isatty(0) and os.isatty(1)
    kept = session.engine.images.failed(step)
    sys.stderr.write(f"{kept.place}: {kept.text}\n")
    for each in kept.wanted:
        if each.id not in (secrets if each.kind == "secret" else ssh):
            sys.stderr.write(f"the {each.kind} {each.id} is not kept: give it with --{each.kind}\n")
    size = terminal.size() if tty else (0, 0)
    return terminal.converse(
        lambda: session.engine.images.open_failed(
            kept, argv, secrets=secrets, ssh=ssh, stdin=True, tty=tty, size=size
        ),
        stdin=True,
        tty=tty,
        proxy=not tty,
    )


BUILDER_DEBUG = Command(
    spellings=("builder debug",),
    usage="[OPTIONS] [COMMAND] [ARG...]",
    short="Open a shell where a build's step failed",
    long=(
        "Open a shell (or run a command) where a build's step failed: in the files that it left, with its\n"
        "variables, folder, user and mounts. What is changed there is not kept."
    ),
    interspersed=False,
    flags=(
        ("secret", "", "stringArray", "Secret that the step had (secrets are not kept)", "", DONE),
        ("ssh", "", "stringArray", "SSH agent that the step had", "", DONE),
        ("step", "", "string", "Which failed step, if not the last one (builder du lists them)", "", DONE),
    ),
    handler=debug,
)
