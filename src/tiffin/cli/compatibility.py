"""Writes docs/compatibility.md from the tables: `python -m tiffin.cli.compatibility > docs/compatibility.md`.

A test compares the checked-in page with this one, so that it is never written from memory.
"""

from __future__ import annotations

import sys

from tiffin.cli import catalogue, top

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.command import Command, Flag

_HEAD = """# What tiffin's command line does of docker's

This page is made from the tables that parse the command line (`python -m tiffin.cli.compatibility`), and
a test says whether it is up to date. Docker's words are those of its client 28.2.2; `build` also lists the
flags of `docker buildx build`.

- **done**: works as docker's users expect.
- **differs**: works, and what is different is said.
- **refused**: tiffin says so by name and does nothing (exit 125 for a flag and for `run` and `create`,
  else 1). No flag is ever ignored.

"""

SHOWN_BY = {
    "attach": "tests/cli/test_session.py",
    "build": "tests/cli/test_session.py",
    "builder prune": "tests/cli/test_session.py",
    "container prune": "tests/cli/test_session.py",
    "create": "tests/cli/test_session.py",
    "doctor": "tests/rootless/test_user.py",
    "exec": "tests/cli/test_session.py",
    "fsck": "tests/cli/test_session.py",
    "history": "tests/cli/test_session.py",
    "image inspect": "tests/cli/test_session.py",
    "images": "tests/cli/test_session.py",
    "info": "tests/cli/test_session.py",
    "inspect": "tests/cli/test_session.py",
    "kill": "tests/cli/test_session.py",
    "load": "tests/cli/test_session.py",
    "login": "tests/cli/test_transfer.py",
    "logout": "tests/cli/test_transfer.py",
    "logs": "tests/cli/test_session.py",
    "ps": "tests/cli/test_session.py",
    "pull": "tests/cli/test_transfer.py",
    "push": "tests/cli/test_transfer.py",
    "rename": "tests/cli/test_session.py",
    "restart": "tests/cli/test_session.py",
    "rm": "tests/cli/test_session.py",
    "rmi": "tests/cli/test_session.py",
    "run": "tests/cli/test_session.py",
    "save": "tests/cli/test_session.py",
    "start": "tests/cli/test_session.py",
    "stop": "tests/cli/test_session.py",
    "system reset": "tests/rootless/test_user.py",
    "tag": "tests/cli/test_session.py",
    "version": "tests/cli/test_session.py",
    "volume create": "tests/cli/test_session.py",
    "volume inspect": "tests/cli/test_session.py",
    "volume ls": "tests/cli/test_session.py",
    "volume rm": "tests/cli/test_session.py",
    "wait": "tests/cli/test_session.py",
}
"""Which test shows that a command works (a command's first spelling without its group, or the whole)."""


def page() -> str:
    """Return the whole page."""
    tables = list(_distinct())
    lines = [_HEAD, "## Commands\n", "| command | also | | flags |", "|---|---|---|---|"]
    lines += [_line(name, command) for name, command in tables]
    lines += ["", "## Flags\n", "### Before the command\n", *_flags(top.TIFFIN.flags)]
    for name, command in tables:
        if command.flags and not command.status.startswith("refused"):
            lines += [f"### {name}\n", *_flags(command.flags)]
    lines += ["## Flags of refused commands\n"]
    for name, command in tables:
        if command.flags and command.status.startswith("refused"):
            names = ", ".join(f"`--{row[0]}`" for row in sorted(command.flags))
            lines.append(f"- {name}: {names}")
    return "\n".join(lines) + "\n"


def _distinct() -> Iterable[tuple[str, Command]]:
    """Return each command once, by the name that people type most (the shortest)."""
    seen: dict[str, Command] = {}
    for command in catalogue.canonical().values():
        seen[min(command.spellings, key=lambda name: (name.count(" "), len(name)))] = command
    return sorted(seen.items())


def _line(name: str, command: Command) -> str:
    others = ", ".join(f"`{other}`" for other in command.spellings if other != name)
    counts = {"done": 0, "differs": 0, "refused": 0}
    for row in command.flags:
        counts[row[5].partition(":")[0]] += 1
    if command.status.startswith("refused"):
        flags = f"{len(command.flags)}" if command.flags else ""
    else:
        flags = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    status = _status(command.status)
    shown = SHOWN_BY.get(name)
    if shown:
        status += f" ({shown})"
    return f"| `{name}` | {others} | {status} | {flags} |"


def _status(text: str) -> str:
    word, _, why = text.partition(": ")
    return f"**{word}**: {why}" if why else f"**{word}**"


def _flags(rows: Iterable[Flag]) -> list[str]:
    """Return the done ones in one line, then a line for each that differs, then the refused by reason."""
    by_status: dict[str, list[str]] = {}
    for name, shorthand, *_, status in sorted(rows):
        shown = f"`-{shorthand}, --{name}`" if shorthand else f"`--{name}`"
        by_status.setdefault(status, []).append(shown)
    order = sorted(by_status, key=lambda status: (status != "done", status))
    return [f"- {_status(status)}: {', '.join(by_status[status])}" for status in order] + [""]


if __name__ == "__main__":
    sys.stdout.write(page())
