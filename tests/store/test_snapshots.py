"""Snapshots: drafts become layers once, folders that a tar left out look like those below, overlays mount."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import add_image, add_layer, mounted
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.settings import SNAPSHOTTERS
from tiffin.spec import digest as digests
from tiffin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.settings import Settings
    from tiffin.store.overlay import OverlayMount


def looks(path: str) -> tuple[int, int, int, int]:
    """Return mode, owner, group and modification time."""
    info = os.lstat(path)
    return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns


def test_implied_folders_look_like_those_below(store: Store) -> None:
    """A folder that the tar did not list gets owner, mode and time of the same folder in the image so far."""
    draft = store.snapshots.begin()
    os.makedirs(f"{draft.path}/var/mail/deep")
    for name, mode in (("var/mail/deep", 0o700), ("var/mail", 0o2775), ("var", 0o711), ("", 0o751)):
        os.chown(f"{draft.path}/{name}", 8, 12)
        os.chmod(f"{draft.path}/{name}", mode)
        os.utime(f"{draft.path}/{name}", ns=(5, 7_000_000_001))
    base = store.snapshots.commit(draft, parent="", diff_id=digests.of(b"1"), size=0, foreign=True)
    upper = store.snapshots.begin()
    os.makedirs(f"{upper.path}/var/mail/own")
    implied = ("", "var", "var/mail", "var/mail/own")
    top = store.snapshots.commit(
        upper, parent=base, diff_id=digests.of(b"2"), size=0, foreign=True, implied=implied
    )
    for name in ("", "var", "var/mail"):
        assert looks(f"{store.layout.layer(top)}/{name}") == looks(f"{store.layout.layer(base)}/{name}")
    assert looks(f"{store.layout.layer(top)}/var/mail/own")[:3] == (0o755, 0, 0)
    assert store.snapshots.chain(top) == (base, top)


def test_implied_folders_never_follow_a_link(store: Store) -> None:
    """A hostile layer that makes a folder's name a symlink changes nothing outside of itself."""
    base, _ = add_layer(store, {"etc/f": "x", "root/etc/f": "x"})
    before = looks("/etc")
    draft = store.snapshots.begin()
    os.symlink("/etc", f"{draft.path}/etc")
    os.symlink("/", f"{draft.path}/root")
    store.snapshots.commit(
        draft,
        parent=base,
        diff_id=digests.of(b"2"),
        size=0,
        foreign=True,
        implied=("etc", "root/etc", "../../etc", "none"),
    )
    assert looks("/etc") == before


def test_equal_layer_is_kept_once(store: Store) -> None:
    """The second commit of a layer drops its draft and returns the first one's id."""
    first = add_layer(store, {"f": "x"})
    inode = os.stat(store.layout.layer(first[0])).st_ino
    assert add_layer(store, {"f": "x"}) == first
    assert os.stat(store.layout.layer(first[0])).st_ino == inode
    assert os.listdir(store.layout.drafts) == []
    assert add_layer(store, {"f": "x"}, parent=first[0])[0] != first[0]


def test_layer_needs_its_parent(store: Store) -> None:
    """A layer over one that is not here is not committed."""
    draft = store.snapshots.begin()
    with pytest.raises(NotFound, match=r"parent sha256:.* not found"):
        store.snapshots.commit(draft, parent=digests.of(b"p"), diff_id=digests.of(b"d"), size=0, foreign=True)
    draft.discard()
    with pytest.raises(NotFound):
        store.snapshots.chain(digests.of(b"p"))


@pytest.fixture(params=SNAPSHOTTERS)
def either(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Store]:
    """A store whose containers are overlays, and one whose containers are copies."""
    with Store(settings.replace(snapshotter=request.param)) as store:
        yield store


@contextmanager
def ready(words: OverlayMount) -> Iterator[str]:
    """Yield a container's root, mounted where that is to be done."""
    if not words.lower:
        yield words.target
        return
    # Absolute paths: this process must not change its folder.
    lower = tuple(f"{words.base}/{name}" for name in words.lower)
    with mounted("overlay", words.target, words.replace(lower=lower).data()) as root:
        yield root


