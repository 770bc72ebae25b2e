"""Power cuts: a copy of the disk at the moment of "done" has the image, whole.

The disk is an ext4 file system in a file. What the kernel has not written yet is not in the file, so a
copy of it is what a machine would find after losing its power (the copy's journal is replayed).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import add_image, add_parts, settings_for
from tiffin.store import fsck, gc
from tiffin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {f"dir{n % 20}/file{n}": f"content of {n}\n" * 50 for n in range(400)}


@contextmanager
def disk(image: Path, point: Path) -> Iterator[str]:
    """Mount a file system from a file for the length of a block."""
    point.mkdir(exist_ok=True)
    tried = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no loop mounts here: {tried.stderr.strip()}")
    try:
        yield str(point)
    finally:
        subprocess.run(["umount", "-l", point], check=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty disk."""
    if not shutil.which("mkfs.ext4"):
        pytest.skip("mkfs.ext4 is not installed")
    path = tmp_path / "disk.img"
    with path.open("wb") as stream:
        stream.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    return path


def power_cut(image: Path) -> Path:
    """Return the disk as a machine would find it that loses its power now."""
    copy = image.with_name("after.img")
    shutil.copyfile(image, copy)
    return copy


def forget_boot(store: Store) -> None:
    """Make the store believe that the machine has been off."""
    store.database.execute("UPDATE meta SET value='before' WHERE key='boot'")


@pytest.mark.parametrize("again", [False, True])
def test_committed_image_survives_a_power_cut(image: Path, tmp_path: Path, again: bool) -> None:  # noqa: FBT001
    """After commit has returned, tag, config, blobs and every byte of every layer are on the disk."""
    with disk(image, tmp_path / "live") as live:
        store = Store(settings_for(live))
        if again:
            add_image(store, {"first": "image"}, tags=["first"])
        add_image(store, FILES, {"top": "layer"}, tags=["app"])
        store.volumes.ensure("data")
        after = power_cut(image)
        store.close()
    with disk(after, tmp_path / "after") as found:
        with Store(settings_for(found)) as store:
            forget_boot(store)
        with Store(settings_for(found)) as store:
            stack = store.stack(store.images.resolve("app").layers)
            for path, text in FILES.items():
                assert stack.read(path) == text.encode(), path
            assert fsck.check(store) == []
            assert os.path.isdir(store.volumes.get("data").path)


def test_unfinished_work_is_rubbish_after_a_power_cut(image: Path, tmp_path: Path) -> None:
    """Layers and blobs that no commit has synced are not believed after a cut, whatever is left of them."""
    with disk(image, tmp_path / "live") as live:
        store = Store(settings_for(live))
        add_image(store, {"a": "1"}, tags=["app"])
        sound = set(os.listdir(store.layout.layers))
        store.lease("pull")
        add_loose(store)
        after = power_cut(image)
        store.close()
    with disk(after, tmp_path / "after") as found:
        with Store(settings_for(found)) as store:
            forget_boot(store)
        with Store(settings_for(found)) as store:
            gc.sweep(store)
            assert fsck.check(store) == []
            assert set(os.listdir(store.layout.layers)) == sound
            add_loose(store)
            assert store.stack(store.images.resolve("app").layers).read("a") == b"1"


def add_loose(store: Store) -> None:
    """Add layers and blobs, and force the rows to disk, though not what they speak of."""
    add_parts(store, FILES)
    with store.database.durable():
        store.buildcache.remember("forces the log", b"x")
