"""kill -9 at every moment: what was stays whole, what was not finished is not there, gc clears the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.snapshotter import own_files
from tests.store.parts import (
    a_container,
    add_container,
    add_image,
    die_everywhere,
    go_on,
    kill,
    line_of,
    settings_for,
    spawn,
)
from tiffin.errors import NotFound
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.reference import Reference
from tiffin.store import fsck, gc
from tiffin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.settings import Settings

BLOB = bytes(range(256)) * 40


def wrong(store: Store) -> list[fsck.Finding]:
    """Return what fsck finds that is worse than rubbish."""
    return [finding for finding in fsck.check(store) if finding.is_damage]


def check_clean(store: Store) -> None:
    """After a sweep there is nothing on disk that has no row, and a second sweep finds nothing."""
    gc.sweep(store)
    assert gc.plan(store) == ()
    assert os.listdir(store.layout.drafts) == os.listdir(store.layout.ingest) == []
    assert not wrong(store)


def descriptor_of(data: bytes) -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(media_type=mediatype.OCI_LAYER, digest=digests.of(data), size=len(data))


def test_killed_ingest_leaves_a_whole_blob_or_none(settings: Settings) -> None:
    """Wherever a download dies, the blob is there with all its bytes or absent; a next try completes it."""
    Store(settings).close()
    number = 0

    def ingest() -> None:
        data = BLOB + b"%d" % number
        with Store(settings) as store, store.content.ingest(descriptor_of(data)) as writer:
            for start in range(writer.offset, len(data), 4000):
                writer.write(data[start : start + 4000])
            writer.commit()

    resumed = 0
    for _ in die_everywhere(ingest):
        data = BLOB + b"%d" % number
        with Store(settings) as store:
            if store.content.has_blob(descriptor_of(data)):
                assert store.content.read(digests.of(data)) == data
            with store.content.ingest(descriptor_of(data)) as writer:
                resumed += writer.offset > 0
                writer.write(data[writer.offset :])
                writer.commit()
            assert store.content.read(digests.of(data)) == data
        number += 1
    assert number > 20, "the deaths did not cover the deed"
    assert resumed > 5, "no try went on where a dead one had been"
    with Store(settings) as store:
        assert not wrong(store)
        check_clean(store)
        assert os.listdir(f"{store.layout.content}/blobs/sha256") == []


def test_killed_commit_names_a_whole_image_or_the_old_one(settings: Settings) -> None:
    """A tag never points to half an image: until the commit is through it names what it named before."""
    settings = settings.replace(durable=False)  # a hundred syncs would take their time and change nothing
    with Store(settings) as store:
        old = add_image(store, {"v": "old"}, tags=["app:1"])
    number = 0

    def commit() -> None:
        with Store(settings) as store, store.lease("build"):
            new = {"v": f"new {number}"}
            add_image(store, {"base": "same"}, new, tags=["app:1", f"app:n{number}"], command=f"c{number}")

    committed = False
    for _ in die_everywhere(commit):
        with Store(settings) as store:
            found = store.images.resolve("app:1")
            committed = found.id != old.id
            if committed:
                assert store.images.resolve(f"app:n{number}") == found
                assert store.stack(found.layers).read("v") == f"new {number}".encode()
                store.images.tag(old.id, Reference.parse("app:1"))
            else:
                with pytest.raises(NotFound):
                    store.images.resolve(f"app:n{number}")
            assert not wrong(store)
        number += 1
    assert committed
    assert number > 60, "the deaths did not cover the deed"
    with Store(settings) as store:
        for image in store.images.list():
            if image.id != old.id:
                store.images.remove(image.id)
        check_clean(store)
        assert store.stack(old.layers).read("v") == b"old"


def test_killed_create_leaves_a_container_or_a_free_name(settings: Settings) -> None:
    """Wherever create dies, the name is free, or the container is whole and can be removed."""
    with Store(settings) as store:
        image = add_image(store, tags=["app"])

    def create() -> None:
        with Store(settings) as store:
            add_container(store, store.images.resolve("app"), "web")

    seen = set()
    for _ in die_everywhere(create):
        with Store(settings) as store:
            records = store.containers.list()
            seen.add(len(records))
            for record in records:
                assert store.containers.resolve("web") == record
                store.snapshots.prepare(record.id, record.layers)
                assert os.path.isdir(own_files(store.layout.container(record.id)))
                store.containers.remove(record.id)
            store.containers.create(a_container(store, image, "web"))
            store.containers.remove(store.containers.resolve("web").id)
    assert seen == {0, 1}
    with Store(settings) as store:
        check_clean(store)
        assert os.listdir(store.layout.containers) == []


def test_killed_remove_never_leaves_a_row_without_a_folder(settings: Settings) -> None:
    """A container whose removal dies is there with its files, or gone with its name free."""
    with Store(settings) as store:
        image = add_image(store, tags=["app"])
        record = add_container(store, image, "web")

    def remove() -> None:
        with Store(settings) as store:
            store.containers.remove(store.containers.resolve("web").id)

    for _ in die_everywhere(remove):
        with Store(settings) as store:
            try:
                record = store.containers.resolve("web")
            except NotFound:
                record = add_container(store, image, "web")
                with open(f"{own_files(store.layout.container(record.id))}/data", "w") as stream:
                    stream.write("kept")
            else:
                store.snapshots.prepare(record.id, record.layers)
                assert os.path.isdir(own_files(store.layout.container(record.id)))
                assert not wrong(store)
    with Store(settings) as store:
        store.containers.remove(store.containers.resolve("web").id)
        check_clean(store)
        assert os.listdir(store.layout.containers) == []


def test_killed_sweep_keeps_what_is_referred_to(settings: Settings) -> None:
    """Wherever gc dies, images stay whole; the next sweep takes what it left."""
    settings = settings.replace(durable=False)
    with Store(settings) as store:
        kept = add_image(store, {"base": "same"}, {"v": "kept"}, tags=["kept"])
    number = 0

    def sweep() -> None:
        with Store(settings) as store:
            gc.sweep(store)

    def waste() -> None:
        with Store(settings) as store:
            doomed = add_image(store, {"base": "same"}, {"v": f"doomed {number}"}, command=str(number))
            store.images.remove(doomed.id)

    waste()
    for _ in die_everywhere(sweep):
        with Store(settings) as store:
            assert store.stack(kept.layers).read("v") == b"kept"
            check_clean(store)
        number += 1
        waste()
    with Store(settings) as store:
        check_clean(store)
        assert number > 40, "the deaths did not cover the deed"
        assert len(os.listdir(f"{store.layout.content}/blobs/sha256")) == 4  # config, manifest, two layers


def test_killed_making_of_a_store_is_made_again(tmp_path: Path) -> None:
    """A store whose very first opening dies is opened by the next command as if nothing had been."""
    number = 0

    def make() -> None:
        Store(settings_for(str(tmp_path / str(number)))).close()

    for _ in die_everywhere(make):
        with Store(settings_for(str(tmp_path / str(number)), durable=False)) as store:
            add_image(store, tags=["app"])
            assert not wrong(store)
        number += 1
    assert number > 10, "the deaths did not cover the deed"


@pytest.mark.parametrize("words", [3, 10, 25, 60])
def test_killed_at_any_time_from_outside(settings: Settings, tmp_path: Path, words: int) -> None:
    """A process killed from outside, inside SQLite's commit as likely as anywhere, leaves a sound store."""
    with Store(settings) as store:
        add_image(store, tags=["app"])
    process = spawn(
        str(tmp_path),
        """
say("ready")
for n in range(10**9):
    add_image(store, {"n": str(n)}, tags=["app:n"], command=str(n))
    record = add_container(store, store.images.resolve("app:n"), f"c{n}")
    say(f"made {n}")
    if n % 3:
        store.containers.remove(record.id)
""",
    )
    for _ in range(words):
        line_of(process)
    kill(process)
    with Store(settings) as store:
        assert not wrong(store)
        assert store.images.resolve("app:n").tags == ("docker.io/library/app:n",)
        for record in store.containers.list():
            store.containers.remove(record.id)
        check_clean(store)


