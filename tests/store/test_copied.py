"""Copied roots: what a container wrote is told as an overlay's upper folder tells it, to the byte."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import add_image, mounted, settings_for
from tiffin.errors import NotFound, Unsupported
from tiffin.layer.diff import measure, write_tar
from tiffin.settings import ROOT
from tiffin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tiffin.store.images import ImageRecord

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts an overlay to compare with")

_FILES = {
    "etc/passwd": "root",
    "etc/shadow": "secret",
    "etc/deep/er/file": "deep",
    "usr/bin/tool": "#!",
    "usr/lib/a": "a",
    "usr/lib/b": "b",
    "var/log/x": "log",
    "var/log/y": "log",
    "single": "1",
}
_UPPER = {"usr/lib/c": "c", "var/log/x": "newer", "opt/thing/file": "t"}
_CAPABILITY = "0x0100000200100000000000000000000000000000"
_SCRIPTS = {
    "nothing": ":",
    "add": "echo new > new; mkdir -p made/in/side; echo x > made/in/side/x; ln -s ../etc link; mkfifo pipe",
    "add in old folders": "echo new > usr/lib/new; mkdir usr/lib/folder; echo deep > etc/deep/er/new",
    "change": "echo more >> etc/passwd; echo same-size-1 > single",
    "change looks": "chmod 600 etc/shadow; chown 7:8 usr/bin/tool; touch -d @1000000.5 usr/lib/a",
    "touch without effect": "chmod 644 usr/lib/a; chown 0:0 usr/lib/b; chmod 755 usr",
    "delete": "rm single usr/lib/a; rm -r etc",
    "delete what a layer had replaced": "rm var/log/x; rm -r opt",
    "make a folder anew": "rm -r etc/deep; mkdir etc/deep; echo x > etc/deep/new; mkdir etc/deep/sub",
    "empty a folder": "rm usr/lib/*",
    "a file becomes a folder": "rm single; mkdir single; echo x > single/x",
    "a folder becomes a file": "rm -r usr/lib; echo x > usr/lib",
    "a folder becomes a link": "rm -r usr/lib; ln -s /nowhere usr/lib",
    "made and gone again": "echo x > etc/x; rm etc/x; mkdir t; rmdir t",
    "rename": "mv usr/lib/a usr/lib/moved; mv var/log/y .",
    "replace by rename": "cp -p etc/passwd etc/p2; mv etc/p2 etc/passwd",
    "links": "ln usr/lib/a linked; ln new2 new3 2>/dev/null; echo x > one; ln one two; ln one usr/three",
    "attributes": "setfattr -n user.a -v 1 etc/passwd; setfattr -n user.b -v 2 usr",
    "capability": f"setfattr -n security.capability -v {_CAPABILITY} usr/bin/tool",
    "mode of a folder": "chmod 700 etc",
    "device": "mknod null c 1 3; mknod usr/sda b 8 0",
    "times of a folder": "touch -d @5 usr/lib",
    "mode of the top": "chmod 711 .",
}


def image(store: Store) -> ImageRecord:
    """Make an image of two layers."""
    return add_image(store, _FILES, _UPPER)


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Store]:
    """A store whose containers are copies."""
    settings = settings_for(f"{tmp_path}/copying").replace(snapshotter="copy")
    with Store(settings) as store:
        yield store


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Store]:
    """A store whose containers are overlays."""
    settings = settings_for(f"{tmp_path}/overlay").replace(snapshotter="overlay")
    with Store(settings) as store:
        yield store


def run(root: str, script: str) -> None:
    """Change a tree as a container's programs might."""
    subprocess.run(["sh", "-c", script], cwd=root, check=True, umask=0o022)


def in_overlay(store: Store, work: Callable[[str], None]) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the layer and the list of changes of a container on overlayfs."""
    made = image(store)
    words = store.snapshots.prepare("c", made.layers)
    lower = tuple(f"{words.base}/{name}" for name in words.lower)
    with mounted("overlay", words.target, words.replace(lower=lower).data()) as root:
        work(root)
    changes = store.snapshots.changes("c", made.layers)
    return layer(store, store.snapshots.adopt_upper("c").path), changes


def in_copy(store: Store, work: Callable[[str], None]) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the same of a container that is a copy; both ways to its layer agree."""
    made = image(store)
    words = store.snapshots.prepare("c", made.layers)
    assert not words.data()
    work(words.target)
    changes = store.snapshots.changes("c", made.layers)
    with store.snapshots.begin() as draft:
        store.snapshots.copy_upper("c", draft)
        xattr = store.settings.privilege.xattr
        with store.snapshots.adopt_upper("c") as adopted:
            assert measure(draft.path, xattr=xattr) == measure(adopted.path, xattr=xattr)
        return layer(store, draft.path), changes


def layer(store: Store, folder: str) -> bytes:
    """Return a folder as a layer's tar."""
    out = io.BytesIO()
    write_tar(folder, out.write, xattr=store.settings.privilege.xattr)
    return out.getvalue()


def without_times(tar: bytes) -> list[dict[str, object]]:
    """Return the entries of a tar without what differs between two runs: the time of what was written."""
    rows = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isreg() else None
            told = entry.get_info() | {"pax": {k: v for k, v in entry.pax_headers.items() if k != "mtime"}}
            told["mtime"] = entry.mtime if entry.mtime < 1_500_000_000 else "now"
            del told["chksum"]
            rows.append(told | {"data": file.read() if file else b""})
    return rows


