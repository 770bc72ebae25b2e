"""A Dockerfile's text as statements: one keyword, its flags and its arguments, with where they stand.

Knows parser directives, line continuations, comments, blank lines and here-documents; knows no
instruction's meaning. Byte order mark and CRLF line ends are dropped, also inside here-documents
(docker keeps the carriage returns there, which no shell wants).
"""

from __future__ import annotations

import re

from tiffin.build.words import Lexer, WordError
from tiffin.errors import DockerfileError
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTIVE = re.compile(r"#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.*)")
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]+)")
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_LIMIT = 8 << 20
"""Bytes of a Dockerfile; more is a mistake (an image given as one) or malice."""


class Heredoc(Value):
    """A here-document: `name` as its end is written; `expand` says that the name was not quoted."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False  # `<<-`: leading tabs do not count


class Statement(Value):
    """One instruction as written. `text` are its arguments with continuation lines joined.

    `source` are the lines `line` to `end_line` (counting from 1) of the file, untouched.
    """

    keyword: str  # upper case
    flags: tuple[str, ...]
    text: str
    original: str  # the whole joined line
    line: int
    end_line: int
    source: tuple[str, ...]
    file: str = "Dockerfile"
    heredocs: tuple[Heredoc, ...] = ()
    escape: str = "\\"
    gap: bool = False  # an empty line stands inside a continuation

    def error(self, message: str, *, caret: str = "", hint: str = "", prefix: bool = True) -> DockerfileError:
        """Make the error of this statement; the caret stands below `caret`, where it can be found."""
        line, column = self._find(caret)
        if prefix:
            message = f"dockerfile parse error on line {self.line}: {message}"
        source = self.source[line - self.line] if self.source else self.original
        return DockerfileError(message, hint=hint, file=self.file, line=line, column=column, source=source)

    def _find(self, caret: str) -> tuple[int, int]:
        for number, text in enumerate(self.source):
            column = text.find(caret) if caret else -1
            if column >= 0:
                return self.line + number, column + 1
        first = self.source[0] if self.source else ""
        return self.line, len(first) - len(first.lstrip()) + 1


class Dockerfile(Value):
    """A parsed file: its statements, its escape character, its directives, and its lines."""

    statements: tuple[Statement, ...]
    escape: str = "\\"
    syntax: str = ""
    check: str = ""
    file: str = "Dockerfile"
    lines: tuple[str, ...] = ()


def parse(data: bytes | str, file: str = "Dockerfile") -> Dockerfile:
    """Parse a Dockerfile; raise DockerfileError with the place of the first thing that is wrong."""
    lines = _decode(data, file)
    directives, first = _directives(lines, file)
    escape = directives.get("escape", "\\")
    reader = _Reader(lines, escape, file)
    statements = tuple(reader.statements(first))
    if not statements:
        raise DockerfileError(
            "dockerfile parse error: file with no instructions",
            hint="a Dockerfile begins with FROM",
            file=file,
            line=max(len(lines), 1),
            column=1,
        )
    return Dockerfile(
        statements=statements,
        escape=escape,
        syntax=directives.get("syntax", ""),
        check=directives.get("check", ""),
        file=file,
        lines=tuple(lines),
    )


def parse_trigger(text: str, escape: str, file: str) -> Statement:
    """Parse one ONBUILD trigger, which may hold its own here-documents after the first line."""
    statements = tuple(_Reader(text.split("\n"), escape, file).statements(0))
    if len(statements) != 1:
        message = f"ONBUILD trigger is not one instruction: {text!r}"
        raise DockerfileError(message, file=file, line=1, column=1, source=text)
    return statements[0]


def _decode(data: bytes | str, file: str) -> list[str]:
    text = data if isinstance(data, str) else _text(data, file)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        message = f"dockerfile parse error on line {line}: the text contains a NUL character"
        raise DockerfileError(message, file=file, line=line, column=1)
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _text(data: bytes, file: str) -> str:
    if len(data) > _LIMIT:
        message = f"{file} is larger than {_LIMIT >> 20} MiB: that is no Dockerfile"
        raise DockerfileError(message, file=file)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"dockerfile parse error on line {line}: the text is not UTF-8"
        raise DockerfileError(message, file=file, line=line, column=column) from None


def _directives(lines: list[str], file: str) -> tuple[dict[str, str], int]:
    """Read the directives at the top; return them and the index of the first other line."""
    found: dict[str, str] = {}
    for index, line in enumerate(lines):
        match = _DIRECTIVE.fullmatch(line.strip())
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            return found, index
        value = match[2].strip()
        problem = ""
        if name in found:
            problem = f"only one {name} parser directive can be used"
        elif name == "escape" and value not in {"\\", "`"}:
            problem = f"invalid escape token '{value}' does not match ` or \\"
        if problem:
            message = f"dockerfile parse error on line {index + 1}: {problem}"
            raise DockerfileError(message, file=file, line=index + 1, column=1, source=line)
        found[name] = value
    return found, len(lines)


class _Reader:
    """Walks over the lines and cuts statements out of them."""

    def __init__(self, lines: list[str], escape: str, file: str) -> None:
        self.lines = lines
        self.escape = escape
        self.file = file

    def statements(self, index: int) -> Iterator[Statement]:
        while index < len(self.lines):
            text = self.lines[index].lstrip()
            if not text or text[0] == "#":
                index += 1
                continue
            start = index
            text, index, gap = self.joined(index)
            if not text.strip():
                continue
            heredocs, end = self.heredocs(text, start, index)
            source = tuple(self.lines[start:end])
            index = end
            yield self.statement(text.strip(), heredocs, start, source).replace(gap=gap)

    def statement(
        self, text: str, heredocs: tuple[Heredoc, ...], start: int, source: tuple[str, ...]
    ) -> Statement:
        keyword, *rest = _BLANKS.split(text, maxsplit=1)
        flags, arguments = split_flags(rest[0].strip() if rest else "")
        return Statement(
            keyword=keyword.upper(),
            flags=flags,
            text=arguments,
            original=text,
            line=start + 1,
            end_line=start + len(source),
            source=source,
            file=self.file,
            heredocs=heredocs,
            escape=self.escape,
        )

    def joined(self, index: int) -> tuple[str, int, bool]:
        """Join continuation lines from `index` on; return the text, the index behind it, is there a gap.

        Inside a continuation comments vanish and empty lines (a gap, docker warns of it) do not end it.
        """
        text, goes_on = self.cut(self.lines[index].lstrip())
        parts = [text]
        index += 1
        empty = False
        while goes_on and index < len(self.lines):
            line = self.lines[index]
            index += 1
            stripped = line.lstrip()
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty = True
                continue
            text, goes_on = self.cut(line)
            parts.append(text)
        return "".join(parts), index, empty

    def cut(self, line: str) -> tuple[str, bool]:
        """Cut the escape character off the end of a line; tell whether there was one."""
        text = line.rstrip(" \t")
        if not text.endswith(self.escape) or text[-2:-1] == self.escape:
            return line, False
        return text[:-1], True

    def heredocs(self, text: str, start: int, index: int) -> tuple[tuple[Heredoc, ...], int]:
        """Read the here-documents that a line announces; return them and the index behind them."""
        found = []
        for name, expand, chomp in _announced(text):
            begin = index
            while index < len(self.lines):
                line = self.lines[index].lstrip("\t") if chomp else self.lines[index]
                if line == name:
                    break
                index += 1
            else:
                message = f"dockerfile parse error on line {start + 1}: unterminated heredoc"
                hint = f'no line consists of "{name}" alone'
                line = self.lines[start]
                column = max(line.find("<<"), 0) + 1
                raise DockerfileError(
                    message, hint=hint, file=self.file, line=start + 1, column=column, source=line
                )
            content = "".join(f"{line}\n" for line in self.lines[begin:index])
            index += 1
            found.append(Heredoc(name=name, content=content, expand=expand, chomp=chomp))
        return tuple(found), index


def _announced(text: str) -> Iterator[tuple[str, bool, bool]]:
    """Find `<<NAME` words; yield (name, expand, chomp)."""
    if "<<" not in text:
        return
    words = _BLANKS.split(text, maxsplit=2)
    keyword = words[0].upper()
    if keyword == "ONBUILD" and len(words) > 1:
        keyword = words[1].upper()
    if keyword not in _WITH_HEREDOCS:
        return
    for word in raw_words(text):
        heredoc = heredoc_word(word)
        if heredoc:
            yield heredoc


def raw_words(text: str) -> list[str]:
    """Split as a shell would, keeping quotes; an unbalanced text has no words."""
    try:
        return Lexer({}, raw=True).words(text)
    except WordError:
        return []


def heredoc_word(word: str) -> tuple[str, bool, bool] | None:
    """Read `<<NAME`, `<<-NAME`, `<<"NAME"`; return (name, expand, chomp), None for any other word."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    raw = match[3]
    try:
        words = Lexer({}).words(raw)
    except WordError:
        return None
    if len(words) != 1:
        return None
    return words[0], words[0] == raw, bool(match[2])


