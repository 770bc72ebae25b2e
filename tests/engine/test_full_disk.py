"""A store whose disk is full or read-only: clear refusals, a store that works on, and ways to make room."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import base_context, make_engine
from tests.engine.parts import Shelf, check_sound, file, layer, shown, sweep
from tests.rungs import needs_root
from tests.servers import DockerRegistry, ScriptedServer
from tests.store.parts import mounted
from tiffin.engine.quick import run_to_end
from tiffin.errors import BuildFailed, StorageFull
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.store.database import RESERVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

pytestmark = needs_root

ROOM = 24 << 20
NO_ROOM = r"(?i)no space left on device|disk is full"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Engine]:
    """An engine with `base:1` whose store lies on 24 MB."""
    context = base_context(tmp_path / "context")
    with (
        mounted("tmpfs", str(tmp_path / "disk"), f"size={ROOM}"),
        make_engine(tmp_path / "disk") as engine,
    ):
        engine.images.build(context, tags=["base:1"])
        yield engine
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True)


def fill(engine: Engine, *, leave: int = 0) -> str:
    """Take what room there is, but for some bytes; return the file that takes it."""
    path = f"{os.path.dirname(engine.settings.root)}/filler"
    with open(path, "wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1 << 8):
            while True:
                try:
                    if stream.write(bytes(size)) < size:
                        break
                except OSError:
                    break
        stream.truncate(max(0, stream.tell() - leave))
    return path


def hello(engine: Engine) -> None:
    """A container of `base:1` runs."""
    config = ContainerConfig(image="base:1", cmd=("echo", "hello"))
    done = run_to_end(engine, config, HostConfig(auto_remove=True), b"")
    assert (done.exit_code, done.stdout) == (0, b"hello\n")


def create_many(engine: Engine) -> None:
    """Make containers until there is no room: SQLite has a little of its own."""
    for _ in range(200):
        engine.containers.create(ContainerConfig(image="base:1", cmd=("true",)), HostConfig())


def test_a_pull_too_large(small: Engine) -> None:
    """Whether the blob or the unpacked layer has no room: StorageFull, nothing is left, a small one fits."""
    shelf = Shelf()
    shelf.image("random", layer(file("a")), layer(file("big", os.urandom(ROOM))))
    shelf.image("zeros", layer(file("a")), layer(file("big", bytes(range(256)) * (ROOM >> 8))))
    shelf.image("small", layer(file("a")))
    before = _free(small)
    with ScriptedServer(shelf.answer) as server:
        for tag in ("random", "zeros"):
            with pytest.raises(StorageFull, match=NO_ROOM):
                small.images.pull(f"{server.host}/big:{tag}")
            assert shown(small) == ["base:1"]
            check_sound(small)
            assert _free(small) > before - (1 << 20)
        small.images.pull(f"{server.host}/big:small")
    hello(small)
    check_sound(small)


def _free(engine: Engine) -> int:
    info = os.statvfs(engine.settings.root)
    return info.f_bavail * info.f_bsize


def test_a_build_too_large(small: Engine, tmp_path: Path) -> None:
    """A COPY without room is StorageFull, a RUN fails as its program does; tag and room stay."""
    (tmp_path / "big").mkdir()
    (tmp_path / "big/data").write_bytes(os.urandom(ROOM))
    small.images.tag("base:1", "app:1")
    before = _free(small)
    (tmp_path / "big/Dockerfile").write_text("FROM base:1\nCOPY data /data/\n")
    with pytest.raises(StorageFull, match=NO_ROOM) as full:
        small.images.build(str(tmp_path / "big"), tags=["app:1"])
    assert "prune" in full.value.hint
    with pytest.raises(BuildFailed) as failed:
        small.images.build(
            dockerfile="FROM base:1\nRUN dd if=/dev/zero of=/zeros bs=1M count=100\n", tags=["app:1"]
        )
    assert b"No space left on device" in failed.value.step.output
    assert small.images.get("app:1").id == small.images.get("base:1").id
    assert _free(small) > before - (1 << 20)
    check_sound(small)
    small.images.build(dockerfile="FROM base:1\nRUN echo small > /small\n", tags=["app:1"])
    hello(small)


def test_a_full_disk_refuses_and_works_again(small: Engine) -> None:
    """With no byte left nothing new can be made, and it says so; with a little, things can be removed."""
    old = small.containers.create(ContainerConfig(image="base:1", cmd=("true",)), HostConfig()).id
    small.images.build(dockerfile="FROM base:1\nRUN dd if=/dev/zero of=/z bs=1k count=600\n", tags=["old:1"])
    filler = fill(small)
    with pytest.raises(StorageFull, match=NO_ROOM):
        small.images.build(dockerfile="FROM base:1\nRUN echo x > /x\nRUN echo y > /y\n")
    with pytest.raises(StorageFull, match=NO_ROOM):
        create_many(small)
    assert small.images.get("base:1")
    assert len(small.containers.list(all=True)) >= 1
    os.truncate(filler, os.path.getsize(filler) - (256 << 10))
    small.containers.remove(old)
    small.images.remove("old:1")
    small.system.prune_build_cache()
    os.unlink(filler)
    for view in small.containers.list(all=True):
        small.containers.remove(view.id)
    sweep(small)
    hello(small)
    check_sound(small)


REMOVALS = (
    ("rm", "stopped"),
    ("rm", "-f", "-v", "running"),
    ("volume", "rm", "data"),
    ("rmi", "old:1"),
    ("container", "prune", "-f"),
    ("volume", "prune", "-af"),
    ("image", "prune", "-af"),
    ("builder", "prune", "-af"),
    ("system", "prune", "-af", "--volumes"),
)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("words", REMOVALS, ids=" ".join)
def test_what_removes_works_with_no_byte_left(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    """Every command that removes does so on a full disk, also where SQLite must make its files anew."""
    with small_disk(tmp_path, kind) as folder, make_engine(folder) as engine:
        engine.images.build(base_context(tmp_path / "context"), tags=["base:1"])
        for number in range(3):
            script = f"dd if=/dev/zero of=/z{number} bs=1k count=100"
            engine.images.build(dockerfile=f"FROM base:1\nRUN {script}\n", tags=["old:1"])
        engine.volumes.create("data")
        sleep = ContainerConfig(image="base:1", cmd=("sleep", "1000"))
        for name in ("stopped", "running"):
            made = engine.containers.create(sleep, HostConfig(), name=name)
        engine.containers.start(made.id).close()
        try:
            engine.close()
            filler = fill(engine)
            before = len(os.listdir(engine.store.layout.layers))
            assert _free(engine) == 0
            settings = engine.settings
            at = ("--root", settings.root, "--run", settings.run)
            done = subprocess.run(
                [sys.executable, "-m", "tiffin", *at, *words], capture_output=True, check=False, timeout=60
            )
            assert done.returncode == 0, done.stderr.decode()
            os.unlink(filler)
        finally:
            with make_engine(folder) as again:
                for view in again.containers.list(all=True):
                    again.containers.remove(view.id, force=True)
        with make_engine(folder) as again:
            assert len(os.listdir(again.store.layout.layers)) <= before
            again.volumes.create("more")
            again.volumes.remove("more")
            assert os.path.getsize(f"{again.settings.root}/reserve") == RESERVE_SIZE
            check_sound(again)


@contextlib.contextmanager
def small_disk(tmp_path: Path, kind: str) -> Iterator[Path]:
    """Mount a small file system of a kind; its folder."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    if kind == "tmpfs":
        words = ["-t", "tmpfs", "-o", f"size={ROOM}", "tiffin-test"]
    else:
        with open(image, "wb") as stream:
            stream.truncate(ROOM * 2)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        words = ["-o", "loop", str(image)]
    subprocess.run(["mount", *words, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_what_a_load_or_a_push_needs_room_for(small: Engine, tmp_path: Path) -> None:
    """An archive from a pipe, and the compressed form of a layer, are StorageFull and leave nothing."""
    (tmp_path / "big").mkdir()
    (tmp_path / "big/data").write_bytes(os.urandom(ROOM // 2))
    (tmp_path / "big/Dockerfile").write_text("FROM scratch\nCOPY data /\n")
    with DockerRegistry(str(tmp_path / "registry")) as registry, make_engine(tmp_path / "other") as other:
        name = f"{registry.host}/big:1"
        small.images.build(str(tmp_path / "big"), tags=[name])
        before = _free(small)
        with pytest.raises(StorageFull, match=NO_ROOM):
            small.images.push(name)
        check_sound(small)
        assert _free(small) > before - (1 << 20)
        (tmp_path / "big/data").write_bytes(os.urandom(2 * ROOM))
        other.images.build(str(tmp_path / "big"), tags=["larger:1"])
        with open(tmp_path / "saved.tar", "wb") as out:
            other.images.save(["larger:1"], out)
    with subprocess.Popen(["cat", str(tmp_path / "saved.tar")], stdout=subprocess.PIPE) as pipe:
        assert isinstance(pipe.stdout, io.BufferedReader)
        with pytest.raises(StorageFull, match=NO_ROOM):
            small.images.load(pipe.stdout)
    with open(tmp_path / "saved.tar", "rb") as archive, pytest.raises(StorageFull, match=NO_ROOM):
        small.images.load(archive)
    check_sound(small)
    assert _free(small) > before - (1 << 20)
    hello(small)


@contextlib.contextmanager
def read_only_view(folder: str, place: str) -> Iterator[None]:
    """Show a folder at another place, where nothing can be written."""
    os.mkdir(place)
    subprocess.run(["mount", "--bind", "-o", "ro", folder, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_read_only_root(tmp_path: Path) -> None:
    """A store on a read-only disk says so, and is as it was when the disk is back."""
    disk, context = tmp_path / "disk", base_context(tmp_path / "context")
    with make_engine(disk) as engine:
        engine.images.build(context, tags=["base:1"])
    with read_only_view(str(disk), str(tmp_path / "view")):
        with pytest.raises(StorageFull, match=r"state\.db") as refused:
            make_engine(tmp_path / "view")
        assert refused.value.hint == "the store must lie on a file system that can be written"
    with make_engine(disk) as engine:
        hello(engine)
        check_sound(engine)
