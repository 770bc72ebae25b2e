"""Commands as data: one declarative table drives parsing, help, completion and docs/compatibility.md.

A flag is a plain tuple (a constant, so a table of a hundred costs nothing to load):

    (name, shorthand, type, help, default, status)

`type` is docker's word in the help (`list`, `bytes`, ...; `bool` is not shown). `default` is the text
that docker shows, "" for none. `status` is `done`, `differs: how` or `refused: reason`.
"""

from __future__ import annotations

from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

    Flag = tuple[str, str, str, str, str, str]
    Handler = Callable[[Parsed, Session], int]

DONE = "done"
TABLE_FORMAT = """Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"""
JSON_FORMAT = """Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"""


class Command(Value):
    """One command. `spellings` are all its names in docker's order, `minimum`/`maximum` count arguments.

    `maximum` -1 is "any number". `interspersed` False stops reading flags at the first argument.
    `long` is the text of the help where it says more than `short`. `hidden` maps flags that work but are
    not shown to the ones they stand for.
    """

    spellings: tuple[str, ...]
    usage: str
    short: str
    long: str = ""
    flags: tuple[Flag, ...] = ()
    minimum: int = 0
    maximum: int = -1
    interspersed: bool = True
    hidden: Mapping[str, str] = EMPTY
    status: str = DONE
    handler: Handler | None = None
