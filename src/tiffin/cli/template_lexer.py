"""Go templates, first pass: text and actions, then the words of an action (text/template/parse)."""

from __future__ import annotations

import re

from tiffin.errors import InvalidArgument
from tiffin.spec.value import Value


class Token(Value):
    """One word of an action. `kind` is field, variable, name, string, number, char, punctuation or end."""

    kind: str
    text: str


class Action(Value):
    """What stood between `{{` and `}}`."""

    source: str


_WORD = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<char>'(?:[^'\\]|\\.)+')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))
      | (?P<field>(?:\.[^\W\d]\w*)+)
      | (?P<variable>\$\w*)
      | (?P<name>[^\W\d]\w*)
      | (?P<punctuation>:=|[().,|=])
    )""",
    re.VERBOSE,
)

_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {
    c: c for c in "\"'\\"
}


def pieces(text: str) -> list[str | Action]:
    """Split into literal texts and actions; trim markers and comments are applied here."""
    found: list[str | Action] = []
    position = 0
    trim = False
    while True:
        start = text.find("{{", position)
        literal = text[position:] if start < 0 else text[position:start]
        if trim:
            literal = literal.lstrip(" \t\r\n")
        if start < 0:
            found.append(literal)
            return found
        body_start = start + 2
        if re.match(r"-\s", text[body_start : body_start + 2]):
            literal = literal.rstrip(" \t\r\n")
            body_start += 1
        found.append(literal)
        end = _end(text, body_start)
        body = text[body_start:end]
        trim = bool(re.search(r"\s-$", body))
        if trim:
            body = body[:-1]
        stripped = body.strip()
        if stripped.startswith("/*"):
            if not stripped.endswith("*/"):
                raise InvalidArgument("unclosed comment")
        else:
            found.append(Action(source=body))
        position = end + 2


def _end(text: str, position: int) -> int:
    """Return where the action's `}}` stands, skipping quoted text."""
    stray = False
    while position < len(text):
        character = text[position]
        if character in "\"'`":
            closing = position + 1
            while closing < len(text) and text[closing] != character:
                closing += 2 if text[closing] == "\\" and character != "`" else 1
            if closing >= len(text) or (character == '"' and "\n" in text[position:closing]):
                kind = {'"': "quoted string", "'": "character constant", "`": "raw quoted string"}[character]
                raise InvalidArgument(f"unterminated {kind}")
            position = closing + 1
        elif text.startswith("}}", position):
            return position
        else:
            stray = stray or character == "}"
            position += 1
    raise InvalidArgument("bad character U+007D '}'" if stray else "unclosed action")


def words(source: str) -> list[Token]:
    """Split an action into words; raises InvalidArgument in Go's words."""
    found: list[Token] = []
    position = 0
    while source[position:].strip():
        match = _WORD.match(source, position)
        if match is None:
            character = source[position:].strip()[0]
            raise InvalidArgument(f"unexpected {_shown(character)} in command")
        kind = str(match.lastgroup)
        text = match.group(kind)
        glued = match.start(kind) == position and position > 0
        if kind == "field" and glued and found and (found[-1].text == ")" or found[-1].kind == "variable"):
            kind = "chain"  # of what stands before it: `(index .a 0).b`, `$x.b`
        found.append(Token(kind=kind, text=text))
        position = match.end()
    return found


def _shown(character: str) -> str:
    return f'"{character}"' if character in "{}" else f"bad character U+{ord(character):04X} '{character}'"


def unquote(text: str) -> str:
    """Return the value of a Go string literal."""
    if text[0] == "`":
        return text[1:-1]

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        if code[0].isdigit():
            return chr(int(code, 8))
        if code not in _SIMPLE:
            raise InvalidArgument("invalid syntax")
        return _SIMPLE[code]

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", one, text[1:-1])
