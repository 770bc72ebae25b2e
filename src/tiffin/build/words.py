"""Words of a Dockerfile: quotes, escapes and `$variable` expansion, as docker's shell-like lexer has them.

Nothing here knows instructions. Expansion follows the Dockerfile reference ("Environment
replacement"): `${x:-y} ${x:+y} ${x-y} ${x+y} ${x:?e} ${x?e} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/a/b}
${x//a/b}`. Patterns know `*` and `?` only, and are matched without regular expressions, so that no
pattern takes more than quadratic time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SPECIAL = frozenset("@*#?-$!0")
_DEPTH = 100
"""How deeply `${a:-${b:-...}}` may nest."""


class WordError(ValueError):
    """A word that cannot be expanded; the text is docker's sentence."""


class Lexer:
    """Expands words over one set of variables; remembers in `used` which of them were asked for.

    `raw` keeps quotes and escapes in the result and leaves unknown variables as they stand (what
    finding here-documents needs). `quotes=False` treats quotes as ordinary characters (file contents).
    """

    def __init__(
        self, env: Mapping[str, str], *, escape: str = "\\", raw: bool = False, quotes: bool = True
    ) -> None:
        """Keep the variables; nothing is read yet."""
        self.env = env
        self.used: set[str] = set()
        self.missing: set[str] = set()
        self._escape = escape
        self._raw = raw
        self._quotes = quotes

    def word(self, text: str) -> str:
        """Return the text with quotes removed and variables replaced; raise WordError."""
        return self._run(text)[0]

    def words(self, text: str) -> list[str]:
        """Return the same, split at unquoted white space (also at that which a variable brought)."""
        return self._run(text)[1]

    def _run(self, text: str) -> tuple[str, list[str]]:
        try:
            return _Reader(self, text).until("", raw_escapes=self._raw)
        except WordError as error:
            message = f'failed to process "{text}": {error}'
            raise WordError(message) from None

    def get(self, name: str) -> str | None:
        """Return a variable's value, None when it is not set."""
        value = self.env.get(name)
        (self.missing if value is None else self.used).add(name)
        return value


