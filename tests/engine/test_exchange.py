"""Images go to and come from other people's tools by archive and by layout, and stay the same images."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import check_sound
from tests.layer.trees import facts
from tests.rungs import judged_as_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

MADE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "archive/made")
DOCKERS = "sha256:57056e34818f45a648baf62725dd92a8e532cc39cfad1bd2472e2ebec20600c1"
SHOP = """\
FROM base:1
COPY files /files
RUN ln /files/a /files/hard && ln -s a /files/soft && chmod 4755 /files/a && mkfifo /files/fifo
RUN rm -r /data && chown 7:8 /files
LABEL shop=yes
"""


def run(*words: str) -> str:
    """Run one of the tools."""
    done = subprocess.run(words, capture_output=True, check=False, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, shared_engine: Engine) -> Iterator[Engine]:
    """An engine with `shop:1`: every kind of file, a deletion, an owner."""
    context = tmp_path_factory.mktemp("shop")
    (context / "files").mkdir()
    (context / "files/a").write_text("a")
    (context / "Dockerfile").write_text(SHOP)
    shared_engine.images.build(str(context), tags=["shop:1"])
    yield shared_engine
    shared_engine.images.remove("shop:1")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with make_engine(tmp_path / "other") as engine:
        yield engine
        check_sound(engine)


def saved(engine: Engine, path: Path, *names: str) -> str:
    """Save images to a file; return its path."""
    with open(path, "wb") as out:
        engine.images.save(names, out)
    return str(path)


def layers(engine: Engine, name: str) -> list[str]:
    """Return the digests of an image's layers."""
    return list(engine.images.inspect(name)["RootFS"]["Layers"])


@pytest.fixture
def podman() -> Iterator[Callable[..., str]]:
    """The command podman, on a store of its own (its run folder must have a short name)."""
    with tempfile.TemporaryDirectory(prefix="podman-") as folder:
        at = ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/libpod")
        yield lambda *words: run("podman", *at, "--storage-driver", "vfs", *words)


@judged_as_root
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci-dir"])
def test_podman(source: Engine, other: Engine, tmp_path: Path, podman: Callable[..., str], kind: str) -> None:
    """What is saved here loads into podman and back, with the same id and the same layers all the way."""
    podman("load", "-i", saved(source, tmp_path / "ours.tar", "shop:1"))
    image_id = source.images.get("shop:1").id
    assert podman("images", "--no-trunc", "-q") == f"{image_id}\n"
    told = json.loads(podman("image", "inspect", image_id))[0]
    assert told["RootFS"]["Layers"] == layers(source, "shop:1")
    theirs = str(tmp_path / "theirs")
    podman("save", "--format", kind, "-o", theirs, "docker.io/library/shop:1")
    if kind == "oci-dir":
        (line,) = other.images.load(theirs)
    else:
        with open(theirs, "rb") as stream:
            (line,) = other.images.load(stream)
    name = line.rpartition(": ")[2]
    assert layers(other, name) == layers(source, "shop:1")
    assert other.images.get(name).id == image_id


def test_docker(source: Engine, other: Engine, tmp_path: Path) -> None:
    """What docker 20.10 saved (layers linked to one another) loads under its names, with docker's ids."""
    with lzma.open(f"{MADE}/docker-20.10.tar.xz") as packed, open(tmp_path / "docker.tar", "wb") as out:
        out.write(packed.read())
    with open(f"{MADE}/docker-20.10.tar.xz", "rb") as stream:
        lines = other.images.load(stream)
    assert sorted(lines) == [f"Loaded image: made/by:{tag}" for tag in ("alias", "docker", "second")]
    assert other.images.get("made/by:docker").id == DOCKERS
    told = json.loads(
        run("skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/docker.tar:made/by:second")
    )
    assert told["rootfs"]["diff_ids"] == layers(other, "made/by:second")
    again = saved(other, tmp_path / "again.tar", "made/by")
    for tag in ("alias", "docker", "second"):
        raw = run("skopeo", "inspect", "--config", "--raw", f"docker-archive:{again}:made/by:{tag}")
        assert json.loads(raw)["rootfs"]["diff_ids"] == layers(other, f"made/by:{tag}")