def chomped(heredoc: Heredoc) -> str:
    """Return a here-document's content, leading tabs removed where `<<-` asks for it."""
    if not heredoc.chomp:
        return heredoc.content
    return "".join(line.lstrip("\t") for line in heredoc.content.splitlines(keepends=True))


def split_flags(text: str) -> tuple[tuple[str, ...], str]:
    r"""Take the leading `--flag=value` words off the arguments; quotes and `\\` join words.

    `--` alone ends the flags and is dropped.
    """
    flags: list[str] = []
    index = 0
    while True:
        while index < len(text) and text[index].isspace():
            index += 1
        if not text.startswith("--", index):
            return tuple(flags), text[index:]
        word, index = _flag_word(text, index)
        if word == "--":
            return tuple(flags), text[index:].strip()
        flags.append(word)


def _flag_word(text: str, index: int) -> tuple[str, int]:
    parts: list[str] = []
    quote = ""
    while index < len(text):
        character = text[index]
        if not quote and character.isspace():
            break
        index += 1
        if character == "\\" and index < len(text):
            parts.append(text[index])
            index += 1
        elif quote:
            if character == quote:
                quote = ""
            else:
                parts.append(character)
        elif character in "'\"":
            quote = character
        else:
            parts.append(character)
    return "".join(parts), index
