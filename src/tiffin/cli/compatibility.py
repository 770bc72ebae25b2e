"""Writes docs/compatibility.md from the tables: `python -m tiffin.cli.compatibility > docs/compatibility.md`.

A test compares the checked-in page with this one, so that it is never written from memory.
"""

from __future__ import annotations

import sys

from tiffin.cli import catalogue, shown, top

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.command import Command, Flag

_HEAD = """# What tiffin's command line does of docker's

This page is made from the tables that parse the command line (`python -m tiffin.cli.compatibility`), and
a test says whether it is up to date. Docker's words are those of its client 28.2.2; `build` also lists the
flags of `docker buildx build`.

- **done**: works as docker's users expect; the test that shows it stands beside.
- **differs**: works, and what is different is said.
- **refused**: tiffin says so by name and does nothing (exit 125 for a flag and for `run` and `create`,
  else 1). No flag is ever ignored.

"""


def page() -> str:
    """Return the whole page."""
    tables = list(_distinct())
    lines = [_HEAD, "## Commands\n", "| command | also | | flags |", "|---|---|---|---|"]
    lines += [_line(name, command) for name, command in tables]
    lines += ["", "## Flags\n", "### Before the command\n", *_flags(top.TIFFIN.flags)]
    for name, command in tables:
        if command.flags and not command.status.startswith("refused"):
            lines += [f"### {name}\n", *_flags(command.flags, command.spellings[0])]
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
    if shown.of_command(command.spellings[0]):
        status += f" (tests/cli/{shown.of_command(command.spellings[0])})"
    return f"| `{name}` | {others} | {status} | {flags} |"


def _status(text: str) -> str:
    word, _, why = text.partition(": ")
    return f"**{word}**: {why}" if why else f"**{word}**"


def _flags(rows: Iterable[Flag], command: str = "") -> list[str]:
    """Return the done ones by the session that shows them, then what differs, then the refused."""
    by_status: dict[str, list[str]] = {}
    for name, shorthand, *_, status in sorted(rows):
        row = f"`-{shorthand}, --{name}`" if shorthand else f"`--{name}`"
        line = _status(status)
        if not status.startswith("refused") and shown.of_flag(command, name):
            line += f" (tests/cli/{shown.of_flag(command, name)})"
        by_status.setdefault(line, []).append(row)
    order = sorted(by_status, key=lambda line: (not line.startswith("**done**"), line))
    return [f"- {line}: {', '.join(by_status[line])}" for line in order] + [""]


if __name__ == "__main__":
    sys.stdout.write(page())
