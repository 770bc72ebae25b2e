"""Stack against the kernel: what it answers is what a real overlayfs mount of the same folders shows."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.store.parts import kernel_resolve, mounted
from tiffin.errors import InvalidArgument
from tiffin.settings import ROOT
from tiffin.store.overlay import OverlayMount, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

XATTR = "trusted."
OPAQUE = "trusted.overlay.opaque"

# A tree is a dictionary: name -> text (file), ("link", target), None (whiteout) or a tree; the name "!"
# in a tree makes its folder opaque.
Tree = dict[str, Any]


def lay(folder: str, tree: Tree) -> str:
    """Write a tree into a new folder."""
    os.mkdir(folder)
    for name, entry in tree.items():
        path = f"{folder}/{name}"
        if name == "!":
            os.setxattr(folder, OPAQUE, b"y")
        elif entry is None:
            os.mknod(path, stat.S_IFCHR)
        elif isinstance(entry, dict):
            lay(path, entry)
        elif isinstance(entry, tuple):
            os.symlink(entry[1], path)
        else:
            with open(path, "w") as stream:
                stream.write(entry)
    return folder


class Layered:
    """Layers on disk, topmost first, and the mount of them."""

    def __init__(self, base: str, trees: list[Tree]) -> None:
        """Write the layers."""
        self.layers = [lay(f"{base}/{number}", tree) for number, tree in enumerate(trees)]
        os.mkdir(f"{base}/none")
        self.stack = Stack(self.layers, XATTR)
        names = tuple(map(os.path.basename, [*self.layers, f"{base}/none"]))
        words = OverlayMount(
            base=base, lower=names, upper="", work="", target="", options=ROOT.overlay_options
        )
        data = words.data().replace("lowerdir=", f"lowerdir={base}/").replace(":", f":{base}/")
        self.mount = mounted("overlay", f"{base}/merged", data)


@pytest.fixture
def base() -> Iterator[str]:
    """A folder that is empty at the start of each example."""
    folder = tempfile.mkdtemp(prefix="stack-")
    yield folder
    shutil.rmtree(folder)


def looks(path: str) -> tuple[int, str]:
    """Return what can be compared of an entry: mode, and text or target."""
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        return info.st_mode, os.readlink(path)
    if stat.S_ISREG(info.st_mode):
        with open(path) as stream:
            return info.st_mode, stream.read()
    return info.st_mode, ""


def shown(merged: str) -> dict[str, tuple[int, str]]:
    """Return every entry that a mount shows."""
    found = {"/": looks(merged)}
    for folder, folders, files in os.walk(merged):
        for name in (*folders, *files):
            path = f"{folder}/{name}"
            # The kernel does not filter whiteouts where a folder comes from one layer only: it lists a
            # name that is not there when asked for. Stack does not list it.
            if os.path.lexists(path):
                found[path.removeprefix(merged)] = looks(path)
    return found


names = st.sampled_from(["a", "b", "c"])
targets = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4).map("/".join)
links = st.tuples(st.just("link"), st.one_of(targets, targets.map("/{}".format)))
leaves = st.one_of(st.sampled_from(["x", "y"]), links, st.none())


def trees(depth: int) -> st.SearchStrategy[Tree]:
    entry = leaves if depth == 0 else st.one_of(leaves, trees(depth - 1), trees(depth - 1))
    inner = st.dictionaries(names, entry, max_size=3)
    return st.one_of(inner, inner, inner.map(lambda tree: {**tree, "!": ""})) if depth < 2 else inner


paths = st.one_of(targets, targets.map("/{}".format))


@settings(max_examples=120)
@given(st.lists(trees(2), min_size=1, max_size=4), st.lists(paths, max_size=6))
@example(
    [{"bin": {"mine": "x"}}, {"bin": ("link", "usr/bin"), "usr": {"bin": {"sh": "y"}}}],
    ["bin/sh", "bin/mine"],
)
@example([{"a": {"b": "x"}}, {"a": None}, {"a": {"c": "y"}}], ["a/c", "a/b"])
@example([{"a": {"b": {}}}, {"a": "file"}, {"a": {"b": {"c": "y"}}}], ["a/b/c"])
@example([{"a": {"!": "", "b": "x"}}, {"a": {"c": "y"}}], ["a/c"])
@example([{"a": ("link", "a")}, {"b": ("link", "/c/../../a"), "c": {}}], ["a", "b"])
def test_stack_shows_what_a_mount_shows(layers: list[Tree], asked: list[str]) -> None:
    """For any layers, walk finds the mount's entries and their looks; paths lead where the kernel leads."""
    base = tempfile.mkdtemp(prefix="stack-")
    try:
        layered = Layered(base, layers)
        with layered.mount as merged:
            walked = {path: looks(node.places[0]) for path, node in layered.stack.walk()}
            assert walked == shown(merged)
            for folder in [p for p, (mode, _) in walked.items() if stat.S_ISDIR(mode)]:
                names = sorted(
                    n for n in os.listdir(merged + folder) if os.path.lexists(f"{merged}{folder}/{n}")
                )
                assert layered.stack.listdir(folder) == names
            for path in asked:
                compare(layered.stack, merged, path)
    finally:
        shutil.rmtree(base)