class _Words:
    """Collects words: quoted white space joins, unquoted splits."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._parts: list[str] = []

    def plain(self, text: str) -> None:
        for character in text:
            if character.isspace():
                self.end()
            else:
                self._parts.append(character)

    def quoted(self, text: str) -> None:
        self._parts.append(text)

    def end(self) -> None:
        word = "".join(self._parts)
        if word:
            self.done.append(word)
        self._parts = []


class _Reader:
    """One pass over one text."""

    def __init__(self, lexer: Lexer, text: str) -> None:
        self.lexer = lexer
        self.text = text
        self.at = 0
        self.depth = 0
        self.raw_escapes = False

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        character = self.text[self.at : self.at + 1]
        self.at += 1
        return character

    @property
    def ended(self) -> bool:
        return self.at >= len(self.text)

    def until(self, stop: str, *, raw_escapes: bool) -> tuple[str, list[str]]:
        """Read up to (and over) the stop character, "" for the end; return the text and its words."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        if self.depth > _DEPTH:
            message = "variables are nested too deeply"
            raise WordError(message)
        result: list[str] = []
        words = _Words()
        found = not stop
        while not self.ended:
            character = self.peek()
            if character == stop:
                self.at += 1
                found = True
                break
            self._one(character, result, words)
        if not found:
            message = f"unexpected end of statement while looking for matching {stop}"
            raise WordError(message)
        self.raw_escapes = before
        self.depth -= 1
        words.end()
        return "".join(result), words.done

    def _one(self, character: str, result: list[str], words: _Words) -> None:
        if character == "$":
            value = self.dollar()
            words.plain(value)
        elif character == "'" and self.lexer._quotes:  # noqa: SLF001 - the reader is the lexer's other half
            value = self.single()
            words.quoted(value)
        elif character == '"' and self.lexer._quotes:  # noqa: SLF001
            value = self.double()
            words.quoted(value)
        elif character == self.lexer._escape:  # noqa: SLF001
            self.at += 1
            value = (character if self.raw_escapes else "") + self.next()
            words.quoted(value)
        else:
            value = self.next()
            words.plain(value)
        result.append(value)

    def single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            message = "unexpected end of statement while looking for matching single-quote"
            raise WordError(message)
        quoted = self.text[self.at : end + 1]
        self.at = end + 1
        return quoted if self.lexer._raw else quoted[1:-1]  # noqa: SLF001

    def double(self) -> str:
        escape, raw = self.lexer._escape, self.lexer._raw  # noqa: SLF001
        self.at += 1
        result = ['"'] if raw else []
        while True:
            character = self.peek()
            if not character:
                message = "unexpected end of statement while looking for matching double-quote"
                raise WordError(message)
            if character == '"':
                self.at += 1
                return "".join(result) + ('"' if raw else "")
            if character == "$":
                result.append(self.dollar())
                continue
            self.at += 1
            if character == escape:
                if self.raw_escapes:
                    result.append(character)
                following = self.peek()
                if not following:
                    continue
                # Inside double quotes only these can be escaped; any other escape stays.
                if following in {'"', "$", escape}:
                    character = self.next()
                elif self.raw_escapes:
                    continue
            result.append(character)

    def dollar(self) -> str:
        self.at += 1
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.lexer.get(name)
            if value is None:
                return f"${name}" if self.lexer._raw else ""  # noqa: SLF001
            return value
        start = self.at - 1
        self.at += 1
        if self.ended:
            raise WordError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise WordError("syntax error: bad substitution")
        name = self.name()
        value = self.lexer.get(name)
        result = self.modified(name, value)
        if value is None and self.lexer._raw:  # noqa: SLF001
            return self.text[start : self.at]
        return result

    def modified(self, name: str, value: str | None) -> str:
        """Apply what stands between the name and the closing brace."""
        operator = self.next()
        if operator == "}":
            return value or ""
        if not operator:
            raise WordError("syntax error: missing '}'")
        if operator == "/":
            return self.replaced(value or "")
        null_is_unset = operator == ":"
        shown = operator
        if null_is_unset:
            operator = self.next()
            shown += operator
        if operator not in {"-", "+", "?", "#", "%"} or (null_is_unset and operator in {"#", "%"}):
            message = f"unsupported modifier ({shown}) in substitution"
            raise WordError(message)
        word = self.braced(raw_escapes=operator in {"#", "%"})
        if operator in {"#", "%"}:
            return _trimmed(value or "", word, operator)
        unset = value is None or (null_is_unset and not value)
        if operator == "-":
            return word if unset else value or ""
        if operator == "+":
            return "" if unset else word
        if unset:
            state = "unset" if value is None else "empty"
            message = f"{name}: {word or f'is not allowed to be {state}'}"
            raise WordError(message)
        return value or ""

    def braced(self, *, raw_escapes: bool) -> str:
        try:
            return self.until("}", raw_escapes=raw_escapes)[0]
        except WordError:
            if self.ended:
                raise WordError("syntax error: missing '}'") from None
            raise

    def replaced(self, value: str) -> str:
        everywhere = self.peek() == "/"
        self.at += everywhere
        try:
            pattern = self.until("/", raw_escapes=True)[0]
        except WordError:
            if self.ended:
                raise WordError("syntax error: missing '/' in ${}") from None
            raise
        replacement = self.braced(raw_escapes=False)
        return _replaced(value, _pattern(pattern), replacement, everywhere=everywhere)

    def name(self) -> str:
        """Read a name: letters, digits and `_`; digits alone; or one of the shell's special signs."""
        start = self.at
        first = self.peek()
        if first.isdigit():
            while self.peek().isdigit():
                self.at += 1
        elif first in _SPECIAL and first:
            self.at += 1
        else:
            while self.peek().isalnum() or self.peek() == "_":
                self.at += 1
        return self.text[start : self.at]


# A pattern's tokens: None is `*`, True is `?`, a string is itself.
_Token = str | bool | None


def _pattern(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    characters = iter(text)
    for character in characters:
        if character == "*":
            if not tokens or tokens[-1] is not None:
                tokens.append(None)
        elif character == "?":
            tokens.append(True)
        elif character == "\\":
            escaped = next(characters, "")
            if escaped not in {"*", "?", "\\", "}", "/"}:
                message = f"invalid pattern ({text}) in substitution: invalid escape '\\{escaped}'"
                raise WordError(message)
            tokens.append(escaped)
        else:
            tokens.append(character)
    return tokens


def _ends(value: str, tokens: list[_Token], start: int) -> list[int]:
    """Return every index where a match that begins at `start` may end, ascending."""
    places = [start]
    for token in tokens:
        if token is None:
            places = list(range(places[0], len(value) + 1))
        else:
            places = [p + 1 for p in places if p < len(value) and (token is True or value[p] == token)]
        if not places:
            break
    return places


def _trimmed(value: str, word: str, operator: str) -> str:
    longest = word.startswith(operator)
    tokens = _pattern(word[1:] if longest else word)
    if operator == "%":
        value, tokens = value[::-1], tokens[::-1]
    ends = _ends(value, tokens, 0)
    if ends:
        value = value[ends[-1 if longest else 0] :]
    return value[::-1] if operator == "%" else value


def _replaced(value: str, tokens: list[_Token], replacement: str, *, everywhere: bool) -> str:
    parts: list[str] = []
    start = 0
    while start < len(value):
        ends = _ends(value, tokens, start)
        if not ends or ends[-1] == start:
            parts.append(value[start])
            start += 1
            continue
        parts.append(replacement)
        start = ends[-1]
        if not everywhere:
            break
    return "".join(parts) + value[start:]
