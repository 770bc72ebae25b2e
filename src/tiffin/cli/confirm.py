"""Asking before something is removed, and saying what was: the manners of docker's prunes."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def ask(warning: str) -> bool:
    """Show a warning and ask; only `y` is yes, the end of input is no."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def report(title: str, lines: Sequence[str], reclaimed: int) -> str:
    """Return what a prune prints at the end."""
    listed = f"{title}\n" + "".join(f"{line}\n" for line in lines) + "\n" if lines else ""
    return f"{listed}Total reclaimed space: {formats.size(reclaimed, '%.4g')}\n"
