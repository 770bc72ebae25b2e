"""The flag grammar of docker's command line (spf13/pflag), with its error sentences.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, grouped booleans `-it`, `--` ends
flags; booleans take a value only after `=`. Written without `argparse` (8 ms) and `re` (8 ms).
"""

from __future__ import annotations

from tiffin.errors import TiffinError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.command import Command, Flag

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_WHOLE = frozenset({"int", "uint", "uint16", "uint32", "uint64", "int64"})
_AMOUNTS = frozenset({"bytes", "decimal", "duration"})
_REPEATED = frozenset(
    {"list", "filter", "map", "strings", "mount", "network", "ulimit", "gpu-request", "stringArray"}
)
_BOUNDS = {
    "uint16": (0, 0xFFFF),
    "uint32": (0, 0xFFFFFFFF),
    "uint": (0, (1 << 64) - 1),
    "uint64": (0, (1 << 64) - 1),
}


class UsageError(TiffinError):
    """The words cannot be understood; `exit_code` is docker's (125 for flags, 1 for arguments)."""

    def __init__(self, message: str, *, spelled: str, usage: str = "", exit_code: int = 125) -> None:
        """Keep what the message is about; `usage` "" leaves the Usage line out."""
        super().__init__(message)
        self.spelled = spelled
        self.usage = usage
        self.exit_code = exit_code


class HelpAsked(Exception):
    """`--help` stood among the flags."""


class Parsed:
    """What was asked: `arguments` in order and flags by name, their defaults where not given."""

    __slots__ = ("_values", "arguments", "command", "spelled")

    def __init__(self, command: Command, spelled: str) -> None:
        """Start without anything given."""
        self.command = command
        self.spelled = spelled
        self.arguments: list[str] = []
        self._values: dict[str, list[str]] = {}

    def given(self, name: str) -> bool:
        """Tell whether the flag stood on the command line."""
        return name in self._values

    def text(self, name: str) -> str:
        """Return a flag's last value, or its default."""
        values = self._values.get(name)
        return values[-1] if values else _flag(self.command, name)[4]

    def flag(self, name: str) -> bool:
        """Return a boolean flag."""
        return self.text(name) in _TRUE

    def many(self, name: str) -> list[str]:
        """Return every value of a repeated flag, in order."""
        values = self._values.get(name, [])
        if values and _flag(self.command, name)[2] == "strings":
            return [part for value in values for part in value.split(",")]
        return values

    def number(self, name: str) -> int:
        """Return a whole number (0 where neither given nor defaulted)."""
        text = self.text(name)
        return whole(text) if text else 0

    def filters(self, name: str = "filter") -> dict[str, list[str]]:
        """Return `--filter key=value` as {key: [values]}, keys trimmed and in lower case as docker does."""
        found: dict[str, list[str]] = {}
        for value in self._values.get(name, ()):
            if value:
                key, _, wanted = value.partition("=")
                found.setdefault(key.strip().lower(), []).append(wanted.strip())
        return found

    def invalid(self, name: str, value: str, why: str) -> UsageError:
        """Return docker's error for a flag's bad value."""
        return _invalid(self, _flag(self.command, name), value, why)

    def add(self, name: str, value: str) -> None:
        """Note one value of a flag."""
        self._values.setdefault(name, []).append(value)


def parse(command: Command, spelled: str, words: Sequence[str]) -> Parsed:
    """Read the words after the command's name; raise UsageError or HelpAsked.

    Refused flags are refused here, by name: no flag is ever ignored.
    """
    parsed = Parsed(command, spelled)
    _read(parsed, list(words))
    for name in parsed._values:  # noqa: SLF001 - one pass after all words are read, as errors in them come first
        status = _flag(command, name)[5]
        if status.startswith("refused"):
            reason = status.partition(": ")[2]
            where = f"tiffin: {spelled}: " if spelled else "tiffin: "
            message = f"{where}--{name} is not supported: {reason}"
            raise UsageError(message, spelled=spelled)
    _count(parsed)
    return parsed


def _read(parsed: Parsed, words: list[str]) -> None:
    command = parsed.command
    longs = {row[0]: row for row in command.flags}
    shorts = {row[1]: row for row in command.flags if row[1]}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if len(word) < 2 or word[0] != "-":
            parsed.arguments.append(word)
            if not command.interspersed:
                parsed.arguments += words[position:]
                return
        elif word == "--":
            parsed.arguments += words[position:]
            return
        elif word[1] == "-":
            position = _read_long(parsed, longs, word, words, position)
        else:
            position = _read_short(parsed, shorts, word, words, position)


