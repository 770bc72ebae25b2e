"""Every command's table at once: for help pages, suggestions, completion and docs/compatibility.md."""

from __future__ import annotations

import importlib

from tiffin.cli.index import INDEX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.command import Command


def commands() -> dict[str, Command]:
    """Return every spelling and its table (also the alternative names of a command in its group)."""
    found = {}
    for spelled, entry in INDEX.items():
        module, name = entry.split(":")[:2]
        found[spelled] = getattr(importlib.import_module(f"tiffin.cli.{module}"), name)
    return found


def canonical() -> dict[str, Command]:
    """Return the spellings that docker lists: without `container list`, `volume remove` and the like."""
    shown = {name: table for name, table in commands().items() if not name.startswith("internal")}
    return {name: table for name, table in shown.items() if INDEX[name].count(":") < 2}
