"""Random trees: packed by GNU tar or by us, unpacked by us or by GNU tar, nothing is lost or added."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layer.test_diff import serialized
from tests.layer.trees import facts, unpack
from tiffin.layer import whiteout
from tiffin.layer.apply import apply_stream
from tiffin.layer.diff import measure

ODD = ["a", "b", "c", "bin", "-dash", " space", "new\nline", "ü", "\udcff\udc80", "x" * 101, "y" * 255]


def is_name(name: str) -> bool:
    """Tell whether a file may be called that, in a layer."""
    return 0 < len(name.encode()) < 256 and name not in {".", ".."} and not name.startswith(".wh.")


texts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=60)
names = st.sampled_from(ODD) | texts.filter(is_name)
owners = st.sampled_from([0, 0, 0, 1, 1000, 65534, 2_097_151, 2_097_152, 4_294_967_294])
times = st.one_of(
    st.integers(0, 2**33).map(lambda seconds: seconds * 10**9),
    st.integers(-(2**31) * 10**9, 2**34 * 10**9 - 1),
)
attributes = st.dictionaries(
    st.sampled_from(["user.a", "user.b.c", "user.with=sign", "user.with%3Dsign", "user.ü"]),
    st.binary(max_size=40),
    max_size=2,
)
facet = st.fixed_dictionaries(
    {
        "mode": st.integers(0, 0o7777),
        "uid": owners,
        "gid": owners,
        "mtime": times,
        "xattrs": attributes,
    }
)
leaf = st.one_of(
    st.tuples(st.just("file"), st.one_of(st.binary(max_size=1200), st.integers(0, 70000).map(bytes)), facet),
    st.tuples(st.just("symlink"), names.map(lambda name: "/" + name), facet),
    st.tuples(st.just("fifo"), st.none(), facet),
    st.tuples(st.just("device"), st.tuples(st.integers(0, 4095), st.integers(1, 2**20 - 1)), facet),
    st.tuples(st.just("link"), st.integers(0, 50), facet),
)
marks = st.tuples(st.just("whiteout"), st.none(), facet)


def nodes(leaves: Any) -> Any:
    """Return trees whose leaves are those."""
    return st.dictionaries(
        names,
        st.recursive(
            leaves,
            lambda inner: st.tuples(st.just("folder"), st.dictionaries(names, inner, max_size=4), facet),
            max_leaves=8,
        ),
        max_size=5,
    )


def plant(folder: str, tree: dict[str, Any], made: list[str]) -> None:
    """Make a tree; links go to what was made before them. Folders of user 1 are opaque."""
    for name, (kind, content, looks) in tree.items():
        path = f"{folder}/{name}"
        if kind == "link":
            if made:
                os.link(made[content % len(made)], path, follow_symlinks=False)
        elif kind == "whiteout":
            whiteout.make_whiteout(path, "trusted.")
        else:
            make(path, kind, content, made)
            dress(path, kind, looks)
            if kind != "folder":
                made.append(path)


def make(path: str, kind: str, content: Any, made: list[str]) -> None:
    """Make one node and what is in it."""
    if kind == "folder":
        os.mkdir(path)
        plant(path, content, made)
    elif kind == "file":
        with open(path, "wb") as stream:
            stream.write(content)
    elif kind == "symlink":
        os.symlink(content, path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o60600, os.makedev(*content))


def dress(path: str, kind: str, looks: dict[str, Any]) -> None:
    """Give owner, mode, attributes and time."""
    os.chown(path, looks["uid"], looks["gid"], follow_symlinks=False)
    if kind != "symlink":
        os.chmod(path, looks["mode"])
    if kind in {"file", "folder"}:
        for key, value in looks["xattrs"].items():
            os.setxattr(path, key, value)
    if kind == "folder" and looks["uid"] == 1:
        whiteout.make_opaque(path, "trusted.")
    os.utime(path, ns=(0, looks["mtime"]), follow_symlinks=False)


def plain(folder: str) -> None:
    """Take away what GNU tar has no way to say: opaque marks, and links to what is no file."""
    for top, folders, files in os.walk(folder):
        for name in folders:
            if whiteout.is_opaque(f"{top}/{name}", "trusted."):
                os.removexattr(f"{top}/{name}", "trusted.overlay.opaque")
        for name in files:
            info = os.lstat(f"{top}/{name}")
            if info.st_nlink > 1 and not stat.S_ISREG(info.st_mode) and not stat.S_ISLNK(info.st_mode):
                os.unlink(f"{top}/{name}")
                os.utime(top, ns=(0, 0))


class Grounds:
    """A fresh folder for each example, since hypothesis runs many in one test."""

    def __enter__(self) -> str:
        """Make it, 0755 as a layer's top is."""
        self.path = tempfile.mkdtemp(prefix="tiffin-roundtrip-")
        os.mkdir(f"{self.path}/in", 0o755)
        os.mkdir(f"{self.path}/out", 0o755)
        return self.path

    def __exit__(self, *_exception: object) -> None:
        """Remove it, whatever modes it has."""
        shutil.rmtree(self.path)


