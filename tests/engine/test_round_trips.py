"""Push and pull: every registry, every way to be let in, every kind of bad line, as one suite."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import check_sound, shown
from tests.servers import REGISTRIES, BadLine, ConnectProxy, DockerRegistry, make_certificate
from tests.tokens import Gate, TokenServer
from tiffin.engine.engine import Engine
from tiffin.errors import Corrupt, TiffinError, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LAYERS, _SIZE = 2, 1 << 20
_USER, _PASSWORD = "ann", "se:cret"
_NAME = "registry.test:5443"


class Shop(NamedTuple):
    """A registry that runs, behind a line; `host` is what images there are called by."""

    access: str
    host: str
    line: BadLine
    proxies: Mapping[str, str]
    authority: str

    @property
    def asks(self) -> bool:
        """Whether it lets in only those who have logged in."""
        return self.access != "open"

    def visited_by(self, folder: Path, *, login: bool = True) -> Engine:
        """Return an engine with an empty store that knows the way there."""
        with make_engine(folder) as plain:
            settings = plain.settings.replace(proxies=self.proxies)
        if self.authority:
            certificates = f"{settings.docker_config}/certs.d/{self.host}"
            os.makedirs(certificates)
            shutil.copy(self.authority, f"{certificates}/ca.crt")
        engine = Engine(settings)
        if self.asks and login:
            engine.system.login(self.host, _USER, _PASSWORD)
        return engine


@pytest.fixture(scope="module", params=["open", "basic", "token", "tls"])
def access(request: pytest.FixtureRequest) -> str:
    """How a registry is entered; by TLS with a password, too."""
    return str(request.param)


@pytest.fixture(scope="module", params=REGISTRIES)
def shop(
    access: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """Debian's registry, then the one in the box, each behind a line that each test spoils in its own way."""
    folder, users = str(tmp_path_factory.mktemp("shop")), {_USER: _PASSWORD}
    kind = REGISTRIES[request.param]
    with ExitStack() as stack:
        start = stack.enter_context
        certificate = make_certificate(f"{folder}/tls", _NAME.partition(":")[0]) if access == "tls" else None
        if access == "token":
            tokens = start(TokenServer(f"{folder}/tokens", users))
            if kind is DockerRegistry:
                port = start(DockerRegistry(f"{folder}/registry", tokens=tokens.settings)).port
            else:
                port = start(Gate(start(kind(f"{folder}/registry")).port, tokens)).port
        else:
            known = users if access in {"basic", "tls"} else None
            port = start(kind(f"{folder}/registry", users=known, certificate=certificate)).port
        line = start(BadLine(port))
        if certificate is None:
            yield Shop(access, line.host, line, {}, "")
        else:
            # A name of its own, since nothing on the loopback needs a certificate.
            proxy = start(ConnectProxy({_NAME: line.port}))
            yield Shop(access, _NAME, line, {"https": proxy.url}, certificate.ca)


@pytest.fixture
def line(shop: Shop) -> Iterator[BadLine]:
    """The line, good at first and again afterwards."""
    line = shop.line
    line.passed = line.sent = line.connections = 0
    yield line
    line.cut = line.corrupt = line.spoil = 0
    line.pace = 0.0


@pytest.fixture
def source(shop: Shop, tmp_path: Path) -> Iterator[Engine]:
    """An engine with `noise:1`, layers of bytes that nothing makes smaller."""
    context = tmp_path / "context"
    context.mkdir()
    lines = ["FROM scratch"]
    for number in range(_LAYERS):
        (context / f"noise{number}").write_bytes(os.urandom(_SIZE))
        lines.append(f"COPY noise{number} /noise{number}")
    (context / "Dockerfile").write_text("\n".join(lines))
    with shop.visited_by(tmp_path / "source") as engine:
        engine.images.build(str(context), tags=["noise:1"])
        yield engine


