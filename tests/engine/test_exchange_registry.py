"""Images go to podman and docker and come back through a registry, and through docker's own archives."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import docker
import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import check_sound
from tests.engine.test_exchange import layers, podman, saved, source
from tests.rungs import judged_as_root
from tests.servers import REGISTRIES, LoggedRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

__all__ = ["podman", "source"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with make_engine(tmp_path / "other") as engine:
        yield engine
        check_sound(engine)


@pytest.fixture(params=sorted(REGISTRIES))
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LoggedRegistry]:
    """Debian's registry, and our own."""
    with REGISTRIES[request.param](str(tmp_path / "registry")) as made:
        yield made


@pytest.fixture
def dockerd() -> Iterator[docker.DockerClient]:
    """A client of a docker engine with a store of its own, which touches no network of the host."""
    if not shutil.which("dockerd"):
        pytest.skip("no dockerd here (Debian: docker.io)")
    with tempfile.TemporaryDirectory(prefix="docker-") as folder:
        where = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "-p", f"{folder}/pid"]
        quiet = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
        words = ["dockerd", *where, *quiet, "-H", f"unix://{folder}/sock"]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            try:
                while "API listen" not in process.stderr.readline():
                    assert process.poll() is None
                with contextlib.closing(docker.DockerClient(f"unix://{folder}/sock", timeout=120)) as client:
                    yield client
            finally:
                process.terminate()
                process.communicate()


def to_and_fro(
    source: Engine, other: Engine, registry: LoggedRegistry, through: Callable[[str], str]
) -> None:
    """Push an image, let another engine pull and push it, pull that: the same image all the way."""
    ours = f"{registry.host}/ours/shop:1"
    source.images.tag("shop:1", ours)
    source.images.push(ours)
    theirs = through(ours)
    source.images.remove(ours)
    other.images.pull(theirs)
    assert layers(other, theirs) == layers(source, "shop:1")
    assert other.images.get(theirs).id == source.images.get("shop:1").id


@judged_as_root
def test_podman(source: Engine, other: Engine, registry: LoggedRegistry, podman: Callable[..., str]) -> None:
    """What podman pulls from us and pushes again has our image id and our layers."""

    def through(name: str) -> str:
        podman("pull", "-q", "--tls-verify=false", name)
        assert podman("images", "--no-trunc", "-q") == f"{source.images.get('shop:1').id}\n"
        again = f"{registry.host}/theirs/shop:1"
        podman("push", "-q", "--tls-verify=false", name, again)
        return again

    to_and_fro(source, other, registry, through)


@judged_as_root
def test_docker(
    source: Engine, other: Engine, registry: LoggedRegistry, dockerd: docker.DockerClient, tmp_path: Path
) -> None:
    """What docker pulls from us, or loads, and pushes or saves again, has our image id and our layers."""
    image_id = source.images.get("shop:1").id

    def through(name: str) -> str:
        pulled = dockerd.images.pull(*name.rsplit(":", 1))
        assert pulled.id == image_id
        assert pulled.attrs["RootFS"]["Layers"] == layers(source, "shop:1")
        pulled.tag(f"{registry.host}/theirs/shop", "1")
        dockerd.images.push(f"{registry.host}/theirs/shop", "1")
        return f"{registry.host}/theirs/shop:1"

    to_and_fro(source, other, registry, through)
    dockerd.images.remove(image_id, force=True)
    with open(saved(source, tmp_path / "ours.tar", "shop:1"), "rb") as stream:
        (loaded,) = dockerd.images.load(stream)
    assert loaded.id == image_id
    other.images.remove(f"{registry.host}/theirs/shop:1")
    with open(tmp_path / "theirs.tar", "wb") as out:
        out.writelines(loaded.save(named="shop:1"))
    with open(tmp_path / "theirs.tar", "rb") as stream:
        other.images.load(stream)
    assert other.images.get("shop:1").id == image_id
