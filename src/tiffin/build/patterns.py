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


def _class(body: str, pattern: str, *, slash: bool = False) -> str:
    """Translate what stands in brackets; with `slash` a negated class matches `/`, too, as in moby's."""
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
    sign = ("^" if slash else "^/") if negated else ""
    return f"[{sign}{''.join(items)}]"


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
    components. As moby has it, a pattern that could change nothing for a folder (a `!` where nothing was
    matched, another where something was) is not held against that folder: it does not cover what is below.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the patterns; empty ones are skipped. Raises InvalidArgument for junk."""
        self.rules: list[tuple[bool, re.Pattern[str], str]] = []
        for line in lines:
            text = line.strip()
            negated = text.startswith("!")
            text = text[1:].strip() if negated else text
            if not text and negated:
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
        """Read a `.dockerignore` file: a line that begins with `#` is a comment, white space is trimmed."""
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return Patterns(line for line in text.split("\n") if not line.startswith("#"))

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
        stand: list[bool] = []
        matched = False
        for number, (negated, rule, _) in enumerate(self.rules):
            hit = bool(state) and state[number]
            if not hit and negated == matched:
                hit = rule.fullmatch(path) is not None
            stand.append(hit)
            if hit:
                matched = not negated
        return matched, tuple(stand)

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
    """Translate a whole pattern as moby does.

    At the beginning `**` is any beginning, `**/` any folders; at the end `**` is anything; between, it is any
    folders with their slash, even where none is written (`a**b` is `ab` and `ax/b`, not `axb`).
    """
    _component(text)  # what Go's filepath.Match cannot read is refused
    if text.startswith("**") and not any(sign in text[2:] for sign in "*?[\\"):
        rest = text[2:]
        return f"(?:.*/)?{re.escape(rest[1:])}" if rest.startswith("/") else f".*{re.escape(rest)}"
    out: list[str] = []
    index = 0
    while index < len(text):
        sign = text[index]
        if text.startswith("**", index):
            index += 3 if text.startswith("/", index + 2) else 2
            out.append(".*" if index >= len(text) else "(?:.*/)?")
            continue
        index += 1
        if sign == "[":
            end = _class_end(text, index)
            out.append(_class(text[index:end], text, slash=True))
            index = end + 1
        elif sign == "\\":
            out.append(re.escape(text[index]))
            index += 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(sign) or re.escape(sign))
    return "".join(out)
