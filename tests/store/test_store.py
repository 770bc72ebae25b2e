"""Opening a store: where it cannot be one, what a reboot means, what it costs, and what a full disk does."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import (
    add_image,
    add_layer,
    add_parts,
    mounted,
    remounted_read_only,
    settings_for,
)
from tiffin.errors import Conflict, Corrupt, InvalidArgument, NotFound, StorageFull, Unsupported
from tiffin.settings import ROOT
from tiffin.spec import mediatype
from tiffin.store import fsck, gc
from tiffin.store.database import SCHEMA_VERSION
from tiffin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.settings import Settings


def test_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A root that is no folder, or lies below a file, is an error that names it."""
    (tmp_path / "root").write_text("")
    with pytest.raises(InvalidArgument, match="root is not a folder"):
        Store(settings_for(str(tmp_path)))
    with pytest.raises(InvalidArgument, match=r"make .*/root: File exists"):
        Store(settings_for(str(tmp_path / "root")))


def test_newer_and_foreign_databases_are_refused(settings: Settings) -> None:
    """A later tiffin's store and somebody else's database are left untouched."""
    Store(settings).close()
    path = f"{settings.root}/state.db"
    for version, message in (
        (99, f"has schema 99, this tiffin knows up to {SCHEMA_VERSION}"),
        (0, "is no store of tiffin"),
    ):
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        with pytest.raises(Unsupported, match=message):
            Store(settings)


def test_junk_database_is_corrupt(settings: Settings) -> None:
    """A state.db that is no database is said to be so, with a hint."""
    os.makedirs(settings.root)
    with open(f"{settings.root}/state.db", "w") as stream:
        stream.write("junk" * 1000)
    with pytest.raises(Corrupt, match="not a database"):
        Store(settings)


def test_store_of_another_rung_is_refused(settings: Settings) -> None:
    """A store's overlay marks belong to one privilege rung; another one must not misread them."""
    Store(settings).close()
    with pytest.raises(Unsupported, match="other privileges"):
        Store(settings.replace(privilege=ROOT.replace(rung="single", xattr="user.")))
    Store(settings).close()


def test_closed_store_says_so(settings: Settings) -> None:
    """Use after close is an error of ours, not of SQLite."""
    store = Store(settings)
    store.close()
    with pytest.raises(Conflict, match="is closed"):
        store.images.list()


def another_boot(settings: Settings) -> None:
    """Make the store look as if the machine had stopped and started since."""
    with Store(settings) as store:
        store.database.execute("UPDATE meta SET value='before' WHERE key='boot'")


def test_after_a_reboot_only_synced_things_are_believed(settings: Settings) -> None:
    """A committed image survives; blobs and layers that no commit has synced are gone, their files junk."""
    with Store(settings) as store:
        kept = add_image(store, {"a": "kept"}, tags=["kept"])
        loose = store.content.put_bytes(b"loose", mediatype.OCI_LAYER)
        layer, diff_id = add_layer(store, {"b": "loose"}, parent=kept.layers[0])
        store.buildcache.put("step", {"n": 1}, {"layer": layer})
        store.buildcache.put("kept", {"n": 2}, {"layer": kept.layers[0]})
        store.lease("pull")
    another_boot(settings)
    with Store(settings) as store:
        assert store.images.resolve("kept") == kept
        assert store.content.has_blob(kept.manifest)
        assert not store.content.has_blob(loose)
        assert not store.snapshots.has(layer)
        assert store.buildcache.find("step") is None
        assert store.buildcache.find("kept") is not None
        assert {item.kind for item in gc.plan(store)} == {"blob", "layer"}
        # A pull that brings the same things again replaces what the crash left, whatever is in it.
        with open(f"{store.layout.layer(layer)}/b", "w") as stream:
            stream.write("")
        assert add_layer(store, {"b": "loose"}, parent=kept.layers[0]) == (layer, diff_id)
        assert store.stack([*kept.layers, layer]).read("b") == b"loose"
        assert store.content.put_bytes(b"loose", mediatype.OCI_LAYER) == loose
        assert store.content.read(loose.digest) == b"loose"