def test_a_dead_download_waits_for_the_next(settings: Settings, tmp_path: Path) -> None:
    """What a killed pull had of a blob is where the next one goes on, until gc."""
    Store(settings).close()
    script = """
from tiffin.spec.descriptor import Descriptor
data = b"0123456789" * 1000
from tiffin.spec import digest
writer = store.content.ingest(Descriptor(media_type="", digest=digest.of(data), size=len(data)))
writer.write(data[:6000])
say("half")
sys.stdin.readline()
"""
    data = b"0123456789" * 1000
    process = spawn(str(tmp_path), script)
    assert line_of(process) == "half"
    with Store(settings) as store:
        with store.content.ingest(descriptor_of(data)) as writer:
            assert writer.offset == 0, "a living process's download was taken over"
        assert gc.sweep(store) == ()
    kill(process)
    with Store(settings) as store:
        with store.content.ingest(descriptor_of(data)) as writer:
            assert writer.offset == 6000
        check_clean(store)
        with store.content.ingest(descriptor_of(data)) as writer:
            assert writer.offset == 0


def test_a_killed_build_step_is_swept_a_living_one_not(settings: Settings, tmp_path: Path) -> None:
    """A writable folder without a container belongs to the process that made it, and goes with it."""
    with Store(settings) as store:
        add_image(store, tags=["app"])
    process = spawn(
        str(tmp_path),
        """
with store.lease("build"):
    store.snapshots.prepare("step1", store.images.resolve("app").layers)
    draft = store.snapshots.begin()
    say("ready")
    sys.stdin.readline()
    draft.discard()
    say("on")
    sys.stdin.readline()
""",
    )
    assert line_of(process) == "ready"
    with Store(settings) as store:
        assert gc.sweep(store) == ()
    go_on(process)
    assert line_of(process) == "on"
    kill(process)
    with Store(settings) as store:
        assert {item.kind for item in gc.sweep(store)} == {"folder"}
        check_clean(store)
