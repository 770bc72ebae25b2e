"""Path patterns: `.dockerignore` (moby's patternmatcher) and the wildcards of COPY (Go's filepath.Match)."""

from __future__ import annotations

import posixpath
import re

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def has_wildcards(text: str) -> bool:
    """Tell whether a COPY source is a pattern."""
    return any(sign in text for sign in "*?[")


def unescaped(text: str) -> str:
    r"""Return a source that is no pattern, its `\` escapes undone."""
    return re.sub(r"\\(.)", r"\1", text)


def component(pattern: str) -> re.Pattern[str]:
    r"""Compile one path component: `*`, `?`, `[a-z]`, `[^x]`, `\x`. Raises InvalidArgument for junk."""
    return _compiled(_component(pattern), pattern)


def _component(pattern: str) -> str:
    out: list[str] = []
    index = 0
    while index < len(pattern):
        sign = pattern[index]
        index += 1
        if sign == "*":
            out.append("[^/]*")
            while pattern.startswith("*", index):
                index += 1
        elif sign == "?":
            out.append("[^/]")
        elif sign == "[":
            end = _class_end(pattern, index)
            out.append(_class(pattern[index:end], pattern))
            index = end + 1
        elif sign == "\\":
            if index >= len(pattern):
                raise _bad(pattern)
            out.append(re.escape(pattern[index]))
            index += 1
        else:
            out.append(re.escape(sign))
    return "".join(out)


def _class_end(pattern: str, start: int) -> int:
    index = start + (pattern[start : start + 1] == "^")
    first = True
    while index < len(pattern):
        if pattern[index] == "]" and not first:
            return index
        first = False
        index += 2 if pattern[index] == "\\" else 1
    raise _bad(pattern)


def _class(body: str, pattern: str) -> str:
    negated = body.startswith("^")
    items: list[str] = []
    characters = list(re.findall(r"\\.|.", body[negated:], re.DOTALL))
    index = 0
    while index < len(characters):
        low = characters[index][-1]
        index += 1
        if characters[index : index + 1] == ["-"]:
            high = "".join(characters[index + 1 : index + 2])[-1:]
            index += 2
            if not high or high < low:
                raise _bad(pattern)
            items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    if not items:
        raise _bad(pattern)
    return f"[{'^/' if negated else ''}{''.join(items)}]"


def _bad(pattern: str) -> InvalidArgument:
    message = f"syntax error in pattern: {pattern}"
    return InvalidArgument(message, hint="a [ that is meant literally is written [[]")


def _compiled(text: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.DOTALL)
    except re.error:
        raise _bad(pattern) from None


class Patterns:
    """A list of patterns of which the last that matches decides; `!` takes back what was matched.

    A pattern matches a path if it matches it or any folder above it. `**` stands for any number of
    components.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the patterns; empty lines and comments are skipped. Raises InvalidArgument for junk."""
        self.rules: list[tuple[bool, re.Pattern[str], str]] = []
        for line in lines:
            text = line.strip()
            if not text or line.startswith("#"):
                continue
            negated = text.startswith("!")
            text = text[1:].strip() if negated else text
            if not text:
                raise InvalidArgument('illegal exclusion pattern: "!"')
            text = posixpath.normpath(text).lstrip("/")
            if text and text != ".":
                self.rules.append((negated, _compiled(_path(text), text), text))
        self.negations = any(negated for negated, _, _ in self.rules)
        self._any: re.Pattern[str] | None = None
        if self.rules and not self.negations:
            self._any = re.compile("|".join(f"(?:{rule.pattern})" for _, rule, _ in self.rules), re.DOTALL)

    @staticmethod
    def parse(data: bytes) -> Patterns:
        """Read a `.dockerignore` file."""
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return Patterns(text.splitlines())

    def __bool__(self) -> bool:
        """Tell whether there is any pattern."""
        return bool(self.rules)

    def below(self, state: tuple[bool, ...], path: str) -> tuple[bool, tuple[bool, ...]]:
        """Tell whether a path is matched, knowing how the rules stood for its folder (`()` at the top).

        Returns (matched, how they stand now), the second for what lies below.
        """
        if self._any is not None:
            matched = bool(state) or self._any.fullmatch(path) is not None
            return matched, (True,) if matched else ()
        stand = tuple(
            (bool(state) and state[number]) or rule.fullmatch(path) is not None
            for number, (_, rule, _) in enumerate(self.rules)
        )
        matched = False
        for number, (negated, _, _) in enumerate(self.rules):
            if stand[number]:
                matched = not negated
        return matched, stand

    def matches(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """Tell whether a path is matched, itself or by a folder above it; see `below`."""
        matched = False
        state: tuple[bool, ...] = ()
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            matched, state = self.below(state, "/".join(parts[:count]))
        return matched, state

    def deciding(self, path: str) -> str:
        """Return the pattern that excludes a path, for an explanation; "" if none does."""
        matched, state = self.matches(path)
        if not matched:
            return ""
        if self._any is not None:
            prefixes = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
            return next(t for _, rule, t in self.rules if any(map(rule.fullmatch, prefixes)))
        return next(
            t for n, (negated, _, t) in reversed(list(enumerate(self.rules))) if state[n] and not negated
        )


def _path(text: str) -> str:
    """Translate a whole pattern, with `**`."""
    out: list[str] = []
    index = 0
    while index < len(text):
        if text.startswith("**", index):
            while text.startswith("*", index):
                index += 1
            if text.startswith("/", index):
                index += 1
                out.append("(?:.*/)?")
            else:
                out.append(".*")
            continue
        following = text.find("**", index)
        end = len(text) if following < 0 else following
        piece = text[index:end]
        out.append("/".join(map(_component, piece.split("/"))))
        index = end
    return "".join(out)
