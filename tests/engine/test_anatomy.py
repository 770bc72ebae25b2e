"""What images are made of: diff, blame, waste and tree, on images whose layers do every kind of thing."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Shelf, check_sound, file, layer, special
from tests.servers import ScriptedServer
from tiffin.engine.anatomy import split
from tiffin.errors import InvalidArgument, NotFound
from tiffin.spec import mediatype
from tiffin.store.compare import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine


def folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return special(name, tarfile.DIRTYPE, mode=mode)


BASE = layer(
    folder("etc"), file("etc/one", b"1" * 10), file("etc/two", b"2" * 20), folder("opt"), folder("opt/app"),
    file("opt/app/bin", b"b" * 100), special("link", tarfile.SYMTYPE, linkname="opt"),
    file("hard", b"h" * 7), special("hard2", tarfile.LNKTYPE, linkname="hard"),
)  # fmt: skip
CHANGED = layer(folder("etc"), file("etc/one", b"!" * 12), file("etc/.wh.two", b""), file("new", b"n" * 5))
REPLACED = layer(
    folder("opt"), file("opt/.wh.app", b""), folder("etc"), file("etc/two", b"22"), file(".wh.hard", b"")
)
OPAQUE = layer(
    folder("opt"), file("opt/.wh..wh..opq", b""), folder("opt/app"), file("opt/app/bin", b"B" * 30)
)
LAYERS = (BASE, CHANGED, REPLACED, OPAQUE)
HISTORY = [
    {"created": "2020-01-01T00:00:00Z", "created_by": "ADD base"},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "RUN change"},
    {"created_by": "RUN replace"},
    {"created_by": "COPY app"},
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Images `x:1` to `x:4`: the first one to four of the layers."""
    shelf = Shelf()
    for count in range(1, 5):
        shelf.image(f"{count}", *LAYERS[:count])
        entries = HISTORY[: count + (count > 1)]
        shelf.dress(f"{count}", history=entries, created="2020-01-01T00:00:00Z")
    with make_engine(tmp_path_factory.mktemp("anatomy")) as engine, ScriptedServer(shelf.answer) as server:
        for count in range(1, 5):
            engine.images.pull(f"{server.host}/shop:{count}")
            engine.images.tag(f"{server.host}/shop:{count}", f"x:{count}")
        yield engine


def changes(engine: Engine, old: str, new: str) -> list[tuple[str, str, int, int]]:
    return [(d.change, d.path, d.before, d.after) for d in engine.images.diff(old, new)]


def test_diff(images: Engine) -> None:
    """Added, changed and removed paths with sizes, sorted; what is in a folder that went is told too."""
    assert changes(images, "x:1", "x:1") == []
    assert changes(images, "x:1", "x:2") == [
        ("C", "/etc/one", 10, 12),
        ("D", "/etc/two", 20, 0),
        ("A", "/new", 0, 5),
    ]
    assert changes(images, "x:2", "x:3") == [
        ("A", "/etc/two", 0, 2),
        ("D", "/hard", 7, 0),
        ("D", "/opt/app", 0, 0),
        ("D", "/opt/app/bin", 100, 0),
    ]
    assert changes(images, "x:3", "x:2")[-1] == ("A", "/opt/app/bin", 0, 100)
    assert ("C", "/opt/app/bin", 100, 30) in changes(images, "x:1", "x:4")


def test_diff_looks_at_content_and_looks(tmp_path: Path) -> None:
    """Kind, mode, owner, link text and content count; another time, or another layer, does not."""
    shelf = Shelf()
    shelf.image(
        "a", layer(file("same", b"x", mtime=1), file("mode"), file("owner"), file("kind"),
                   file("text", b"a"), special("link", tarfile.SYMTYPE, linkname="a"), folder("dir"),
                   file("dir/in")),
    )  # fmt: skip
    shelf.image(
        "b", layer(file("same", b"x", mtime=2), file("mode", mode=0o600), file("owner", uid=7),
                   folder("kind"), file("text", b"b"), special("link", tarfile.SYMTYPE, linkname="b"),
                   file("dir")),
    )  # fmt: skip
    with make_engine(tmp_path) as engine, ScriptedServer(shelf.answer) as server:
        names = [f"{server.host}/x:{tag}" for tag in "ab"]
        for name in names:
            engine.images.pull(name)
        found = list(engine.images.diff(names[0], names[1]))
    assert [(d.change, d.path) for d in found] == [
        ("C", "/dir"), ("D", "/dir/in"), ("C", "/kind"), ("C", "/link"), ("C", "/mode"), ("C", "/owner"),
        ("C", "/text"),
    ]  # fmt: skip
    assert Difference(change="C", path="/text", before=1, after=1) in found