@pytest.mark.parametrize("name", _SCRIPTS)
def test_a_copy_tells_what_an_overlay_tells(overlay: Store, copying: Store, name: str) -> None:
    """For every kind of change, layer (but for the time of writing) and `diff` are those of overlayfs."""

    def work(root: str) -> None:
        run(root, _SCRIPTS[name])

    expected, changes = in_overlay(overlay, work)
    got, changed = in_copy(copying, work)
    assert without_times(got) == without_times(expected)
    assert sorted(changed) == changes


def test_times_are_kept_to_the_nanosecond(overlay: Store, copying: Store) -> None:
    """Where all times are set, the layers are the same bytes."""
    script = "echo x > a/b; mkdir a/c; find . -exec touch -h -d @1700000000.123456789 {} +"

    def work(root: str) -> None:
        run(root, f"mkdir a; {script}")

    assert in_copy(copying, work)[0] == in_overlay(overlay, work)[0]


def test_a_name_less_is_no_change_of_the_others(copying: Store) -> None:
    """When one of a file's names goes, only that is told, as overlayfs does."""
    draft = copying.snapshots.begin()
    run(draft.path, "echo x > one; ln one two")
    chain = copying.snapshots.commit(draft, parent="", diff_id="sha256:" + "1" * 64, size=2, foreign=True)
    words = copying.snapshots.prepare("c", (chain,))
    assert os.stat(f"{words.target}/one").st_nlink == 2
    os.unlink(f"{words.target}/two")
    assert copying.snapshots.changes("c", (chain,)) == [("/two", "D")]


def test_a_second_start_finds_what_the_first_wrote(copying: Store) -> None:
    """A copy is made once; killed half-way, it is made again."""
    made = image(copying)
    words = copying.snapshots.prepare("c", made.layers)
    run(words.target, "echo kept > kept")
    assert copying.snapshots.prepare("c", made.layers) == words
    assert os.path.exists(f"{words.target}/kept")
    assert copying.snapshots.usage("c") == 5
    folder = copying.layout.container("half")
    os.makedirs(f"{folder}/rootfs.part/usr")
    words = copying.snapshots.prepare("half", made.layers)
    assert copying.snapshots.changes("half", made.layers) == []
    assert sorted(os.listdir(folder)) == ["copied", "rootfs"]
    for key in ("c", "half"):
        copying.snapshots.remove(key)
    with pytest.raises(NotFound):
        copying.snapshots.adopt_upper("c")


def test_sockets_are_left_out(copying: Store) -> None:
    """A program's socket never becomes a mark for a deletion, nor part of a layer."""
    made = image(copying)
    words = copying.snapshots.prepare("c", made.layers)
    os.mknod(f"{words.target}/usr/socket", 0o140000)
    os.mknod(f"{words.target}/usr/other", 0o140755)
    with copying.snapshots.adopt_upper("c") as draft:
        assert os.listdir(f"{draft.path}/usr") == []


def test_a_link_out_of_a_running_copy_is_not_followed(copying: Store, tmp_path: Path) -> None:
    """What a container makes of a folder while it is read leads nobody out of it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("host")
    made = image(copying)
    words = copying.snapshots.prepare("c", made.layers)
    run(words.target, f"rm -r etc; ln -s {tmp_path}/secret etc; echo x > usr/x")
    with copying.snapshots.adopt_upper("c") as draft:
        assert sorted(os.listdir(draft.path)) == ["etc", "usr"]
        assert os.readlink(f"{draft.path}/etc") == f"{tmp_path}/secret"


def test_what_a_container_was_made_with_stays(tmp_path: Path) -> None:
    """A store may change over to copies and back: each container keeps its kind, and what it wrote."""
    settings = settings_for(str(tmp_path)).replace(snapshotter="overlay")
    with Store(settings) as store:
        made = image(store)
        with open(f"{store.snapshots.prepare('old', made.layers).upper}/own", "w") as stream:
            stream.write("x")
    with Store(settings.replace(snapshotter="copy")) as store:
        assert store.snapshots.prepare("old", made.layers).upper
        run(store.snapshots.prepare("new", made.layers).target, "echo x > own")
        assert not store.snapshots.mount("new", made.layers).lower
    with Store(settings) as store:
        assert not store.snapshots.mount("new", made.layers).lower
        for key in ("old", "new"):
            assert store.snapshots.changes(key, made.layers) == [("/own", "A")]


def test_marks_that_overlayfs_cannot_read_are_never_mounted(copying: Store) -> None:
    """A store that was made to be copied is not opened for overlayfs: it would show what was deleted."""
    settings = copying.settings.replace(snapshotter="overlay", privilege=ROOT)
    with pytest.raises(Unsupported, match="not marked as overlayfs wants it"):
        Store(settings)


def test_a_store_on_an_overlay_has_its_own_marks(tmp_path: Path) -> None:
    """The kernel refuses whiteouts on overlayfs, so such a store marks deletions in its own way."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted("overlay", f"{tmp_path}/on", options) as folder:
        with Store(settings_for(folder).replace(snapshotter="")) as store:
            assert store.settings.snapshotter == "copy"
            script = "rm single; rm -r etc; mkdir etc; echo x > etc/x"
            made, changes = in_copy(store, lambda root: run(root, script))
        assert {("/single", "D"), ("/etc", "C"), ("/etc/x", "A")} <= set(changes)
        with tarfile.open(fileobj=io.BytesIO(made)) as archive:
            assert archive.getnames() == [".wh.single", "etc", "etc/.wh..wh..opq", "etc/x"]