def test_writable_folder_becomes_a_layer(either: Store) -> None:
    """What is written over an image's layers is, adopted, a layer that shows the same on top of them."""
    store = either
    image = add_image(store, {"old": "1", "gone": "2", "dir/f": "3"})
    words = store.snapshots.prepare("step", image.layers)
    assert store.snapshots.prepare("step", image.layers) == words
    with ready(words) as root:
        os.unlink(f"{root}/gone")
        with open(f"{root}/new", "w") as stream:
            stream.write("four")
    assert store.snapshots.usage("step") == 4
    assert store.snapshots.view("step", image.layers).lstat("/gone") is None
    assert store.snapshots.view("step", image.layers).read("/new") == b"four"
    draft = store.snapshots.adopt_upper("step")
    chain = store.snapshots.commit(draft, parent=image.layers[-1], diff_id=digests.of(b"x"), size=4)
    stack = store.stack([*image.layers, chain])
    assert {"dir", "new", "old"} <= set(stack.listdir("/") or ())
    assert "gone" not in (stack.listdir("/") or ())
    store.snapshots.remove("step")
    assert os.listdir(store.layout.containers) == os.listdir(store.layout.drafts) == []
    store.snapshots.remove("step")
    with pytest.raises(NotFound):
        store.snapshots.adopt_upper("step")


def test_an_image_without_layers_has_a_root(either: Store) -> None:
    """FROM scratch has no layer, and still a root to write to and to look at."""
    words = either.snapshots.prepare("scratch", ())
    with ready(words) as root:
        os.mkdir(f"{root}/made")
    assert either.snapshots.changes("scratch", ()) == [("/made", "A")]
    assert either.stack(()).listdir("/") == []


def test_root_of_the_container_looks_like_the_images(either: Store) -> None:
    """The container's / has owner and mode of the topmost layer's."""
    draft = either.snapshots.begin()
    os.chown(draft.path, 3, 4)
    os.chmod(draft.path, 0o1777)  # noqa: S103 - has a bit to lose
    chain = either.snapshots.commit(draft, parent="", diff_id=digests.of(b"r"), size=0, foreign=True)
    with ready(either.snapshots.prepare("c", (chain,))) as root:
        assert looks(root)[:3] == (0o1777, 3, 4)


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden"])
def test_key_is_one_plain_name(store: Store, key: str) -> None:
    """A key never becomes a path of its own."""
    with pytest.raises(InvalidArgument):
        store.snapshots.prepare(key, ())


@pytest.mark.parametrize("either", ["overlay"], indirect=True)
def test_an_overlay_has_as_many_layers_as_the_kernel_takes(either: Store) -> None:
    """127 layers mount by name, up to 499 by links, which is the kernel's limit; more is docker's error."""
    store = either
    top, chain = "", []
    for number in range(499):
        top, _ = add_layer(store, {f"d/{number}": str(number)}, parent=top)
        chain.append(top)
    for depth in (127, 128, 200, 400, 499):
        key = f"{depth:064x}"
        mount = store.snapshots.prepare(key, chain[:depth])
        here = os.getcwd()
        os.chdir(mount.base)
        try:
            with mounted("overlay", mount.target, mount.data()) as merged:
                assert sorted(map(int, os.listdir(f"{merged}/d"))) == list(range(depth))
                with open(f"{merged}/d/0", "w") as stream:
                    stream.write("changed")
        finally:
            os.chdir(here)
        assert os.listdir(f"{mount.upper}/d") == ["0"]
        assert store.snapshots.prepare(key, chain[:depth]) == mount
    with pytest.raises(Unsupported, match="max depth exceeded") as refused:
        store.snapshots.mount("x" * 64, [*chain, chain[0]]).data()
    assert "499 layers" in refused.value.hint
