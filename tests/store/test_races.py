"""Two processes at once: one name, one tag, one blob, one store that is not there yet; gc beside work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.store.parts import add_image, go_on, line_of, spawn
from tiffin.store import fsck, gc
from tiffin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.settings import Settings


def race(root: str, script: str, count: int = 4) -> list[str]:
    """Run a script in several processes that start together; return the line that each says at its end."""
    runners = [spawn(root, f"say('ready')\nsys.stdin.readline()\n{script}") for _ in range(count)]
    for runner in runners:
        assert line_of(runner) == "ready"
    for runner in runners:
        go_on(runner)
    said = [line_of(runner) for runner in runners]
    for runner in runners:
        runner.communicate()
        assert runner.returncode == 0
    return said


def test_one_name_has_one_winner(settings: Settings, tmp_path: Path) -> None:
    """Of several creates of one name one wins, the others say who; every loser leaves nothing."""
    with Store(settings) as store:
        add_image(store, tags=["app"])
    said = race(
        str(tmp_path),
        """
from tiffin.errors import Conflict
image = store.images.resolve("app")
won = []
for n in range(30):
    try:
        won.append(store.containers.create(a_container(store, image, f"name{n}")).id)
    except Conflict as error:
        assert "is already in use by container" in error.message
say(str(len(won)))
""",
    )
    assert sum(map(int, said)) == 30
    with Store(settings) as store:
        assert {record.name for record in store.containers.list()} == {f"name{n}" for n in range(30)}


def test_one_tag_has_one_image(settings: Settings, tmp_path: Path) -> None:
    """Several commits under one tag end with one of them having it, all whole."""
    said = race(
        str(tmp_path),
        """
for n in range(10):
    image = add_image(store, {"same": "base"}, {"n": str(n)}, tags=["app"], command=f"{os.getpid()} {n}")
say(image.id)
""",
    )
    with Store(settings) as store:
        assert store.images.resolve("app").id in said
        assert len(store.images.list()) == 40
        assert not [finding for finding in fsck.check(store) if finding.is_damage]


def test_one_blob_is_written_whole_by_several(settings: Settings, tmp_path: Path) -> None:
    """Several downloads of one digest, resumable or not, all succeed and leave one blob."""
    race(
        str(tmp_path),
        """
from tiffin.spec import digest
from tiffin.spec.descriptor import Descriptor
for n in range(20):
    data = bytes([n]) * 100_000
    wanted = Descriptor(media_type="", digest=digest.of(data), size=len(data))
    with store.content.ingest(wanted, resume=os.getpid() % 3 > 0) as writer:
        while writer.offset < len(data):
            writer.write(data[writer.offset : writer.offset + 7000])
        writer.commit()
    assert store.content.read(wanted.digest) == data
say("done")
""",
    )
    with Store(settings) as store:
        assert len(os.listdir(f"{store.layout.content}/blobs/sha256")) == 20
        assert os.listdir(store.layout.ingest) == []


def test_new_store_is_made_once(settings: Settings, tmp_path: Path) -> None:
    """Several first openings at once make one store, and each can use it."""
    runners = [spawn(str(tmp_path), f"add_image(store, tags=['n{n}'])\nsay('ok')") for n in range(4)]
    for runner in runners:
        assert runner.communicate()[0] == b"ok\n"
    with Store(settings) as store:
        assert len(store.images.resolve("n0").tags) == 4
    assert not [name for name in os.listdir(settings.root) if ".tmp" in name]


def test_gc_beside_builds_takes_nothing_of_theirs(settings: Settings, tmp_path: Path) -> None:
    """While images are built and removed, sweeps never take what a lease, an image or a container needs."""
    builder = spawn(
        str(tmp_path),
        """
say("ready")
for n in range(40):
    with store.lease("build"):
        image = add_image(store, {"same": "base"}, {"n": str(n % 3)}, tags=["app"], command=f"{n}")
    record = add_container(store, image)
    assert store.stack(record.layers).read("n") == str(n % 3).encode()
    assert all(map(store.snapshots.has, image.layers))
    store.containers.remove(record.id)
    store.images.remove(image.id)
say("done")
""",
    )
    assert line_of(builder) == "ready"
    swept = 0
    with Store(settings) as store:
        while builder.poll() is None:
            swept += len(gc.sweep(store))
        assert line_of(builder) == "done"
        builder.communicate()
        assert builder.returncode == 0
        swept += len(gc.sweep(store))
        assert swept > 40
        assert fsck.check(store) == []
