"""Flags of an instruction (`--chown=x`), and what somebody who mistyped a word may have meant."""

from __future__ import annotations

from tiffin.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.build.parser import Statement


def closest(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return the known word that is one or two typing errors away, "" if there is none."""
    best, limit = "", 3 if len(word) > 3 else 2
    for candidate in known:
        distance = _distance(word.upper(), candidate.upper())
        if distance < limit:
            best, limit = candidate, distance
    return best


def _distance(left: str, right: str) -> int:
    """Count typing errors: letters added, lost or changed, and neighbours that changed places."""
    if abs(len(left) - len(right)) > 2:
        return 3
    before: list[int] = []
    above = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                row[j] = min(row[j], before[j - 2] + 1)
        before, above = above, row
    return above[-1]


class Flags:
    """The flags of one statement, checked against those that its instruction has."""

    def __init__(
        self,
        statement: Statement,
        *,
        strings: tuple[str, ...] = (),
        booleans: tuple[str, ...] = (),
        lists: tuple[str, ...] = (),
    ) -> None:
        """Read the flags; raise DockerfileError for an unknown, repeated or badly given one."""
        self.statement = statement
        self.values: dict[str, list[str]] = {}
        known = strings + booleans + lists
        for flag in statement.flags:
            name, equals, value = flag[2:].partition("=")
            if name not in known:
                near = closest(name, known)
                suffix = f" (did you mean --{near}?)" if near else ""
                raise statement.error(f"unknown flag: --{name}{suffix}", caret=f"--{name}")
            if name in self.values and name not in lists:
                raise statement.error(f"duplicate flag specified: --{name}", caret=f"--{name}")
            if name in booleans:
                if value not in {"", "true", "false"}:
                    message = f"expecting boolean value for flag --{name}, not: {value}"
                    raise statement.error(message, caret=f"--{name}")
                value = value or "true"
            elif not equals:
                raise statement.error(f"missing a value on flag: --{name}", caret=f"--{name}")
            self.values.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        """Return a flag's value."""
        return self.values.get(name, [default])[0]

    def true(self, name: str) -> bool:
        """Tell whether a boolean flag was given and is not `false`."""
        return self.values.get(name) == ["true"]

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a flag that may be repeated."""
        return tuple(self.values.get(name, ()))

    def refuse(self, name: str, why: str, *, unless: tuple[str, ...] = ()) -> None:
        """Raise Unsupported by name for a flag that this engine does not have."""
        for value in self.values.get(name, ()):
            if value in unless:
                continue
            statement = self.statement
            message = f"{statement.keyword} --{name} is not supported"
            place = f"{statement.file}:{statement.line}: "
            raise Unsupported(place + message, hint=why)
