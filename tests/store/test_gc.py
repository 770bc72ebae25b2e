"""gc and fsck: what is kept and why, what goes, what is found and what a repair makes of it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import a_container, add_container, add_image, add_layer
from tiffin.errors import NotFound
from tiffin.spec import jsontext, mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.store import fsck, gc

if TYPE_CHECKING:
    from tiffin.store.store import Store


def kinds(items: tuple[gc.Removable, ...]) -> list[str]:
    """Return the kinds of what is removable, sorted."""
    return sorted(item.kind for item in items)


def test_an_image_keeps_all_that_it_is_made_of(store: Store) -> None:
    """Its index, manifest, config, blobs and layers stay; once it is removed all go, with their sizes."""
    image = add_image(store, {"a": "12345"}, {"b": "67"}, tags=["app"])
    index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [image.manifest.to_json()]}
    top = store.content.put_bytes(jsontext.dumps_bytes(index), mediatype.OCI_INDEX)
    config = store.images.config(image)
    store.images.commit(config=config, manifest=image.manifest, top=top, size=7)
    assert gc.plan(store) == gc.sweep(store) == ()
    store.images.remove(image.id)
    planned = gc.plan(store)
    assert kinds(planned) == ["blob"] * 5 + ["layer"] * 2
    assert sum(item.size for item in planned if item.kind == "layer") == 7
    removed = gc.sweep(store)
    assert sorted(removed, key=repr) == sorted(planned, key=repr)
    assert gc.plan(store) == ()


def test_other_platforms_of_an_index_need_not_be_here(store: Store) -> None:
    """An index whose other manifests were never fetched keeps what is here, and is no error."""
    image = add_image(store)
    other = image.manifest.replace(digest="sha256:" + "0" * 64)
    manifests = [image.manifest.to_json(), other.to_json()]
    raw = jsontext.dumps_bytes({"schemaVersion": 2, "manifests": manifests})
    top = store.content.put_bytes(raw, mediatype.OCI_INDEX)
    store.images.commit(config=store.images.config(image), manifest=image.manifest, top=top, size=7)
    assert gc.sweep(store) == ()
    assert fsck.check(store) == []


def test_a_container_keeps_its_layers_without_its_image(store: Store) -> None:
    """A forced-away image leaves the layers that a container stands on, until the container goes."""
    image = add_image(store, {"a": "1"}, {"b": "2"})
    record = add_container(store, image)
    store.images.remove(image.id, force=True)
    assert kinds(gc.sweep(store)) == ["blob"] * 4
    assert all(map(store.snapshots.has, image.layers))
    store.containers.remove(record.id)
    assert set(kinds(gc.sweep(store))) == {"layer"}
    assert [n for n in os.listdir(store.layout.layers) if not n.startswith(("empty", "scratch"))] == []


def test_the_build_cache_keeps_what_its_results_name(store: Store) -> None:
    """A cached step's layer (and those below it) and blobs stay until the cache is pruned."""
    base, _ = add_layer(store, {"a": "1"})
    layer, _ = add_layer(store, {"b": "2"}, parent=base)
    blob = store.content.put_bytes(b"x", mediatype.OCI_LAYER)
    store.buildcache.put("k", {}, {"deep": [{"layer": layer}, f"blob {blob.digest}"]})
    assert gc.sweep(store) == ()
    assert store.buildcache.prune() == ("k",)
    assert kinds(gc.sweep(store)) == ["blob", "layer", "layer"]


def test_a_lease_keeps_what_it_holds_finds_and_brings(store: Store) -> None:
    """Under a lease, things named to it, things asked for and found, and everything newer stay."""
    held, _ = add_layer(store, {"a": "held"})
    found, _ = add_layer(store, {"a": "found"})
    blob = store.content.put_bytes(b"found", mediatype.OCI_LAYER)
    add_layer(store, {"a": "neither"})
    with store.lease("build") as lease:
        lease.hold([held])
        assert store.snapshots.has(found)
        assert store.content.has_blob(blob)
        add_layer(store, {"a": "brought"})
        store.content.put_bytes(b"brought", mediatype.OCI_LAYER)
        assert kinds(gc.sweep(store)) == ["layer"]
    assert kinds(gc.sweep(store)) == ["blob", "blob", "layer", "layer", "layer"]


