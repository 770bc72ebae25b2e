"""`--chown` and `--chmod`: names looked up in the image's own files, modes in octal or in chmod's words."""

from __future__ import annotations

import re
import stat

from tiffin.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CLAUSE = re.compile(r"([ugoa]*)([-+=])([ugo]|[rwxXst]*)")
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_MAXIMUM = 2**32 - 2


def owner(text: str, read: Callable[[str], bytes | None]) -> tuple[int, int]:
    """Return (uid, gid) of `USER[:GROUP]`; `read` gives files of the image, None for missing ones.

    A number alone is also the group; a name alone brings its own group. Raises NotFound with docker's
    sentence for a name that /etc/passwd or /etc/group does not have.
    """
    user, colon, group = text.partition(":")
    if not user and not group:
        message = f"invalid chown value {text!r}"
        raise InvalidArgument(message, hint="write --chown=USER[:GROUP]")
    if user.isdecimal():
        uid = gid = _number(user)
    elif user:
        row = _lookup(read("/etc/passwd"), user)
        if row is None or len(row) < 4 or not row[2].isdecimal() or not row[3].isdecimal():
            message = f"unable to find user {user}: no matching entries in passwd file"
            raise NotFound(message, hint="the image's own /etc/passwd is asked; a number needs no entry")
        uid, gid = int(row[2]), int(row[3])
    else:
        uid = gid = 0
    if colon and group:
        gid = _group(group, read)
    return uid, gid


def _group(group: str, read: Callable[[str], bytes | None]) -> int:
    if group.isdecimal():
        return _number(group)
    row = _lookup(read("/etc/group"), group)
    if row is None or len(row) < 3 or not row[2].isdecimal():
        message = f"unable to find group {group}: no matching entries in group file"
        raise NotFound(message, hint="the image's own /etc/group is asked; a number needs no entry")
    return int(row[2])


def _number(text: str) -> int:
    if int(text) > _MAXIMUM:
        message = f"invalid id {text}: larger than {_MAXIMUM}"
        raise InvalidArgument(message)
    return int(text)


def _lookup(data: bytes | None, name: str) -> list[str] | None:
    for line in (data or b"").decode("utf-8", "surrogateescape").splitlines():
        row = line.strip().split(":")
        if row[0] == name:
            return row
    return None


def mode(text: str) -> Callable[[int], int]:
    """Return what `--chmod` makes of an st_mode; raise InvalidArgument for what is no mode."""
    if re.fullmatch(r"0?[0-7]{1,4}|0o[0-7]{1,4}", text):
        bits = int(text.removeprefix("0o"), 8)
        return lambda _mode: bits
    clauses = []
    for word in text.split(","):
        match = _CLAUSE.match(word)
        if match is None:
            raise _bad(text)
        who = match[1]
        rest = word[len(who) :]
        while rest:
            action = _CLAUSE.match(rest)
            if action is None or action[1]:
                raise _bad(text)
            clauses.append((who or "a", action[2], action[3]))
            rest = rest[action.end() :]
    return lambda st_mode: _changed(st_mode, clauses)


def _bad(text: str) -> InvalidArgument:
    message = f'invalid chmod parameter: "{text}"'
    return InvalidArgument(message, hint="it should be octal, as 755, or symbolic, as u=rwX,go=rX")


def _changed(st_mode: int, clauses: list[tuple[str, str, str]]) -> int:
    bits = stat.S_IMODE(st_mode)
    for who, sign, letters in clauses:
        mask = 0o7777 if "a" in who else sum(_WHO[w] for w in set(who))
        value = _value(letters, bits, executable=stat.S_ISDIR(st_mode) or bool(bits & 0o111)) & mask
        if "t" in letters and ("a" in who or "o" in who):
            value |= 0o1000
        if sign == "+":
            bits |= value
        elif sign == "-":
            bits &= ~value
        else:
            # as chmod(1): `=` leaves the special bits of a folder alone unless they are named
            bits = (bits & ~(mask & 0o777)) | value
    return bits


def _value(letters: str, bits: int, *, executable: bool) -> int:
    if letters in {"u", "g", "o"}:
        triple = bits >> {"u": 6, "g": 3, "o": 0}[letters] & 7
        return triple * 0o111
    value = sum(_BITS.get(letter, 0) for letter in set(letters))
    if "X" in letters and executable:
        value |= 0o111
    if "s" in letters:
        value |= 0o6000
    return value