@judged_as_root
def test_umoci(source: Engine, other: Engine, tmp_path: Path) -> None:
    """A layout that umoci changed loads from its folder; what is saved here it unpacks to the same tree."""
    layout = f"{tmp_path}/layout"
    run(
        "skopeo",
        "--insecure-policy",
        "copy",
        f"oci-archive:{saved(source, tmp_path / 'a.tar', 'shop:1')}",
        f"oci:{layout}:1",
    )
    run("umoci", "unpack", "--image", f"{layout}:1", f"{tmp_path}/bundle")
    stack = source.store.stack(source.images.get("shop:1").layers)
    unpacked = facts(f"{tmp_path}/bundle/rootfs", times=False)
    assert sorted(unpacked)[1:] == sorted(path[1:] for path, _ in stack.walk() if path != "/")
    for path, fact in unpacked.items():
        info = stack.lstat(f"/{path}")
        assert info is not None
        assert fact[:3] == (oct(info.st_mode), info.st_uid, info.st_gid)
    (tmp_path / "bundle/rootfs/more").write_text("more")
    os.unlink(tmp_path / "bundle/rootfs/files/soft")
    run("umoci", "repack", "--image", f"{layout}:2", f"{tmp_path}/bundle")
    run("umoci", "config", "--image", f"{layout}:2", "--config.cmd", "x")
    lines = other.images.load(layout)
    assert len(lines) == 2
    changed = max((view.id for view in other.images.list()), key=lambda name: len(layers(other, name)))
    assert layers(other, changed)[:-1] == layers(source, "shop:1")
    view = other.store.stack(other.images.get(changed).layers)
    assert view.read("/more") == b"more"
    assert view.lstat("/files/soft") is None
    assert other.images.inspect(changed)["Config"]["Cmd"] == ["x"]


def test_a_layout_of_skopeo(source: Engine, other: Engine, tmp_path: Path) -> None:
    """A layout that skopeo writes is loaded from its folder; no name in it says of what it is one."""
    archive = f"oci-archive:{saved(source, tmp_path / 'a.tar', 'shop:1')}"
    run("skopeo", "--insecure-policy", "copy", archive, f"oci:{tmp_path}/out")
    image_id = source.images.get("shop:1").id
    assert other.images.load(str(tmp_path / "out")) == (f"Loaded image ID: {image_id}",)


def test_zstd_chunked_is_zstd(source: Engine, other: Engine, tmp_path: Path) -> None:
    """Layers in frames, with a list of contents in a frame behind them, unpack to the same layers."""
    archive = f"oci-archive:{saved(source, tmp_path / 'a.tar', 'shop:1')}"
    way = ("--dest-compress", "--dest-compress-format", "zstd:chunked")
    run("skopeo", "--insecure-policy", "copy", *way, archive, f"oci:{tmp_path}/chunked:1")
    told = json.loads(run("skopeo", "inspect", "--raw", f"oci:{tmp_path}/chunked:1"))
    assert all("io.containers.zstd-chunked.manifest-position" in one["annotations"] for one in told["layers"])
    (line,) = other.images.load(str(tmp_path / "chunked"))
    name = line.rpartition(": ")[2]
    assert layers(other, name) == layers(source, "shop:1")
    again = run("skopeo", "inspect", "--raw", f"oci-archive:{saved(other, tmp_path / 'b.tar', name)}")
    assert json.loads(again) == told


def test_the_same_image_always_gives_the_same_archive(source: Engine, other: Engine, tmp_path: Path) -> None:
    """Saved from the store that built it, or from one that loaded it, an archive has the same bytes."""
    first = saved(source, tmp_path / "1.tar", "shop:1", "base:1")
    with open(first, "rb") as stream:
        other.images.load(stream)
    second = saved(other, tmp_path / "2.tar", "shop:1", "base:1")
    with open(first, "rb") as one, open(second, "rb") as two:
        assert one.read() == two.read()