@settings(max_examples=25)
@given(nodes(leaf))
def test_what_gnu_tar_packs_comes_out_the_same(tree: dict[str, Any]) -> None:
    """For any tree: GNU tar's PAX archive of it, applied, is the tree."""
    with Grounds() as path:
        plant(f"{path}/in", tree, [])
        plain(f"{path}/in")
        packing = subprocess.Popen(
            ["tar", "-C", f"{path}/in", "--format=pax", "--xattrs", "--numeric-owner", "-cf", "-", "."],
            stdout=subprocess.PIPE,
        )
        assert packing.stdout is not None
        with packing.stdout as stream:
            apply_stream(stream.read, f"{path}/out", xattr="trusted.")
        assert packing.wait() == 0
        assert facts(f"{path}/out") == facts(f"{path}/in")


@settings(max_examples=25)
@given(nodes(leaf))
def test_what_we_pack_comes_out_of_gnu_tar_the_same(tree: dict[str, Any]) -> None:
    """For any tree: our archive of it, unpacked by GNU tar, is the tree."""
    with Grounds() as path:
        plant(f"{path}/in", tree, [])
        plain(f"{path}/in")
        command = [
            "tar",
            "-C",
            f"{path}/out",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-xpf",
            "-",
        ]
        subprocess.run(
            [*command, "--warning=no-timestamp"],
            input=serialized(f"{path}/in"),
            check=True,
            capture_output=True,
        )
        assert facts(f"{path}/out") == facts(f"{path}/in")


@settings(max_examples=50)
@given(nodes(st.one_of(leaf, marks)))
def test_apply_and_diff_are_inverse(tree: dict[str, Any]) -> None:
    """For any layer, deletions and opaque folders included: written, applied, written again is the same."""
    with Grounds() as path:
        plant(f"{path}/in", tree, [])
        data = serialized(f"{path}/in")
        applied = unpack(data, f"{path}/out")
        assert facts(f"{path}/out") == facts(f"{path}/in")
        measured = measure(f"{path}/out", xattr="trusted.")
        assert (measured.diff_id, measured.size) == (applied.diff_id, applied.size)
        assert serialized(f"{path}/out") == data
        assert applied.implied == ("",)


@pytest.mark.parametrize("count", [3000])
def test_many_files(count: int) -> None:
    """A few thousand small files, beyond every buffer, survive the round trip."""
    with Grounds() as path:
        for number in range(count):
            folder = f"{path}/in/{number % 37}"
            os.makedirs(folder, exist_ok=True)
            with open(f"{folder}/{number}", "wb") as stream:
                stream.write(b"%d" % number * (number % 701))
        data = serialized(f"{path}/in")
        unpack(data, f"{path}/out")
        assert facts(f"{path}/out") == facts(f"{path}/in")
