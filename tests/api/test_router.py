"""Which operation a path means, which versions are spoken, and how parameters are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tiffin.api.call import Call
from tiffin.api.router import Operation, Router, split_version
from tiffin.errors import InvalidArgument, NotFound
from tiffin.http.message import Request

if TYPE_CHECKING:
    from tiffin.api.desk import Desk
    from tiffin.http.message import Response


def _one(_call: Call) -> Response:
    raise AssertionError


def _other(_call: Call) -> Response:
    raise AssertionError


ROUTER = Router(
    [
        Operation(method="GET", path="/images/json", act=_one),
        Operation(method="GET", path="/images/{image}/json", act=_other),
        Operation(method="POST", path="/containers/{name}/start", act=_one),
    ]
)


class _Body:
    length: int | None = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, _size: int = -1, /) -> bytes:
        data, self._data = self._data, b""
        return data

    def read_all(self, _limit: int) -> bytes:
        return self.read()


class _Desk:
    engine = None


def _call(query: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> Call:
    request = Request(method="GET", target="/", path="/", query=query, headers=(), body=_Body(body))
    desk: Desk = _Desk()  # type: ignore[assignment]
    return Call(desk, request, (1, 50), {})


def test_paths() -> None:
    """Names of images have slashes, those of containers none; the first operation that fits counts."""
    assert ROUTER.find("GET", "/images/json") == (_one, {})
    assert ROUTER.find("GET", "/images/host:5000/a/b:1/json") == (_other, {"name": "host:5000/a/b:1"})
    assert ROUTER.find("POST", "/containers/web/start") == (_one, {"name": "web"})


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/images/json"), ("POST", "/containers/a/b/start"), ("GET", "/images//")]
)
def test_what_is_no_operation(method: str, path: str) -> None:
    """A wrong method is no better than a wrong path, as in docker."""
    with pytest.raises(NotFound, match="page not found"):
        ROUTER.find(method, path)


def test_versions() -> None:
    """A path without a version means the newest."""
    assert split_version("/info") == ((1, 50), "/info")
    assert split_version("/v1.41/info") == ((1, 41), "/info")
    assert split_version("/v1.24/_ping") == ((1, 24), "/_ping")
    for path in ("/v1.51/info", "/v1.23/info", "/v2.0/info"):
        with pytest.raises(InvalidArgument, match="client version"):
            split_version(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("maybe", True), ("true", True), ("0", False), ("", False), ("None", False), ("no", False)],
)
def test_switches(text: str, *, expected: bool) -> None:
    """Everything is true but empty, 0, no, false and none."""
    assert _call((("all", text),)).flag("all") is expected


def test_filters_old_and_new() -> None:
    """A list of values, or an object of those that count."""
    assert _call((("filters", '{"a":["x","y"]}'),)).filters() == {"a": ["x", "y"]}
    assert _call((("filters", '{"a":{"x":true,"y":false}}'),)).filters() == {"a": ["x"]}
    for text in ("[]", "{", '{"a":1}', '{"a":[1]}'):
        with pytest.raises(InvalidArgument, match="invalid filter"):
            _call((("filters", text),)).filters()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}{}", b"\xff"])
def test_bodies_that_are_no_object(body: bytes) -> None:
    """They are the client's mistake."""
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        _call(body=body).body()


@pytest.mark.parametrize("text", ["x", "1.5", "1_0", "\uff19", "1" * 30])
def test_numbers(text: str) -> None:
    """Only digits are a number."""
    with pytest.raises(InvalidArgument, match="invalid syntax"):
        _call((("limit", text),)).number("limit")
