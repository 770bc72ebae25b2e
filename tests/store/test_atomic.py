"""atomic: whole files or old ones, trees of any depth, locks, and who still lives."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import die_everywhere
from tiffin.errors import Conflict
from tiffin.store import atomic

if TYPE_CHECKING:
    from pathlib import Path


def test_a_killed_write_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """At no moment of write_file does a reader see half a file."""
    target = tmp_path / "f"
    target.write_text("old")
    for _ in die_everywhere(lambda: atomic.write_file(str(target), b"new" * 1000, sync=True)):
        assert target.read_text() in {"old", "new" * 1000}
        target.write_text("old")
    atomic.write_file(str(target), b"x", mode=0o640)
    assert target.stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError):
        atomic.write_file(str(tmp_path / "none" / "f"), b"")


def test_trees_of_any_depth_and_temper_are_removed(tmp_path: Path) -> None:
    """Paths longer than the kernel takes, mode 000, odd names, links out: all goes, nothing outside does."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(outside)
    (top / os.fsdecode(b"\xff\n")).write_text("")
    (top / "locked").mkdir(mode=0)
    folder = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a-folder", dir_fd=folder)
        os.symlink("/", "a-link", dir_fd=folder)
        inner = os.open("a-folder", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    assert atomic.remove_tree(str(top))
    assert not atomic.remove_tree(str(top))
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_tree_is_out_of_sight_before_it_is_deleted(tmp_path: Path) -> None:
    """A removal that is killed has taken the name, or nothing."""

    def lay() -> None:
        os.makedirs(tmp_path / "t" / "a")
        (tmp_path / "t" / "f").write_text("")

    lay()
    for _ in die_everywhere(lambda: atomic.remove_tree(str(tmp_path / "t"))):
        if (tmp_path / "t").exists():
            assert sorted(os.listdir(tmp_path / "t")) == ["a", "f"]
        else:
            lay()


def test_sizes_count_each_inode_once(tmp_path: Path) -> None:
    """Hard links are one file, symlinks their own length, a single file itself, nothing zero."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"12345")
    (tmp_path / "d" / "g").hardlink_to(tmp_path / "d" / "f")
    (tmp_path / "l").symlink_to("d/f")
    assert atomic.tree_size(str(tmp_path)) == 8
    assert atomic.tree_size(str(tmp_path / "d" / "f")) == 5
    assert atomic.tree_size(str(tmp_path / "none")) == 0


def test_owner_tags_end_with_their_process() -> None:
    """A tag, alone or as the start of a name, is alive with its process: not after, not for another one."""
    tag = atomic.owner_tag()
    assert atomic.owner_lives(tag)
    assert atomic.owner_lives(f"{tag}-random")
    boot, pid, start = tag.split("-")
    for other in (f"{boot}-{pid}-{int(start) - 1}", f"deadbeef-{pid}-{start}", boot, f"{boot}-x-1", "", "-"):
        assert not atomic.owner_lives(other)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        started = atomic.start_time(process.pid)
        assert started > 0
        child = f"{boot}-{process.pid}-{started}"
        assert atomic.owner_lives(child)
    assert not atomic.owner_lives(child)


def test_lock_refuses_or_waits(tmp_path: Path) -> None:
    """A second lock of one file is a Conflict, or waits; the folder is made where it is missing."""
    path = str(tmp_path / "locks" / "x")
    with (
        atomic.Lock(path),
        pytest.raises(Conflict, match="busy here"),
        atomic.Lock(path, blocking=False, busy="busy here"),
    ):
        pass
    with atomic.Lock(path, blocking=False):
        pass
