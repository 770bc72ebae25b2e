"""Which operation a request means. No I/O: hostile paths end here."""

from __future__ import annotations

import re

from tiffin.api.call import NEWEST, OLDEST
from tiffin.errors import InvalidArgument, NotFound
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tiffin.api.call import Call
    from tiffin.http.message import Response

    Act = Callable[[Call], Response]

_VERSION = re.compile(r"/v([0-9]{1,3})\.([0-9]{1,3})(/.*)")
_WORD = {"name": "(?P<name>[^/]+)", "image": "(?P<name>.+)", "id": "(?P<name>[^/]+)", "rest": "(?P<name>.+)"}
"""What a word in braces stands for; names of images have slashes."""


class Operation(Value):
    """A method, a path with words in braces, and what answers it."""

    method: str
    path: str
    act: Act


class Router:
    """Finds the operation of a method and a path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        """Compile the paths; the first that fits counts."""
        self.operations = tuple(operations)
        self._patterns = [(one.method, _compiled(one.path), one.act) for one in self.operations]

    def find(self, method: str, path: str) -> tuple[Act, dict[str, str]]:
        """Return what answers, and the words of the path; raise NotFound, also for a wrong method."""
        for wanted, pattern, act in self._patterns:
            if wanted == method and (found := pattern.fullmatch(path)):
                return act, found.groupdict()
        raise NotFound("page not found")


def _compiled(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile("".join(_WORD[p] if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """Return the API version that a path begins with (the newest if with none) and the rest.

    Raises InvalidArgument for versions that are not spoken, in docker's words.
    """
    found = _VERSION.fullmatch(path)
    if not found:
        return NEWEST, path
    version = (int(found[1]), int(found[2]))
    shown = f"{found[1]}.{found[2]}"
    if version > NEWEST:
        raise InvalidArgument(
            f"client version {shown} is too new. Maximum supported API version is {_dotted(NEWEST)}"
        )
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {shown} is too old. Minimum supported API version is {_dotted(OLDEST)}, "
            "please upgrade your client to a newer version"
        )
    return version, found[3]


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
