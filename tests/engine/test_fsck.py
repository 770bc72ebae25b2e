"""fsck of a real store: layers that are lost or changed come back from their blobs, or are told by name."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Shelf, check_sound, file, layer, shown, special
from tests.layer.trees import facts
from tests.rungs import reads_all
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

BASE = layer(special("d", b"5", mode=0o750, uid=3), file("d/one", b"1"), file("two", b"2", uid=7, mode=0o600))
# A folder that is only implied, a hard link into the layer below, a deletion.
UPPER = layer(file("d/three", b"3"), special("hard", b"1", linkname="two"), file("d/.wh.one", b""))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine with `HOST/app:1`, pulled."""
    shelf = Shelf()
    shelf.image("1", BASE, UPPER)
    with ScriptedServer(shelf.answer) as server, make_engine(tmp_path) as opened:
        opened.images.pull(f"{server.host}/app:1")
        yield opened


def folders(engine: Engine) -> list[str]:
    """Return the folders of the image's layers, bottom first."""
    (name,) = shown(engine)
    return [engine.store.layout.layer(chain) for chain in engine.images.get(name).layers]


@reads_all
@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1)])
def test_lost_layers_come_back_from_their_blobs(engine: Engine, lost: tuple[int, ...]) -> None:
    """The same tree as before, owners and marks too, without the network; the image stays."""
    paths = folders(engine)
    before = [facts(path) for path in paths]
    for number in lost:
        shutil.rmtree(paths[number])
    assert {found.kind for found in engine.system.fsck()} == {"layer", "image"}
    repaired = engine.system.fsck(repair=True)
    assert [found.kind for found in repaired] == ["layer"] * len(lost)
    assert all(found.repaired and "made again" in found.message for found in repaired)
    assert [facts(path) for path in paths] == before
    check_sound(engine)


def test_a_built_layer_that_was_changed_is_noticed(engine: Engine, tmp_path: Path) -> None:
    """A file that somebody changed in a layer is found; the layer is made again if a blob of it is here."""
    (name,) = shown(engine)
    engine.images.build(dockerfile=f"FROM {name}\nWORKDIR /made\n", tags=["app:2"])
    saved = io.BytesIO()
    engine.images.save(["app:2"], saved)
    path = engine.store.layout.layer(engine.images.get("app:2").layers[-1])
    before = facts(path)
    with open(f"{path}/made/evil", "w") as stream:
        stream.write("evil")
    (found,) = engine.system.fsck()
    assert "not those that were committed" in found.message
    done = engine.system.fsck(repair=True)
    assert all(finding.repaired for finding in done)
    assert "app:2" not in shown(engine), "there was no blob of it"
    check_sound(engine)
    engine.images.load(io.BytesIO(saved.getvalue()))
    path = engine.store.layout.layer(engine.images.get("app:2").layers[-1])
    os.rename(path, f"{tmp_path}/gone")
    engine.system.fsck(repair=True)
    assert facts(path) == before
    check_sound(engine)