def test_one_commit_covers_what_was_there_before_it(settings: Settings) -> None:
    """Cached layers of a build that have rows when an image is committed survive a reboot with it."""
    with Store(settings) as store:
        cached, _ = add_layer(store, {"cached": "x"})
        add_image(store, tags=["x"])
        later, _ = add_layer(store, {"later": "x"})
    another_boot(settings)
    with Store(settings) as store:
        assert store.snapshots.has(cached)
        assert not store.snapshots.has(later)


def test_read_only_root_is_an_error_with_a_hint(tmp_path: Path) -> None:
    """A store on a read-only file system, old or new, is StorageFull with a hint, not a stack of SQLite."""
    with mounted("tmpfs", str(tmp_path / "disk"), "size=8m") as disk:
        with Store(settings_for(disk)) as store:
            add_image(store, tags=["x"])
        with remounted_read_only(disk):
            for root in (disk, f"{disk}/other"):
                with pytest.raises(StorageFull) as caught:
                    Store(settings_for(root)).images.resolve("x")
                assert caught.value.hint
                assert disk in caught.value.message
        with Store(settings_for(disk)) as store:
            assert store.images.resolve("x")


def fill(store: Store) -> None:
    """Put more blobs into a store than four megabytes hold."""
    for number in range(100):
        store.content.put_bytes(bytes([number]) * 100_000, mediatype.OCI_LAYER)


def write_until_full(path: str) -> None:
    """Take the last page of a disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        write_for_ever(file)
    os.close(file)


def write_for_ever(file: int) -> None:
    """Write pages until that fails."""
    while os.write(file, bytes(4096)):
        pass


def test_full_disk_loses_nothing_and_can_be_emptied(tmp_path: Path) -> None:
    """When the disk fills up in the middle of a pull, what was there stays, and gc makes room again."""
    with mounted("tmpfs", str(tmp_path / "disk"), "size=4m") as disk, Store(settings_for(disk)) as store:
        image = add_image(store, {"f": "x"}, tags=["x"])
        with pytest.raises(StorageFull, match="No space left"):
            fill(store)
        assert os.listdir(store.layout.ingest) == []
        draft = store.snapshots.begin()
        write_until_full(f"{draft.path}/f")
        draft.discard()
        assert fsck.check(store) != []
        freed = sum(item.size for item in gc.sweep(store))
        assert freed > 2_000_000
        assert fsck.check(store) == []
        assert store.images.resolve("x") == image
        add_image(store, {"g": "y"}, tags=["y"])


def test_full_disk_in_a_commit_keeps_the_old_name(tmp_path: Path) -> None:
    """A commit for which the disk has no room names nothing; after making room it goes through."""
    with mounted("tmpfs", str(tmp_path / "disk"), "size=4m") as disk, Store(settings_for(disk)) as store:
        add_image(store, {"f": "x"}, tags=["x"])
        parts = add_parts(store, {"f": "y"})
        words = [f"--word={number}-{'x' * 500}" for number in range(600)]
        big = add_parts(store, {"f": "y"}, command=" ".join(words))
        write_until_full(f"{disk}/ballast")
        with pytest.raises(StorageFull):
            store.images.commit(config=big.config, manifest=big.manifest, top=big.manifest, size=1)
        with pytest.raises(NotFound):
            store.images.resolve(big.config.id)
        os.unlink(f"{disk}/ballast")
        for part in (big, parts):
            store.images.commit(config=part.config, manifest=part.manifest, top=part.manifest, size=1)
            assert store.images.config(store.images.resolve(part.config.id)) == part.config


def test_hot_path_imports_only_light_modules(settings: Settings) -> None:
    """Opening, resolving and creating import nothing that costs milliseconds."""
    with Store(settings) as store:
        add_image(store, tags=["x"])
    script = """
import sys
before = set(sys.modules)
from tests.store.hot import run
run(sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script, os.path.dirname(settings.root)],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    heavy = (
        "re json typing dataclasses pathlib enum contextlib hashlib ctypes threading subprocess sqlite3 "
        "tempfile shutil logging socket random"
    )
    assert set(heavy.split()).isdisjoint(loaded), loaded
