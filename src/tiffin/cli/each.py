"""Doing the same to several things: one line per success, one error per failure, the rest still done."""

from __future__ import annotations

import sys

from tiffin.errors import TiffinError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(names: Iterable[str], act: Callable[[str], str | None]) -> int:
    """Do `act` to each name and print what it returns (None prints nothing); 1 if any failed."""
    code = 0
    for name in names:
        try:
            line = act(name)
        except TiffinError as error:
            complain(error)
            code = 1
        else:
            if line is not None:
                sys.stdout.write(f"{line}\n")
    return code


def complain(error: TiffinError) -> None:
    """Print an error that does not end the command."""
    sys.stdout.flush()
    hint = f"\n{error.hint}" if error.hint else ""
    sys.stderr.write(f"tiffin: {error.message}{hint}\n")