def compare(stack: Stack, merged: str, path: str) -> None:
    """Where the kernel arrives, Stack arrives; where it doesn't, neither (but see below)."""
    real = kernel_resolve(merged, path)
    try:
        canonical, node = stack.find(path)
    except InvalidArgument:
        assert real is None
        return
    if real is not None:
        assert (canonical, node is not None) == (real, True)
    elif node is not None:
        # Stack takes `.` and `..` after what is no folder, or is not there, by their letters.
        texts = [os.readlink(n.places[0]) for _, n in stack.walk() if stat.S_ISLNK(n.info.st_mode)]
        assert any("." in text for text in (path, *texts))


def test_a_missing_tail_is_resolved_as_far_as_it_exists(base: str) -> None:
    """A path to be made gets its symlinks resolved, the rest appended: a WORKDIR lands where cd would."""
    stack = Layered(
        base, [{"app": ("link", "/srv/app")}, {"srv": {"app": {}}, "gone": ("link", "srv/new")}]
    ).stack
    assert stack.find("/app/new/dir") == ("/srv/app/new/dir", None)
    assert stack.resolve("gone/x") == "/srv/new/x"
    assert stack.resolve("gone", follow_last=False) == "/gone"
    assert stack.resolve("/no/../where/./") == "/where"
    assert stack.resolve("../../..") == "/"


def test_no_path_leaves_the_stack(base: str) -> None:
    """Absolute links and any number of `..` end at the stack's root; the host's files are never read."""
    secret = f"{base}/secret"
    with open(secret, "w") as stream:
        stream.write("host")
    up = "../" * 30
    tree = {"abs": ("link", secret), "up": ("link", up + secret), "dir": ("link", up), "etc": {"own": "mine"}}
    stack = Layered(base, [tree]).stack
    for path in ("abs", "up", f"dir/{secret}", up + secret):
        assert stack.read(path) is None
    assert stack.read("dir/etc/own") == b"mine"


def test_a_folder_swapped_for_a_link_is_not_followed(base: str) -> None:
    """When a running container swaps a folder for a symlink after the look-up, open finds nothing."""
    stack = Layered(base, [{"d": {"f": "inside"}}]).stack
    place = stack.find("d/f")[1].places[0]  # type: ignore[union-attr]
    os.rename(f"{base}/0/d", f"{base}/0/old")
    os.mkdir(f"{base}/outside")
    with open(f"{base}/outside/f", "w") as stream:
        stream.write("outside")
    os.symlink(f"{base}/outside", f"{base}/0/d")
    assert stack.open_place(place) is None


def test_reading_has_a_limit_and_takes_only_files(base: str) -> None:
    """What is longer than the limit, a folder, a pipe and nothing read as None; a pipe does not block."""
    stack = Layered(base, [{"f": "12345", "d": {}}]).stack
    os.mkfifo(f"{base}/0/p")
    assert stack.read("f", limit=5) == b"12345"
    assert stack.read("f", limit=4) is None
    assert stack.read("d") is stack.read("p") is stack.read("none") is None


def test_too_many_links_and_nul_are_refused(base: str) -> None:
    """A loop of symlinks and a NUL are errors, not hangs or host errors; an overlong name is just missing."""
    stack = Layered(base, [{"a": ("link", "b"), "b": ("link", "a")}]).stack
    with pytest.raises(InvalidArgument, match="too many levels of symbolic links"):
        stack.lstat("a/x")
    with pytest.raises(InvalidArgument, match="invalid path"):
        stack.lstat("a\0b")
    assert stack.lstat("n" * 300) is None
    assert stack.readlink("a") == "b"


def test_mount_words_take_any_root(tmp_path: Path) -> None:
    """Commas, colons and backslashes in the store's path are escaped as the kernel unescapes them."""
    odd = tmp_path / "a,b:c\\d e"
    for name in ("low", "up", "work"):
        (odd / name).mkdir(parents=True)
    (odd / "low" / "f").write_text("x")
    mount = OverlayMount(
        base=str(odd),
        lower=(f"{odd}/low",),
        upper=f"{odd}/up",
        work=f"{odd}/work",
        target="",
        options=ROOT.overlay_options,
    )
    with mounted("overlay", str(tmp_path / "m"), mount.data()) as merged:
        with open(f"{merged}/new", "w") as stream:
            stream.write("y")
        assert sorted(os.listdir(merged)) == ["f", "new"]
    assert (odd / "up" / "new").read_text() == "y"