def _read_long(parsed: Parsed, longs: dict[str, Flag], word: str, words: list[str], position: int) -> int:
    name, equals, value = word[2:].partition("=")
    if not name or name[0] == "-":
        raise _usage(parsed, f"bad flag syntax: {word}")
    row = longs.get(name) or longs.get(parsed.command.hidden.get(name, ""))
    if row is None:
        if name == "help":
            raise HelpAsked
        raise _usage(parsed, f"unknown flag: --{name}")
    if not equals:
        if row[2] == "bool":
            value = "true"
        elif position < len(words):
            value = words[position]
            position += 1
        else:
            raise _usage(parsed, f"flag needs an argument: --{name}")
    _note(parsed, row, value)
    return position


def _read_short(parsed: Parsed, shorts: dict[str, Flag], word: str, words: list[str], position: int) -> int:
    group = word[1:]
    while group:
        letter, rest = group[0], group[1:]
        row = shorts.get(letter)
        if row is None:
            if letter == "h":
                raise HelpAsked
            raise _usage(parsed, f"unknown shorthand flag: '{letter}' in -{group}")
        if len(rest) > 1 and rest[0] == "=":
            _note(parsed, row, rest[1:])
            return position
        if row[2] == "bool":
            _note(parsed, row, "true")
            group = rest
            continue
        if rest:
            _note(parsed, row, rest)
            return position
        if position == len(words):
            raise _usage(parsed, f"flag needs an argument: '{letter}' in -{group}")
        _note(parsed, row, words[position])
        return position + 1
    return position


def _note(parsed: Parsed, row: Flag, value: str) -> None:
    kind = row[2]
    if kind == "bool":
        if value not in _TRUE and value not in _FALSE:
            why = f"strconv.ParseBool: parsing {quoted(value)}: invalid syntax"
            raise _invalid(parsed, row, value, why)
    elif kind in _WHOLE:
        _check_whole(parsed, row, value)
    elif kind in _AMOUNTS and not row[5].startswith("refused"):
        from tiffin.cli import amounts

        try:
            amounts.check(kind, value, negative_one=row[0] == "memory-swap")
        except ValueError as error:
            raise _invalid(parsed, row, value, str(error)) from None
    elif kind == "filter" and value and "=" not in value:
        raise _invalid(parsed, row, value, "bad format of filter (expected name=value)")
    parsed.add(row[0], value)


def _check_whole(parsed: Parsed, row: Flag, value: str) -> None:
    low, high = _BOUNDS.get(row[2], (-(1 << 63), (1 << 63) - 1))
    reader = "ParseUint" if low == 0 else "ParseInt"
    try:
        number = whole(value)
        why = "" if low <= number <= high else "value out of range"
        if low == 0 and value[:1] in {"-", "+"}:
            why = "invalid syntax"
    except ValueError:
        why = "invalid syntax"
    if why:
        raise _invalid(parsed, row, value, f"strconv.{reader}: parsing {quoted(value)}: {why}")


def whole(text: str) -> int:
    """Read a whole number as Go does with base 0 (`0x1f`, `0b1`, `017` is octal); raise ValueError."""
    digits = text.lstrip("+-")
    if text != text.strip() or not text.isascii():
        raise ValueError(text)
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return int(text, 8)
    return int(text, 0)


def _count(parsed: Parsed) -> None:
    command, count = parsed.command, len(parsed.arguments)
    low, high = command.minimum, command.maximum
    if count >= low and (high < 0 or count <= high):
        return
    if high == 0:
        wanted, verb = "accepts no arguments", "Run"
    elif low == high:
        wanted, verb = f"requires {_arguments(low)}", "Run"
    elif high < 0:
        wanted, verb = f"requires at least {_arguments(low)}", "See"
    elif low == 0:
        wanted, verb = f"requires at most {_arguments(high)}", "See"
    else:
        wanted, verb = f"requires at least {low} and at most {_arguments(high)}", "Run"
    message = f"tiffin: 'tiffin {parsed.spelled}' {wanted}"
    error = _usage(parsed, message)
    error.exit_code = 1
    error.hint = f"{verb} 'tiffin {parsed.spelled} --help' for more information"
    raise error


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def _flag(command: Command, name: str) -> Flag:
    for row in command.flags:
        if row[0] == name:
            return row
    raise KeyError(name)


def _usage(parsed: Parsed, message: str) -> UsageError:
    usage = f"tiffin {parsed.spelled} {parsed.command.usage}".rstrip()
    return UsageError(message, spelled=parsed.spelled, usage=usage)


def _invalid(parsed: Parsed, row: Flag, value: str, why: str) -> UsageError:
    shown = f"-{row[1]}, --{row[0]}" if row[1] else f"--{row[0]}"
    return _usage(parsed, f'invalid argument {quoted(value)} for "{shown}" flag: {why}')


def quoted(text: str) -> str:
    """Quote as Go's %q does for what stands on a command line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
