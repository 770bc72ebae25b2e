"""Help in docker's layout (cobra's and pflag's): what a command is, its flags aligned and wrapped."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.command import Command, Flag
    from tiffin.cli.groups import Group

_DEFAULT_WIDTH = 80
_SLOP = 5
_LEAST = 24
_COMMON = (
    "run",
    "exec",
    "ps",
    "build",
    "pull",
    "push",
    "images",
    "login",
    "logout",
    "search",
    "version",
    "info",
)
_MORE = "\nRun 'tiffin COMMAND --help' for more information on a command.\n"


def text(command: Command, spelled: str) -> str:
    """Return the page of `tiffin COMMAND --help`."""
    lines = [f"Usage:  tiffin {spelled} {command.usage}".rstrip(), "", command.long or command.short, ""]
    if len(command.spellings) > 1:
        names = ", ".join(f"tiffin {name}" for name in command.spellings)
        lines += ["Aliases:", f"  {names}", ""]
    rows = list(command.flags)
    if any(row[1] == "h" for row in rows):
        # As docker: --help is listed only where -h means something else.
        rows.append(("help", "", "bool", "Print usage", "", ""))
    if rows:
        lines += ["Options:", flag_lines(rows, _width() - 1), ""]
    return "\n".join(lines[:-1]) + "\n"


def not_here(command: Command) -> str:
    """Return what is said below docker's page: the command, or those of its flags, that tiffin refuses."""
    if command.status.startswith("refused"):
        return f"\nNot supported by tiffin: {command.status.partition(': ')[2]}\n"
    names = sorted(f"--{row[0]}" for row in command.flags if row[5].startswith("refused"))
    return f"\nNot supported by tiffin:\n{_filled(names)}\n" if names else ""


def _filled(words: Iterable[str]) -> str:
    lines, room = ["  "], _width() - 1
    for word in words:
        if len(lines[-1]) + len(word) + 1 > room and lines[-1].strip():
            lines.append("  ")
        lines[-1] += f"{word} "
    return "\n".join(line.rstrip() for line in lines)


def _width() -> int:
    try:
        return os.get_terminal_size(0).columns or _DEFAULT_WIDTH
    except OSError:
        return _DEFAULT_WIDTH


def flag_lines(rows: Iterable[Flag], width: int) -> str:
    """Return the table of flags, sorted, as pflag's FlagUsagesWrapped makes it."""
    pairs = []
    for name, shorthand, kind, about, default, _status in sorted(rows):
        left = f"  -{shorthand}, --{name}" if shorthand else f"      --{name}"
        if kind != "bool":
            left += f" {kind}"
        if default:
            shown = f'"{default}"' if kind == "string" else default
            about = f"{about} (default {shown})"  # noqa: PLW2901 - the one line that is printed
        pairs.append((left, about))
    longest = max(len(left) for left, _ in pairs)
    indent = longest + 3
    return "\n".join(left.ljust(indent) + wrap(indent, width, about) for left, about in pairs)


def wrap(indent: int, width: int, text: str) -> str:
    """Wrap all but the first line's indent; a little over is allowed to avoid an orphan (pflag's wrap)."""
    room = width - indent
    result = ""
    if room < _LEAST:
        indent = 16
        room = width - indent
        result = "\n" + " " * indent
    if room < _LEAST:
        return text.replace("\n", "\n" + " " * indent)
    line, rest = _cut(room - _SLOP, text)
    result += line.replace("\n", "\n" + " " * indent)
    while rest:
        line, rest = _cut(room - _SLOP, rest)
        result += "\n" + " " * indent + line.replace("\n", "\n" + " " * indent)
    return result


def _cut(limit: int, text: str) -> tuple[str, str]:
    if limit + _SLOP > len(text):
        return text, ""
    head = text[:limit]
    space = max(head.rfind(c) for c in " \t\n")
    if space <= 0:
        return text, ""
    newline = head.rfind("\n")
    if 0 < newline < space:
        return text[:newline], text[newline + 1 :]
    return text[:space], text[space + 1 :]


def _listing(title: str, entries: Iterable[tuple[str, str]]) -> str:
    rows = sorted(entries) if title != "Common Commands" else list(entries)
    return f"{title}:\n" + "".join(f"  {name:<11} {about}".rstrip() + "\n" for name, about in rows)


def group_page(group: Group) -> str:
    """Return the page of a noun: its commands."""
    from tiffin.cli import catalogue, groups

    prefix = f"{group.name} "
    inner = [(g.name.removeprefix(prefix), g.short) for g in groups.GROUPS if g.name.startswith(prefix)]
    own = [
        (name.removeprefix(prefix), command.short)
        for name, command in catalogue.canonical().items()
        if name.startswith(prefix) and " " not in name.removeprefix(prefix)
    ]
    page = f"Usage:  tiffin {group.name} COMMAND\n\n{group.short}\n\n"
    if inner:
        page += _listing("Management Commands", inner) + "\n"
    page += _listing("Commands", own)
    return page + f"\nRun 'tiffin {group.name} COMMAND --help' for more information on a command.\n"


def front_page() -> str:
    """Return the page of `tiffin` and `tiffin --help`."""
    from tiffin.cli import catalogue, groups, top

    single = {name: c.short for name, c in catalogue.canonical().items() if " " not in name}
    page = f"Usage:  tiffin {top.TIFFIN.usage}\n\n{top.TIFFIN.short}\n\n"
    page += _listing("Common Commands", [(name, single[name]) for name in _COMMON]) + "\n"
    for section in ("Management Commands", "Swarm Commands"):
        entries = [(g.name, g.short) for g in groups.GROUPS if g.section == section and " " not in g.name]
        page += _listing(section, entries) + "\n"
    page += _listing("Commands", [(n, about) for n, about in single.items() if n not in _COMMON])
    page += "\nGlobal Options:\n" + flag_lines(top.TIFFIN.flags, _width() - 1) + "\n"
    return page + f"\nNot supported by tiffin:\n{_filled(_refused())}\n" + _MORE


def _refused() -> list[str]:
    """Return the commands that are refused, and in place of all of a group's the group."""
    from tiffin.cli import catalogue, groups

    tables = catalogue.canonical()
    refused = {name for name, command in tables.items() if command.status.startswith("refused")}
    whole = {
        group.name
        for group in groups.GROUPS
        if " " not in group.name and all(n in refused for n in tables if n.startswith(f"{group.name} "))
    }
    single = {name for name in refused if " " not in name}
    return sorted(whole | single)
