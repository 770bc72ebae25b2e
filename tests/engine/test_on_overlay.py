"""A store that itself lies on overlayfs, as every container's in a pod: all works, by copies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import tiffin
from tests.engine.conftest import base_context, make_engine
from tests.engine.parts import check_sound
from tests.engine.test_containers import config
from tests.store.parts import mounted
from tiffin.engine.commit import CommitRequest
from tiffin.engine.engine import Engine
from tiffin.engine.streams import communicate
from tiffin.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts an overlay")

_DOCKERFILE = """\
FROM base:1
RUN mkdir -p /srv/deep && echo old > /srv/deep/old && echo x > /srv/gone
RUN rm /data/seed /srv/gone && rm -r /srv/deep && mkdir /srv/deep && echo new > /srv/deep/new
RUN echo newer >> /srv/deep/new && ! test -e /data/seed && ! test -e /srv/deep/old
COPY busybox /data/file
RUN test -s /data/file && ! test -e /srv/gone && ! test -e /srv/deep/old
"""


@pytest.fixture(scope="module")
def on_overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose store has `base:1` and lies on an overlay."""
    folder = tmp_path_factory.mktemp("on-overlay")
    for name in ("lower", "upper", "work"):
        (folder / name).mkdir()
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    with mounted("overlay", f"{folder}/on", options), make_engine(folder / "on") as engine:
        engine.images.build(base_context(folder / "context"), tags=["base:1"])
        yield engine
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True, volumes=True)


def test_it_is_tried_once_and_said(on_overlay: Engine) -> None:
    """The store remembers what works; `info` tells the driver."""
    assert on_overlay.settings.snapshotter == "copy"
    assert on_overlay.system.info()["Driver"] == "vfs"
    assert on_overlay.store.database.meta["marks"] == "own"


def to_end(engine: Engine, name: str) -> bytes:
    """Start a container and return what it printed until it ended."""
    out = bytearray()
    with engine.containers.start(name, attach=True) as connection:
        assert communicate(connection, b"", lambda _stream, data: out.extend(data)) == 0
    return bytes(out)


def test_a_container_lives_there(on_overlay: Engine) -> None:
    """What a container wrote is there when it starts again, in `diff`, `export`, `commit`, and its size."""
    engine = on_overlay
    script = "cat /data/seed 2>/dev/null; ls -d /proc/self; echo once >> /data/once; rm -f /data/seed"
    name = engine.containers.create(config("sh", "-c", script)).id
    assert to_end(engine, name) == b"seed\n/proc/self\n"
    changes = [(change.path, change.kind) for change in engine.containers.diff(name)]
    assert changes == [("/data", "C"), ("/data/once", "A"), ("/data/seed", "D")]
    assert engine.containers.inspect(name, size=True)["SizeRw"] == 5
    assert to_end(engine, name) == b"/proc/self\n"
    engine.containers.commit(name, CommitRequest(name="life:1"))
    with open(os.devnull, "wb") as out:
        engine.containers.export(name, out)
    done = tiffin.run("life:1", ["sh", "-c", "cat /data/once; ls /data"], engine=engine)
    assert done.stdout == b"once\nonce\nonce\n"
    engine.containers.remove(name)
    engine.images.remove("life:1")


def test_steps_see_what_the_steps_before_deleted(on_overlay: Engine, tmp_path: Path) -> None:
    """A build's steps delete and replace; layers have the marks, and a pull elsewhere would see them."""
    context = base_context(tmp_path / "context")
    built = on_overlay.images.build(context, dockerfile=_DOCKERFILE, tags=["steps:1"])
    done = tiffin.run("steps:1", ["cat", "/srv/deep/new"], engine=on_overlay)
    assert done.stdout == b"new\nnewer\n"
    with open(tmp_path / "saved.tar", "wb") as stream:
        on_overlay.images.save(["steps:1"], stream)
    with make_engine(tmp_path / "elsewhere") as other, open(tmp_path / "saved.tar", "rb") as stream:
        other.images.load(stream)
        assert other.store.images.resolve("steps:1").id == built.image_id
        done = tiffin.run("steps:1", ["sh", "-c", "echo /data/* /srv/* /srv/deep/*"], engine=other)
        assert done.stdout == b"/data/file /srv/deep /srv/deep/new\n"
        check_sound(other)
    on_overlay.images.remove("steps:1")


_REPRODUCED = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV PATH=/bin
RUN mkdir -p /a/b/c /d/e && echo x > /a/b/file && ln /a/b/file /a/link && ln -s b /a/soft && mkfifo /d/pipe \\
 && echo gone > /d/gone && echo same > /d/same && chown 5:6 /d/e && chmod 4755 /a/b/file && echo w > /d/when
RUN rm /d/gone && rm -r /a/b/c && mkdir /a/b/c && rm -r /d/e && mkdir /d/e && echo y > /d/e/new \\
 && chmod 644 /d/same && chown -R 7:8 /a/b && rm /a/link && mv /d/when /d/then && touch /a/b
COPY --chown=3:4 busybox /d/e/
RUN cp -p /d/same /d/s2 && mv /d/s2 /d/same && rm -r /a && mkdir -p /a/z
"""


@pytest.mark.parametrize("kind", ["overlay", "copy"])
def test_the_digest_is_the_same_on_every_snapshotter(on_overlay: Engine, tmp_path: Path, kind: str) -> None:
    """With SOURCE_DATE_EPOCH one context gives one image, whatever the store lies on and however it works."""
    context = base_context(tmp_path / "context")
    given = {"dockerfile": _REPRODUCED, "build_args": {"SOURCE_DATE_EPOCH": "1700000000"}, "no_cache": True}
    expected = on_overlay.images.build(context, tags=["same:1"], **given).image_id
    layers = on_overlay.images.inspect("same:1")["RootFS"]["Layers"]
    settings = Settings.from_environment(
        {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "TIFFIN_SNAPSHOTTER": kind,
            "TIFFIN_DURABLE": "0",
        },
        root=f"{tmp_path}/root",
        run=f"{tmp_path}/run",
    )
    with Engine(settings) as other:
        built = other.images.build(context, tags=["same:1"], **given).image_id
        assert other.images.inspect("same:1")["RootFS"]["Layers"] == layers
    assert built == expected
    on_overlay.images.remove("same:1")


def test_nothing_stays(on_overlay: Engine) -> None:
    """After all that the store is whole, with no folder of a container and no draft."""
    check_sound(on_overlay)
    assert os.listdir(on_overlay.store.layout.containers) == []
    assert os.listdir(on_overlay.store.layout.drafts) == []