def test_indexes_are_made_once_and_again_when_damaged(images: Engine) -> None:
    """A second look reads the indexes; one that is damaged is no answer, and fsck finds and mends it."""
    expected = changes(images, "x:1", "x:4")
    store = images.store
    paths = [store.layout.index(chain) for chain in images.images.get("x:4").layers]
    before = [os.stat(path).st_ino for path in paths]
    assert changes(images, "x:1", "x:4") == expected
    assert [os.stat(path).st_ino for path in paths] == before
    check_sound(images)
    for path, damage in zip(paths, (b"", b"tiffin-index 2 sha256:0\n[]", None), strict=False):
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[:-1] if damage is None else damage)
    findings = images.system.fsck()
    assert {(found.kind, found.path) for found in findings} == {("index", path) for path in paths[:3]}
    assert changes(images, "x:1", "x:4") == expected
    check_sound(images)
    shutil.copy(paths[1], paths[0])
    assert ["was changed" in found.message for found in images.system.fsck()] == [True]
    assert [found.repaired for found in images.system.fsck(repair=True)] == [True]
    check_sound(images)


def lines(engine: Engine, name: str, path: str) -> list[tuple[str, str, int]]:
    return [(line.created_by, line.action, line.size) for line in engine.images.blame(name, path)]


def test_blame(images: Engine) -> None:
    """Every layer that wrote or deleted a path, newest first, by its instruction."""
    assert lines(images, "x:4", "/etc/one") == [("RUN change", "changed", 12), ("ADD base", "added", 10)]
    assert lines(images, "x:4", "/etc/two") == [
        ("RUN replace", "added", 2),
        ("RUN change", "deleted", 0),
        ("ADD base", "added", 20),
    ]
    assert lines(images, "x:4", "/opt/app/bin") == [
        ("COPY app", "added", 30),
        ("RUN replace", "deleted", 0),
        ("ADD base", "added", 100),
    ]
    assert lines(images, "x:4", "/etc") == [("ADD base", "added", 0)], "what is written inside is no change"
    assert lines(images, "x:3", "/hard") == [("RUN replace", "deleted", 0), ("ADD base", "added", 7)]
    through = images.images.blame("x:4", "/link/app/bin")
    assert through[0].path == "/opt/app/bin", "links on the way are followed"
    assert lines(images, "x:1", "/link") == [("ADD base", "added", 0)], "the last one is not"
    config = images.store.images.config(images.images.get("x:4"))
    assert [line.diff_id for line in through] == [config.diff_ids[n] for n in (3, 2, 0)]
    with pytest.raises(NotFound, match="no layer has, or had, /nope"):
        images.images.blame("x:1", "/nope")


def test_what_is_blamed_is_an_image_and_a_path() -> None:
    """The path begins at the first colon before a slash, so ports and tags stay with the name."""
    assert split("localhost:5000/a/b:1:/etc/x:y") == ("localhost:5000/a/b:1", "/etc/x:y")
    for text in ("shop:1", ":/etc", "shop"):
        with pytest.raises(InvalidArgument, match="not an image and a path"):
            split(text)


def test_waste(images: Engine) -> None:
    """Per layer, the bytes of files that a later layer replaced or deleted; one name of a file is enough."""
    views = images.images.history("x:4", waste=True)
    assert [(view.created_by, view.size, view.wasted) for view in views] == [
        ("COPY app", 30, 0),
        ("RUN replace", 2, 0),
        ("RUN change", 17, 0),
        ("ENV A=b", 0, 0),
        ("ADD base", 137, 10 + 20 + 100),
    ]
    assert {view.wasted for view in images.images.history("x:4")} == {-1}
    diff_ids = images.store.images.config(images.images.get("x:4")).diff_ids
    assert [view.layer for view in reversed(views)] == [diff_ids[0], "", *diff_ids[1:]]
    assert sum(view.wasted for view in images.images.history("x:1", waste=True)) == 0


def test_tree(tmp_path: Path) -> None:
    """An index's platforms are listed; only the one that is here has bytes."""
    shelf = Shelf()
    here = shelf.image("one", layer(file("a", b"a" * 50)))
    there = shelf.image("two", layer(file("b")), platform="linux/s390x")
    entries = [
        descriptor.to_json() | {"platform": {"os": "linux", "architecture": architecture}}
        for descriptor, architecture in ((here, "amd64"), (there, "s390x"))
    ]
    body = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries}
    shelf.document(body, mediatype.OCI_INDEX, "both")
    with make_engine(tmp_path) as engine, ScriptedServer(shelf.answer) as server:
        engine.images.pull(f"{server.host}/x:both", platform="linux/amd64")
        (image,) = engine.images.tree()
    assert [(v.platform, v.size) for v in image.variants] == [("linux/amd64", 50), ("linux/s390x", 0)]
    assert image.content == image.variants[0].content > 0
    assert image.containers == 0
