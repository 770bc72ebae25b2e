"""Images over a bad line: cut, corrupted, slow, or dead; against real registries."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import check_sound, shown
from tests.servers import REGISTRIES, BadLine, LoggedRegistry
from tiffin.engine.engine import Engine
from tiffin.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LAYERS, _SIZE = 3, 4 << 20
_KEPT_BACK = 5 * (64 << 10)
_TIFFIN = "from tiffin.cli.entry import main; main()"


@pytest.fixture(scope="module", params=REGISTRIES)
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoggedRegistry]:
    """Debian's registry, then the one in the box."""
    with REGISTRIES[request.param](str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with `noise:1`: three layers of bytes that nothing makes smaller."""
    folder = tmp_path_factory.mktemp("source")
    context = folder / "context"
    context.mkdir()
    lines = ["FROM scratch"]
    for number in range(_LAYERS):
        (context / f"noise{number}").write_bytes(os.urandom(_SIZE))
        lines.append(f"COPY noise{number} /noise{number}")
    (context / "Dockerfile").write_text("\n".join(lines))
    with make_engine(folder) as engine:
        engine.images.build(str(context), tags=["noise:1"])
        yield engine


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with make_engine(tmp_path / "other") as engine:
        yield engine


def published(source: Engine, registry: LoggedRegistry, path: str) -> str:
    """Push the image; return its id."""
    name = f"{registry.host}/{path}:1"
    source.images.tag("noise:1", name)
    source.images.push(name)
    source.images.remove(name)
    return source.images.get("noise:1").id


def test_a_line_that_is_cut_again_and_again(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """Every connection ends after a few megabytes: push and pull go on, and little is fetched twice."""
    # Debian's registry forgets an upload whose connection broke: one blob has to fit.
    with BadLine(registry.port, cut=_SIZE + (2 << 20)) as line:
        name = f"{line.host}/cut:1"
        source.images.tag("noise:1", name)
        (pushed,) = source.images.push(name)
        source.images.remove(name)
        line.cut = 1 << 20
        connections, before = line.connections, line.passed
        pulled = other.images.pull(name)
        assert (pulled.digest, pulled.image_id) == (pushed.digest, source.images.get("noise:1").id)
        assert line.connections - connections >= _LAYERS * 4
        assert line.passed - before < 1.2 * _LAYERS * _SIZE
    check_sound(other)


def test_an_upload_goes_on_where_it_broke_off(source: Engine, tmp_path: Path) -> None:
    """A registry that keeps what came of a broken upload gets the rest, in the same session."""
    with REGISTRIES["box"](str(tmp_path)) as box, BadLine(box.port, cut=1 << 20) as line:
        name = f"{line.host}/cut:1"
        source.images.tag("noise:1", name)
        source.images.push(name)
        source.images.remove(name)
        assert box.requests("POST /v2/cut/blobs/uploads/") == _LAYERS + 1, "one session a blob"
        assert box.requests("PATCH /v2/cut/blobs/uploads/") >= _LAYERS * 2


def test_a_line_that_corrupts(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """A flipped bit is noticed, whatever it is in, and nothing of it stays; the next pull is right."""
    image = published(source, registry, "flipped")
    with BadLine(registry.port, corrupt=2 * _SIZE) as line:
        name = f"{line.host}/flipped:1"
        with pytest.raises(Corrupt, match="failed to verify"):
            other.images.pull(name)
        assert shown(other) == []
        assert other.images.pull(name).image_id == image
    check_sound(other)


def test_a_slow_line(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """A throttled line, with a delay before everything that passes, is no trouble both ways."""
    with BadLine(registry.port, pace=0.002) as line:
        name = f"{line.host}/slow:1"
        source.images.tag("noise:1", name)
        (pushed,) = source.images.push(name)
        source.images.remove(name)
        assert other.images.pull(name).digest == pushed.digest
    check_sound(other)


def test_a_pull_that_waits_for_the_disk(source: Engine, registry: LoggedRegistry, tmp_path: Path) -> None:
    """What is synced while a slow line brings it is the image that was pushed, and whole."""
    image = published(source, registry, "synced")
    with make_engine(tmp_path) as plain:
        settings = plain.settings.replace(durable=True)
    with BadLine(registry.port, pace=0.002) as line, Engine(settings) as durable:
        assert durable.images.pull(f"{line.host}/synced:1").image_id == image
        check_sound(durable)


def test_a_killed_pull_does_not_start_over(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """A pull killed at 60 % transfers at most 41 % in the second run, as the registry's own log has it.

    What came counts once it is on disk; nothing of that is asked for again. The second run asks for the same
    image by another name, which tells its lines in the log from late ones of the first.
    """
    image = published(source, registry, "killed")
    published(source, registry, "again")
    total = _LAYERS * _SIZE
    # Beyond 60 %: manifests pass too, and the line keeps back a piece of each connection when it stops.
    with BadLine(registry.port, stop=total * 6 // 10 + _KEPT_BACK) as line:
        name = f"{line.host}/killed:1"
        layout = other.store.layout
        command = [
            sys.executable,
            "-c",
            _TIFFIN,
            "--root",
            layout.root,
            "--run",
            layout.run,
            "pull",
            "-q",
            name,
        ]
        with subprocess.Popen(command, env=dict(other.settings.environment)) as pull:
            assert line.stopped.wait(60)
            deadline = time.monotonic() + 60
            while (here := _on_disk(other)) < total * 6 // 10 and time.monotonic() < deadline:
                os.sched_yield()
            pull.kill()
        line.stop = 0
        line._closing.set()
        assert other.images.pull(f"{line.host}/again:1").image_id == image
        registry.requests("x")
        sent = sum(map(_sent, registry.log))
    assert 0.6 * total <= here < 0.7 * total
    assert 0.3 * total < sent <= 0.41 * total
    check_sound(other)


def _on_disk(engine: Engine) -> int:
    """Return the bytes of blobs that are here, whole or not."""
    found = 0
    for folder in (engine.store.layout.ingest, f"{engine.store.layout.content}/blobs/sha256"):
        with os.scandir(folder) as listing:
            for entry in listing:
                with contextlib.suppress(FileNotFoundError):
                    found += entry.stat().st_size
    return found


def _sent(line: str) -> int:
    """Return the bytes of a blob that a line of a registry's access log says were sent."""
    found = re.search(r'"?GET /v2/again/blobs/\S+(?: HTTP/1\.1")? 20[06] (\d+)', line)
    return int(found[1]) if found else 0
