"""Several commands at once on the same thing: all agree, or exactly one wins; never half of each."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import base_context, make_engine
from tests.engine.parts import Shelf, check_sound, file, layer, sweep
from tests.servers import ScriptedServer
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine
    from tiffin.settings import Settings

AT_ONCE = 4


class Commands:
    """Starts commands on the store of an engine together and waits for all."""

    def __init__(self, engine: Engine, settings: Settings | None = None) -> None:
        """Use its root, or another."""
        self.engine = engine
        self.settings = settings or engine.settings

    def together(self, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
        """Return (exit code, what it printed) of each."""
        settings = self.settings
        program = [sys.executable, "-m", "tiffin", "--root", settings.root, "--run", settings.run]
        started = [
            subprocess.Popen(
                [*program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TIFFIN_DURABLE": "0"},
            )
            for words in commands
        ]
        outputs = [process.communicate(timeout=120)[0].decode() for process in started]
        return [(process.returncode, out) for process, out in zip(started, outputs, strict=True)]

    def all_well(self, *commands: tuple[str, ...]) -> list[str]:
        """Run them; all succeed."""
        done = self.together(*commands)
        assert [code for code, _ in done] == [0] * len(commands), done
        return [out for _, out in done]


@pytest.fixture
def at_once(tmp_path: Path) -> Iterator[Commands]:
    """A store with `base:1`, sound at the end."""
    with make_engine(tmp_path) as engine:
        engine.images.build(base_context(tmp_path / "context"), tags=["base:1"])
        yield Commands(engine)
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True, volumes=True)
        sweep(engine)
        check_sound(engine)


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry with two images that share a layer of 2 MB; its host."""
    shelf = Shelf()
    below = layer(file("below", os.urandom(2 << 20)))
    shelf.image("1", below, layer(file("one", os.urandom(1 << 20))))
    shelf.image("2", below, layer(file("two", os.urandom(1 << 20))))
    with ScriptedServer(shelf.answer) as server:
        yield server.host


def test_pulls_of_one_image(at_once: Commands, registry: str) -> None:
    """Several pulls of one image, and of one that shares its layer, all succeed and leave one of each."""
    names = [f"{registry}/shop:{tag}" for tag in ("1", "2")]
    at_once.all_well(*[("pull", "-q", name) for name in names * 2])
    assert len(at_once.engine.images.list()) == 3
    one, two = (at_once.engine.images.get(name) for name in names)
    assert one.layers[0] == two.layers[0]


def test_pull_against_rmi(at_once: Commands, registry: str) -> None:
    """However removals and sweeps fall between pulls, the image is whole or not there."""
    name, other = f"{registry}/shop:1", f"{registry}/shop:2"
    for _ in range(3):
        at_once.engine.images.pull(other)
        done = at_once.together(
            ("pull", "-q", name), ("rmi", other), ("pull", "-q", name), ("image", "prune", "-af")
        )
        assert done[0][0] == done[2][0] == 0, done
        assert [f for f in at_once.engine.system.fsck() if f.is_damage] == []


def test_builds_of_one_tag(at_once: Commands, tmp_path: Path) -> None:
    """The same build several times at once: all agree on the id. Different ones: the last has the tag."""
    (tmp_path / "Dockerfile").write_text("FROM base:1\nRUN echo same > /same\nRUN cat /same > /again\n")
    words = ("build", "-q", "-t", "app:1", "-f", str(tmp_path / "Dockerfile"), str(tmp_path / "context"))
    ids = {out.strip() for out in at_once.all_well(*[words] * AT_ONCE)}
    assert at_once.engine.images.get("app:1").id in ids
    layers = {at_once.engine.images.get(image_id).layers for image_id in ids}
    files = {at_once.engine.store.stack(chain).read("/again") for chain in layers}
    assert files == {b"same\n"}


def test_containers_of_one_name(at_once: Commands) -> None:
    """Of several `run --name web` exactly one wins; the others say who has the name."""
    done = at_once.together(*[("run", "-d", "--name", "web", "base:1", "sleep", "1000")] * AT_ONCE)
    winners = [out.strip() for code, out in done if code == 0]
    assert len(winners) == 1, done
    for code, out in done:
        if code:
            assert code == 125
            assert f'The container name "/web" is already in use by container "{winners[0]}"' in out
    (view,) = at_once.engine.containers.list(all=True)
    assert (view.id, view.state.status) == (winners[0], "running")


def test_starts_and_removals_of_one_container(at_once: Commands) -> None:
    """Started at once it runs once; removed at once it is gone, whoever was told so."""
    config = ContainerConfig(image="base:1", cmd=("sleep", "1000"))
    made = at_once.engine.containers.create(config, HostConfig(), name="web").id
    at_once.all_well(*[("start", "web")] * AT_ONCE)
    assert at_once.engine.containers.state(made).running
    done = at_once.together(*[("rm", "-f", "web")] * AT_ONCE)
    assert any(code == 0 for code, _ in done)
    for code, out in done:
        assert not code or "No such container: web" in out, done
    assert at_once.engine.containers.list(all=True) == ()
    assert os.listdir(at_once.engine.store.layout.containers) == []


def test_removals_of_one_image(at_once: Commands, registry: str) -> None:
    """Of several `rmi` one removes the image, the others say that it is not there."""
    name = f"{registry}/shop:1"
    at_once.engine.images.pull(name)
    done = at_once.together(*[("rmi", name)] * AT_ONCE)
    assert sum("Deleted:" in out for _, out in done) == 1, done
    for code, out in done:
        assert not code or f"No such image: {name}" in out, done


def test_run_against_rmi(at_once: Commands) -> None:
    """An image removed while containers are made of it: each runs, or says that the image is not there."""
    for number in range(3):
        at_once.engine.images.build(dockerfile=f"FROM base:1\nRUN echo {number} > /n\n", tags=["app:1"])
        at_once.engine.system.prune_build_cache(all=True)
        run = ("run", "--rm", "--pull", "never", "app:1", "cat", "/n")
        done = at_once.together(run, ("rmi", "-f", "app:1"), run)
        for code, out in (done[0], done[2]):
            assert (code, out) == (0, f"{number}\n") or (code == 125 and "No such image" in out), done


def test_a_first_opening_by_many(tmp_path: Path) -> None:
    """Several first commands make one store together."""
    (tmp_path / "none").mkdir()
    with make_engine(tmp_path / "scratch") as engine:
        settings = engine.settings.replace(root=str(tmp_path / "new"), run=str(tmp_path / "new.run"))
        Commands(engine, settings).all_well(*[("images", "-q")] * AT_ONCE)
