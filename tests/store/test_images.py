"""Images: how they are found, docker's sentences, what a name does when it moves, whole or not at all."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.store.parts import a_container, add_image, add_parts
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec.digest import hex_of
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from tiffin.store.images import ImageRecord
    from tiffin.store.store import Store


def two_with_one_prefix(store: Store) -> tuple[ImageRecord, ImageRecord]:
    """Return two images whose ids begin with the same digit."""
    seen: dict[str, ImageRecord] = {}
    for number in range(17):
        image = add_image(store, {"same": "layer"}, command=f"c{number}")
        first = hex_of(image.id)[0]
        if first in seen:
            return seen[first], image
        seen[first] = image
    pytest.fail("seventeen ids have seventeen first digits")


def test_every_way_to_name_an_image(store: Store) -> None:
    """Short, full, tagged and digested names, ids and unique prefixes, with or without sha256:, find it."""
    image = add_image(store, tags=["busybox", "localhost:5000/shop:1"])
    digest = image.manifest.digest
    store.images.add_digest(image.id, Reference.parse(f"busybox@{digest}"))
    bare = hex_of(image.id)
    ids = (image.id, bare, bare[:12], bare[:4], f"sha256:{bare[:9]}")
    named = ("busybox", "busybox:latest", "docker.io/library/busybox", "localhost:5000/shop:1")
    for text in (*ids, *named, f"busybox@{digest}", f"busybox:any@{digest}"):
        assert store.images.resolve(text).id == image.id, text
    found = store.images.resolve("busybox")
    assert found.tags == ("docker.io/library/busybox:latest", "localhost:5000/shop:1")
    assert found.digests == (f"docker.io/library/busybox@{digest}",)
    assert store.images.list() == (found,)
    assert store.images.config(found).config.cmd == ("sh",)
    assert store.images.manifest(found).config.digest == image.id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "No such image: nothing:latest"),
        ("docker.io/library/nothing:1", "No such image: nothing:1"),
        ("host:5000/a/b", "No such image: host:5000/a/b:latest"),
        ("abc123", "No such image: abc123:latest"),
        ("sha256:abc123", "No such image: sha256:abc123"),
        ("a" * 64, f"No such image: {'a' * 64}"),
        (f"x@sha256:{'a' * 64}", f"No such image: x@sha256:{'a' * 64}"),
    ],
)
def test_what_is_missing_is_said_in_dockers_words(store: Store, text: str, message: str) -> None:
    """An unknown name is NotFound with docker's sentence, the name as docker shows it."""
    with pytest.raises(NotFound) as caught:
        store.images.resolve(text)
    assert caught.value.message == message


def test_prefix_of_two_ids_is_ambiguous(store: Store) -> None:
    """A prefix that two ids share finds neither; one more digit does; a name that looks like it wins."""
    first, second = two_with_one_prefix(store)
    pairs = zip(hex_of(first.id), hex_of(second.id), strict=True)
    shared = "".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    with pytest.raises(InvalidArgument, match=f"multiple IDs found with provided prefix: {shared}"):
        store.images.resolve(shared)
    assert store.images.resolve(hex_of(first.id)[: len(shared) + 1]).id == first.id
    store.images.tag(second.id, Reference.parse(hex_of(first.id)[:12]))
    assert store.images.resolve(hex_of(first.id)[:12]).id == second.id


def test_moved_name_leaves_the_old_image_dangling(store: Store) -> None:
    """Committing or tagging under a used name takes it from the other image, which stays, nameless."""
    old = add_image(store, command="old", tags=["app"])
    new = add_image(store, command="new", tags=["app"])
    assert store.images.resolve("app").id == new.id
    assert store.images.get(old.id).tags == ()
    assert store.images.tag(old.id, Reference.parse("app")) == new.id
    assert store.images.get(new.id).tags == ()
    assert store.images.tag(old.id, Reference.parse("app")) == ""


def test_an_image_knows_when_it_last_got_a_tag(store: Store) -> None:
    """Each tag counts, also one that it has already; a digest and losing a tag do not."""
    image = add_image(store)
    assert image.tagged == 0
    before = time.time_ns()
    store.images.tag(image.id, Reference.parse("x:1"))
    first = store.images.get(image.id).tagged
    assert before <= first <= time.time_ns()
    store.images.tag(image.id, Reference.parse("x:1"))
    second = store.images.get(image.id).tagged
    assert first <= second
    store.images.add_digest(image.id, Reference.parse(f"x@{image.manifest.digest}"))
    store.images.untag(Reference.parse("x:1"))
    assert store.images.get(image.id).tagged == second
    assert add_image(store, {"other": "layer"}, tags=["y:1"]).tagged >= second


def test_untag_returns_the_image_and_misses_loudly(store: Store) -> None:
    """Names and digests go one at a time; what is not a name of anything is NotFound."""
    image = add_image(store, tags=["app", "app:2"])
    pinned = Reference.parse(f"app@{image.manifest.digest}")
    store.images.add_digest(image.id, pinned)
    assert store.images.untag(Reference.parse("app")) == image.id
    assert store.images.get(image.id).tags == ("docker.io/library/app:2",)
    assert store.images.untag(pinned) == image.id
    assert store.images.get(image.id).digests == ()
    with pytest.raises(NotFound, match="No such image: app:latest"):
        store.images.untag(Reference.parse("app"))


def test_same_config_again_is_the_same_image(store: Store) -> None:
    """A second commit of equal bytes keeps id and first arrival and adds its names."""
    first = add_image(store, tags=["one"])
    second = add_image(store, tags=["two"])
    assert (first.id, first.added) == (second.id, second.added)
    assert len(second.tags) == 2


def test_commit_of_less_than_everything_names_nothing(store: Store) -> None:
    """Without one of its layers, or its manifest, an image is not committed and its tag not set."""
    for deed in ("DELETE FROM layers WHERE chain_id=?", "DELETE FROM blobs WHERE digest=?"):
        parts = add_parts(store, {"a": "1"}, {"b": "2"})
        missing = parts.layers[0] if "layers" in deed else parts.manifest.digest
        store.database.execute(deed, (missing,))
        with pytest.raises(NotFound, match=f"commit image: .* {missing} not found"):
            store.images.commit(
                config=parts.config,
                manifest=parts.manifest,
                top=parts.manifest,
                size=1,
                tags=[Reference.parse("app")],
            )
        with pytest.raises(NotFound):
            store.images.resolve("app")


def test_used_image_is_removed_only_by_force(store: Store) -> None:
    """A container's image is a Conflict in docker's words; forced away, the container's layers stay."""
    image = add_image(store, tags=["app"])
    record = store.containers.create(a_container(store, image, "web"))
    with pytest.raises(Conflict) as caught:
        store.images.remove(image.id)
    assert caught.value.message == (
        f"conflict: unable to delete {hex_of(image.id)[:12]} (must be forced) - "
        f"image is being used by stopped container {record.id[:12]}"
    )
    assert store.images.users(image.id) == (record.id,)
    store.images.remove(image.id, force=True)
    with pytest.raises(NotFound):
        store.images.resolve("app")
    with pytest.raises(NotFound, match="No such image"):
        store.containers.create(a_container(store, image, "late"))


def test_digest_is_no_tag(store: Store) -> None:
    """A tag is no digest: tag refuses one in docker's words, and an image that is not here."""
    image = add_image(store)
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest reference"):
        store.images.tag(image.id, Reference.parse(f"a@{image.id}"))
    with pytest.raises(NotFound):
        store.images.tag("sha256:" + "0" * 64, Reference.parse("a"))