@pytest.fixture
def other(shop: Shop, tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with shop.visited_by(tmp_path / "other") as engine:
        yield engine


def round_trip(shop: Shop, source: Engine, other: Engine, path: str) -> None:
    """Push, pull, and pull again: one image, one digest, nothing left over."""
    name = f"{shop.host}/{path}:1"
    source.images.tag("noise:1", name)
    (pushed,) = source.images.push(name)
    pulled = other.images.pull(name)
    assert (pulled.digest, pulled.image_id) == (pushed.digest, source.images.get("noise:1").id)
    assert not other.images.pull(name).updated
    check_sound(other)


def test_a_good_line(shop: Shop, source: Engine, other: Engine, line: BadLine) -> None:
    """What was pushed is what is pulled; the second pull brings nothing."""
    round_trip(shop, source, other, "good")
    before = line.passed
    other.images.pull(f"{shop.host}/good:1")
    assert line.passed - before < _SIZE // 8


def test_a_line_that_cuts(shop: Shop, source: Engine, other: Engine, line: BadLine) -> None:
    """Every connection ends after a while; both ways go on, a pull where it was."""
    line.cut = _SIZE + (256 << 10)  # Debian's registry forgets an upload that broke: one layer has to fit
    name = f"{shop.host}/cut:1"
    source.images.tag("noise:1", name)
    (pushed,) = source.images.push(name)
    line.cut = _SIZE // 3
    before = line.passed
    assert other.images.pull(name).digest == pushed.digest
    assert line.passed - before < 1.5 * _LAYERS * _SIZE
    check_sound(other)


def test_a_line_that_is_slow(shop: Shop, source: Engine, other: Engine, line: BadLine) -> None:
    """Delays before all that passes, and few bytes a second, are no trouble."""
    line.pace = 0.004
    round_trip(shop, source, other, "slow")


def test_a_line_that_corrupts_what_is_pulled(
    shop: Shop, source: Engine, other: Engine, line: BadLine
) -> None:
    """A flipped bit is an error, or is mended (TLS shows it); nothing of it stays, the next pull is right."""
    name = f"{shop.host}/flipped:1"
    source.images.tag("noise:1", name)
    (pushed,) = source.images.push(name)
    line.corrupt = line.passed + _SIZE
    try:
        assert other.images.pull(name).digest == pushed.digest
        assert shop.access == "tls", "a flipped bit went unnoticed"
    except Corrupt:
        assert shown(other) == []
    assert line.passed > line.corrupt
    assert other.images.pull(name).digest == pushed.digest
    check_sound(other)


def test_a_line_that_corrupts_what_is_pushed(
    shop: Shop, source: Engine, other: Engine, line: BadLine
) -> None:
    """A flipped bit of an upload never gets a name; the next push is right."""
    name = f"{shop.host}/spoilt:1"
    source.images.tag("noise:1", name)
    line.spoil = line.sent + _SIZE
    try:
        source.images.push(name)
        assert shop.access == "tls", "a flipped bit went unnoticed"
    except TiffinError:
        with pytest.raises(TiffinError):
            other.images.pull(name)
    assert line.sent > line.spoil
    (pushed,) = source.images.push(name)
    assert other.images.pull(name).digest == pushed.digest
    check_sound(other)


def test_without_a_login(shop: Shop, source: Engine, tmp_path: Path) -> None:
    """Who has not logged in gets nothing where a login is asked for, and a wrong password is refused."""
    if not shop.asks:
        return
    name = f"{shop.host}/closed:1"
    source.images.tag("noise:1", name)
    source.images.push(name)
    with shop.visited_by(tmp_path / "stranger", login=False) as stranger:
        with pytest.raises(TiffinError):
            stranger.images.pull(name)
        with pytest.raises(Unauthorized) as refused:
            stranger.system.login(shop.host, _USER, "guessed-wrong")
        assert "guessed-wrong" not in f"{refused.value} {refused.value.hint}"
        assert shown(stranger) == []
