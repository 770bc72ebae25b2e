"""Volumes: docker's words, filled once from the image with all its looks, kept while they are used."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import a_container, add_image, die_everywhere
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec import digest as digests
from tiffin.store import gc
from tiffin.store.store import Store

if TYPE_CHECKING:
    from tiffin.settings import Settings
    from tiffin.store.overlay import Stack


def image_stack(store: Store) -> Stack:
    """Return a stack with a folder that has something of everything, through two layers."""
    draft = store.snapshots.begin()
    os.makedirs(f"{draft.path}/data/sub")
    for name in ("keep", "hidden", "over"):
        with open(f"{draft.path}/data/{name}", "w") as stream:
            stream.write(name)
    os.link(f"{draft.path}/data/keep", f"{draft.path}/data/sub/hard")
    os.symlink("keep", f"{draft.path}/data/link")
    os.mkfifo(f"{draft.path}/data/pipe")
    os.chown(f"{draft.path}/data", 33, 34)
    os.chmod(f"{draft.path}/data", 0o2770)  # noqa: S103 - has a bit to lose
    os.chown(f"{draft.path}/data/keep", 5, 6)
    os.setxattr(f"{draft.path}/data/keep", "user.note", b"n")
    os.chmod(f"{draft.path}/data/keep", 0o4755)  # noqa: S103 - has a bit to lose
    os.utime(f"{draft.path}/data/sub", ns=(1, 2_000_000_003))
    base = store.snapshots.commit(draft, parent="", diff_id=digests.of(b"1"), size=0, foreign=True)
    upper = store.snapshots.begin()
    os.mkdir(f"{upper.path}/data")
    os.mknod(f"{upper.path}/data/hidden", stat.S_IFCHR)
    with open(f"{upper.path}/data/over", "w") as stream:
        stream.write("new")
    diff_id = digests.of(b"2")
    top = store.snapshots.commit(
        upper, parent=base, diff_id=diff_id, size=0, foreign=True, implied=("", "data")
    )
    return store.stack([base, top])


def test_new_volume_is_filled_with_content_and_looks(store: Store) -> None:
    """Content, owners, modes, times, links, xattrs, the folder's own looks come from the merged image."""
    stack = image_stack(store)
    data = store.volumes.ensure("data").path
    assert store.volumes.populate("data", stack, "/data")
    assert sorted(os.listdir(data)) == ["keep", "link", "over", "pipe", "sub"]
    info = os.stat(data)
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o2770, 33, 34)
    keep = os.stat(f"{data}/keep")
    assert (stat.S_IMODE(keep.st_mode), keep.st_uid, keep.st_gid, keep.st_nlink) == (0o4755, 5, 6, 2)
    assert os.getxattr(f"{data}/keep", "user.note") == b"n"
    assert os.path.samefile(f"{data}/keep", f"{data}/sub/hard")
    assert os.readlink(f"{data}/link") == "keep"
    assert stat.S_ISFIFO(os.lstat(f"{data}/pipe").st_mode)
    assert os.stat(f"{data}/sub").st_mtime_ns == 2_000_000_003
    with open(f"{data}/over") as stream:
        assert stream.read() == "new"
    assert store.volumes.usage("data") == len("keep" + "new" + "keep")


def test_only_empty_volumes_are_filled_and_only_from_folders(store: Store) -> None:
    """Anything in a volume, or a file or nothing at the image's path, leaves the volume as it is."""
    stack = image_stack(store)
    for name, path in (("file", "/data/keep"), ("none", "/nowhere")):
        store.volumes.ensure(name)
        assert not store.volumes.populate(name, stack, path)
    own = store.volumes.ensure("own").path
    os.mkdir(f"{own}/mine")
    assert not store.volumes.populate("own", stack, "/data")
    assert os.listdir(own) == ["mine"]


def test_killed_fill_is_completed_by_the_next(settings: Settings) -> None:
    """Wherever filling dies, the next container's fill ends with everything there."""
    with Store(settings) as store:
        stack = image_stack(store)
    number = 0

    def fill() -> None:
        with Store(settings) as store:
            store.volumes.ensure(f"v{number}")
            store.volumes.populate(f"v{number}", stack, "/data")

    for _ in die_everywhere(fill):
        fill()
        with Store(settings) as store:
            data = store.volumes.get(f"v{number}").path
            assert sorted(os.listdir(data)) == ["keep", "link", "over", "pipe", "sub"]
            assert os.stat(data).st_uid == 33
            assert sorted(os.listdir(os.path.dirname(data))) == ["_data", "lock"]
        number += 1
    assert number > 20, "the deaths did not cover the deed"


