"""One call of the API: what was asked, read with docker's manners and refused in docker's words."""

from __future__ import annotations

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.api.desk import Desk
    from tiffin.engine.engine import Engine
    from tiffin.http.message import Request

_FALSE = frozenset({"", "0", "no", "false", "none"})
_BODY_LIMIT = 8 << 20
OLDEST, NEWEST = (1, 24), (1, 50)


class Call:
    """A request, its API version as numbers, and the words that the route took from its path."""

    def __init__(
        self, desk: Desk, request: Request, version: tuple[int, int], words: Mapping[str, str]
    ) -> None:
        """Belong to one request."""
        self.desk = desk
        self.engine: Engine = desk.engine
        self.request = request
        self.version = version
        self.words = words

    @property
    def name(self) -> str:
        """The name or id in the path."""
        return self.words["name"]

    def text(self, parameter: str) -> str:
        """Return a query parameter, "" where it is not given."""
        return self.request.parameter(parameter)

    def flag(self, parameter: str, *, default: bool = False) -> bool:
        """Return a switch: false only for empty, 0, no, false and none, as in docker."""
        if not self.request.bears(parameter):
            return default
        return self.text(parameter).strip().lower() not in _FALSE

    def number(self, parameter: str, default: int = 0) -> int:
        """Return a whole number; raises InvalidArgument for anything else."""
        text = self.text(parameter)
        if not text:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
        return int(text)

    def filters(self) -> dict[str, list[str]]:
        """Return `filters`: {"key": ["value"]}, or old clients' {"key": {"value": true}}."""
        text = self.text("filters")
        if not text:
            return {}
        try:
            found = jsontext.load_object(text)
            return {key: _values(values) for key, values in found.items()}
        except Corrupt as error:
            raise InvalidArgument(f"invalid filter: {error.message}") from error

    def body(self, *, needed: bool = True) -> dict[str, Any]:
        """Return the body, a JSON object; null and, unless it is `needed`, nothing are an empty one."""
        data = self.request.body.read_all(_BODY_LIMIT)
        if not data.strip():
            if needed:
                raise InvalidArgument("invalid JSON: got EOF while reading request body")
            return {}
        try:
            found = jsontext.loads(data)
        except Corrupt as error:
            raise InvalidArgument(f"invalid JSON: {error.message}") from error
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise InvalidArgument("invalid JSON: the body is not an object")
        return found

    def since(self, version: tuple[int, int]) -> bool:
        """Tell whether the client speaks at least this version."""
        return self.version >= version

    def upgrades(self) -> bool:
        """Tell whether the client wants the connection for itself (`Upgrade: tcp`)."""
        return self.request.header("upgrade").lower() == "tcp"


def _values(given: object) -> list[str]:
    if isinstance(given, dict):
        return [key for key, on in given.items() if on]
    if isinstance(given, list) and all(isinstance(value, str) for value in given):
        return given
    raise Corrupt("a filter's values are a list of strings")
