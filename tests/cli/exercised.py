"""Which flags of which commands the sessions use, read from the tests themselves."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING

from tiffin.cli import catalogue
from tiffin.cli.parser import HelpAsked, UsageError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.cli.parser import Parsed

_HERE = os.path.dirname(__file__)
_CALLS = frozenset({"tiffin", "made"})
_METHODS = frozenset({"run", "wrong", "argv"})
_ANYTHING = "1"
"""What stands for a word that is no literal."""


def flags(file: str) -> set[tuple[str, str]]:
    """Return (command, flag) for each flag given in `tests/cli/FILE`; "" is the command itself.

    A command goes by its canonical spelling (`container run`).
    """
    with open(f"{_HERE}/{os.path.basename(file)}", encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    found = set()
    for words in _command_lines(tree):
        parsed = _parse(words)
        if parsed is not None:
            name = parsed.command.spellings[0]
            found |= {(name, ""), *((name, row[0]) for row in parsed.command.flags if parsed.given(row[0]))}
    return found


def _command_lines(tree: ast.AST) -> Iterator[list[str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_tiffin(node.func):
            yield [word for argument in node.args for word in _words(argument)]


def _is_tiffin(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute) and function.attr in _METHODS:
        function = function.value
    return isinstance(function, ast.Name) and function.id in _CALLS


def _words(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.Starred):
        if isinstance(argument.value, ast.Tuple | ast.List):
            for element in argument.value.elts:
                yield from _words(element)
        return
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    else:
        yield _ANYTHING


def _parse(words: list[str]) -> Parsed | None:
    tables = catalogue.commands()
    for length in (3, 2, 1):
        command = tables.get(" ".join(words[:length]))
        if command is None:
            continue
        for more in range(command.minimum + 1):  # words that are no literals may stand for several
            try:
                return parse(command, "", [*words[length:], *[_ANYTHING] * more])
            except (UsageError, HelpAsked):
                continue
        return None
    return None