def test_compressed_blobs_live_as_long_as_their_layer(store: Store) -> None:
    """What a push compressed is kept for the next push while the layer is needed."""
    image = add_image(store, {"a": "1"})
    blob = store.content.put_bytes(b"smaller", mediatype.OCI_LAYER_GZIP)
    diff_id = store.images.config(image).diff_ids[0]
    store.content.remember_compressed(diff_id, blob)
    assert gc.sweep(store) == ()
    assert store.content.compressed(diff_id) == blob
    store.images.remove(image.id)
    gc.sweep(store)
    assert store.content.compressed(diff_id) is None


def test_plan_changes_nothing(store: Store) -> None:
    """A dry run leaves every file and row where it was."""
    image = add_image(store, {"a": "1"})
    store.images.remove(image.id)
    before = sorted(os.walk(store.layout.root))
    assert gc.plan(store) == gc.plan(store) != ()
    assert sorted(os.walk(store.layout.root)) == before


def findings(store: Store, *, repair: bool = False) -> list[tuple[str, bool]]:
    """Return what fsck finds, but rubbish."""
    return [(f.kind, f.repaired) for f in fsck.check(store, repair=repair) if f.is_damage]


def test_sound_store_has_no_findings(store: Store) -> None:
    """A store in ordinary use is silent under fsck."""
    add_container(store, add_image(store, tags=["app"]), "web")
    store.volumes.ensure("data")
    assert fsck.check(store) == []


def test_damaged_blob_is_found_and_its_image_dropped(store: Store) -> None:
    """A flipped bit in a layer's blob costs the image that needs it, no other; a pull can bring it back."""
    broken = add_image(store, {"a": "1"}, tags=["broken"])
    sound = add_image(store, {"b": "2"}, tags=["sound"], command="other")
    blob = store.images.manifest(broken).layers[0]
    with open(store.content.path(blob.digest), "r+b") as stream:
        stream.write(b"!")
    assert findings(store) == [("blob", False)]
    assert findings(store, repair=True) == [("blob", True), ("image", True)]
    assert fsck.check(store) == []
    assert store.images.resolve("sound") == sound
    with pytest.raises(NotFound):
        store.images.resolve("broken")
    assert not store.content.has_blob(Descriptor(media_type="", digest=blob.digest, size=blob.size))


def test_missing_layer_is_found_with_all_that_stands_on_it(store: Store) -> None:
    """A lost layer folder names the layer, the image and the container; a repair leaves no dangling row."""
    image = add_image(store, {"a": "1"}, {"b": "2"}, tags=["app"])
    record = add_container(store, image, "web")
    shutil.rmtree(store.layout.layer(image.layers[0]))
    assert [kind for kind, _ in findings(store)] == ["layer", "image", "container"]
    findings(store, repair=True)
    found = fsck.check(store)
    assert [f.kind for f in found] == ["layer", "container"] or [f.kind for f in found] == ["container"]
    store.containers.remove(record.id)
    fsck.check(store, repair=True)
    assert fsck.check(store) == []


def test_lost_folders_are_made_again_and_lost_rows_found_again(store: Store) -> None:
    """A container's folder is remade empty; a volume's folder without a row becomes a volume again."""
    record = add_container(store, add_image(store), "web")
    shutil.rmtree(store.layout.container(record.id))
    data = store.volumes.ensure("data").path
    with open(f"{data}/f", "w") as stream:
        stream.write("precious")
    store.volumes.ensure("other")
    shutil.rmtree(f"{store.layout.volumes}/other")
    store.database.execute("DELETE FROM volumes WHERE name='data'")
    store.database.execute("INSERT INTO names VALUES ('docker.io/library/x:1', 'sha256:none')")
    expected = ["name", "container", "volume", "volume"]
    assert [kind for kind, _ in findings(store)] == expected
    assert findings(store, repair=True) == [(kind, True) for kind in expected]
    assert fsck.check(store) == []
    assert {volume.name for volume in store.volumes.list()} == {"data", "other"}
    with open(f"{data}/f") as stream:
        assert stream.read() == "precious"


def test_container_whose_folder_nobody_owns_is_kept_while_it_has_a_row(store: Store) -> None:
    """Of an old container the maker is long gone: its row is what keeps its folder."""
    record = store.containers.create(a_container(store, add_image(store)))
    store.snapshots.prepare(record.id, record.layers)
    os.unlink(f"{store.layout.container(record.id)}/.owner")
    assert gc.sweep(store) == ()