def test_volumes_in_dockers_words(store: Store) -> None:
    """Made, listed, missed, refused while in use, removed: each as docker says it."""
    image = add_image(store)
    made = store.volumes.create("data", labels={"a": "b"})
    assert store.volumes.ensure("data") == made
    assert store.volumes.list() == (made,)
    mounts = ({"type": "volume", "name": "data", "destination": "/d"},)
    record = store.containers.create(a_container(store, image, "web", mounts=mounts))
    with pytest.raises(Conflict) as in_use:
        store.volumes.remove("data")
    assert in_use.value.message == f"remove data: volume is in use - [{record.id}]"
    store.containers.remove(record.id)
    store.volumes.remove("data")
    for miss in (store.volumes.get, store.volumes.remove):
        with pytest.raises(NotFound) as missing:
            miss("data")
        assert missing.value.message == "get data: no such volume"
    assert os.listdir(store.layout.volumes) == os.listdir(store.layout.drafts) == []


@pytest.mark.parametrize("name", ["", "a", "-ab", "a/b", "a b", "../up", "x" * 256])
def test_bad_names_are_refused(store: Store, name: str) -> None:
    """What docker does not take as a volume's name never becomes a path."""
    with pytest.raises(InvalidArgument):
        store.volumes.ensure(name)


def test_anonymous_volumes_go_with_their_last_user(store: Store) -> None:
    """remove_if_anonymous takes an unused anonymous volume, and neither a named nor a used one."""
    image = add_image(store)
    anonymous, named = store.volumes.create(), store.volumes.create("named")
    assert (len(anonymous.name), anonymous.anonymous, named.anonymous) == (64, True, False)
    mounts = ({"type": "volume", "name": anonymous.name, "destination": "/d"},)
    record = store.containers.create(a_container(store, image, mounts=mounts))
    assert not store.volumes.remove_if_anonymous(anonymous.name)
    store.containers.remove(record.id)
    assert store.volumes.remove_if_anonymous(anonymous.name)
    assert not store.volumes.remove_if_anonymous(anonymous.name)
    assert not store.volumes.remove_if_anonymous("named")


def test_gc_never_touches_volumes(store: Store) -> None:
    """A volume's data stays whatever gc finds, also when its row is lost."""
    data = store.volumes.ensure("data").path
    with open(f"{data}/kept", "w"):
        store.database.execute("DELETE FROM volumes")
    assert gc.sweep(store) == ()
    assert os.listdir(data) == ["kept"]


def test_gc_takes_what_a_killed_create_left(store: Store) -> None:
    """An empty folder without a row is not a volume yet: its maker was killed, and gc takes it."""
    store.volumes.ensure("unborn")
    store.database.execute("DELETE FROM volumes")
    assert [item.kind for item in gc.sweep(store)] == ["volume"]
    assert os.listdir(store.layout.volumes) == []


def test_a_rename_that_was_cut_off_loses_nothing(store: Store) -> None:
    """Killed between the move of the folder and the commit, the volume has its files under its old name."""
    record = store.volumes.ensure("old")
    with open(f"{record.path}/file", "w") as stream:
        stream.write("kept")
    folder = os.path.dirname(record.path)
    with open(f"{folder}/renaming", "w") as stream:
        stream.write("old")
    os.rename(folder, os.path.dirname(store.layout.volume_data("new")))
    gc.sweep(store)
    with open(f"{store.volumes.ensure('old').path}/file") as stream:
        assert stream.read() == "kept"
    with pytest.raises(NotFound):
        store.volumes.get("new")


def test_a_killed_rename_leaves_the_files_under_one_of_the_names(settings: Settings) -> None:
    """Wherever renaming dies, the files are there under the name that has a record."""
    number = 0

    def rename() -> None:
        with Store(settings) as store:
            store.volumes.rename(f"old{number}", f"new{number}")

    with Store(settings) as store:
        for name in (f"old{n}" for n in range(60)):
            with open(f"{store.volumes.ensure(name).path}/file", "w") as stream:
                stream.write(name)
    for _ in die_everywhere(rename):
        with Store(settings) as store:
            gc.sweep(store)
            found = [r.name for r in store.volumes.list() if r.name in {f"old{number}", f"new{number}"}]
            assert len(found) == 1
            with open(f"{store.volumes.ensure(found[0]).path}/file") as stream:
                assert stream.read() == f"old{number}"
        number += 1
    assert found == [f"new{number - 1}"]
    assert number > 8, "the deaths did not cover the deed"
