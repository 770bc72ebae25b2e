"""Who a container's process is: docker's `USER` and `-u`, looked up in the container's own files."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_HIGHEST = (1 << 31) - 1


class User(Value):
    """Numbers and home of a process's user. `groups` are all supplementary groups, the primary one first."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = (0,)
    home: str = "/"
    name: str = ""


def resolve(text: str, read: Callable[[str], bytes | None]) -> User:
    """Resolve `[USER|UID][:GROUP|GID]`; "" is uid 0.

    `read` returns a file of the container (None if there is none). A number that no file knows is
    taken as it is, with group 0 and home `/`. Raises InvalidArgument with docker's sentences.
    """
    name, separator, group = text.partition(":")
    if separator and not group:
        group = ""
    entry = _user(name or "0", read("/etc/passwd"), said=bool(name))
    uid, gid, home, found = entry
    groups: list[int] = []
    if group:
        gid = _group(group, read("/etc/group"))
    elif found:
        groups = [number for _, number, members in _groups(read("/etc/group")) if found in members]
    ordered = [gid, *(number for number in groups if number != gid)]
    return User(uid=uid, gid=gid, groups=tuple(dict.fromkeys(ordered)), home=home or "/", name=found)


def groups(names: Sequence[str], read: Callable[[str], bytes | None]) -> tuple[int, ...]:
    """Return the numbers of `--group-add`; raises InvalidArgument for a name that no file knows."""
    file = read("/etc/group")
    return tuple(_group(name, file) for name in names)


def _user(name: str, passwd: bytes | None, *, said: bool) -> tuple[int, int, str, str]:
    """Return uid, gid, home and the name in the file; the first line that fits counts."""
    number = _number(name)
    for fields in _lines(passwd, 4):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is None or gid is None:
            continue
        if (said and fields[0] == name) or uid == number:
            return uid, gid, fields[5] if len(fields) > 5 else "/", fields[0]
    if number is None:
        message = f"unable to find user {name}: no matching entries in passwd file"
        raise InvalidArgument(
            message, hint="the name must stand in the image's /etc/passwd; a number always works"
        )
    return _in_range(number), 0, "/", ""


def _group(name: str, file: bytes | None) -> int:
    number = _number(name)
    for found, gid, _members in _groups(file):
        if found == name or gid == number:
            return gid
    if number is None:
        message = f"unable to find group {name}: no matching entries in group file"
        raise InvalidArgument(
            message, hint="the name must stand in the image's /etc/group; a number always works"
        )
    return _in_range(number)


def _groups(file: bytes | None) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(file, 3):
        gid = _number(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].split(",") if len(fields) > 3 else []


def _lines(file: bytes | None, least: int) -> Iterator[list[str]]:
    """Return the fields of each line that has enough of them, comments left out."""
    for raw in (file or b"").splitlines():
        line = raw.decode(errors="surrogateescape").strip()
        fields = line.split(":")
        if line and line[0] != "#" and len(fields) >= least:
            yield fields


def _number(text: str) -> int | None:
    """Return a number written in ASCII digits, with or without a minus; None for anything else."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _in_range(number: int) -> int:
    if not 0 <= number <= _HIGHEST:
        message = f"uids and gids must be in range 0-{_HIGHEST}"
        raise InvalidArgument(message)
    return number
