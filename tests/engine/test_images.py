"""Names of images, their removal, what is shown of them, and what a prune takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Shelf, check_sound, file, layer, shown, sweep
from tests.servers import ScriptedServer
from tiffin.engine.images import Removed
from tiffin.engine.streams import communicate
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Engine]:
    """An engine with three small images that share a layer: `one:1`, `two:1`, `three:1`."""
    shelf = Shelf()
    below = layer(file("base", b"b" * 1000))
    for name, created, labels in (
        ("one", "2020-01-01T00:00:00Z", {"kind": "app", "size": "small"}),
        ("two", "2021-01-01T00:00:00Z", {"kind": "tool"}),
        ("three", "2022-01-01T00:00:00Z", {}),
    ):
        history = [{"created": created, "created_by": "ADD base"}, {"created_by": f"COPY {name}"}]
        shelf.image(
            name,
            below,
            layer(file(name, name.encode() * 100)),
            config={"Cmd": ["sh"], "Labels": labels, "Env": ["PATH=/bin"]},
        )
        shelf.dress(name, created=created, history=history, author="somebody")
    with make_engine(tmp_path) as engine, ScriptedServer(shelf.answer) as server:
        for name in ("one", "two", "three"):
            engine.images.pull(f"{server.host}/shop:{name}")
            engine.images.tag(f"{server.host}/shop:{name}", f"{name}:1")
            engine.images.remove(f"{server.host}/shop:{name}")
        yield engine
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True)
        check_sound(engine)


def container(engine: Engine, image: str) -> str:
    return engine.containers.create(ContainerConfig(image=image, cmd=("sh",)), HostConfig(), name="user").id


def short(engine: Engine, name: str) -> str:
    return engine.images.get(name).id[7:19]


def test_tag_and_untag(images: Engine) -> None:
    """A name is added and taken away without touching the image; the last one takes the image along."""
    image_id = images.images.get("one:1").id
    images.images.tag("one:1", "localhost:5000/a/b:x")
    images.images.tag(image_id[7:15], "plain")
    assert images.images.get(image_id).tags == (
        "docker.io/library/one:1",
        "docker.io/library/plain:latest",
        "localhost:5000/a/b:x",
    )
    assert images.images.get("plain") == images.images.get("docker.io/library/plain:latest")
    assert images.images.remove("plain") == (Removed(untagged="plain:latest"),)
    assert images.images.remove("localhost:5000/a/b:x") == (Removed(untagged="localhost:5000/a/b:x"),)
    assert images.images.remove("one:1") == (Removed(untagged="one:1"), Removed(deleted=image_id))
    with pytest.raises(NotFound, match="No such image: one:1"):
        images.images.remove("one:1")
    with pytest.raises(NotFound, match="No such image: none:latest"):
        images.images.tag("none", "x")
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest reference"):
        images.images.tag("two:1", f"x@{image_id}")
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        images.images.tag("two:1", "X/Y")


def test_a_tag_moves(images: Engine) -> None:
    """A name that is given to another image leaves the first dangling, with its layers."""
    old = images.images.get("one:1").id
    images.images.tag("two:1", "one:1")
    assert images.images.get("one:1").id == images.images.get("two:1").id
    (dangling,) = images.images.list(filters={"dangling": ["true"]})
    assert (dangling.id, dangling.tags) == (old, ())
    images.images.tag(old, "back:1")
    assert images.images.list(filters={"dangling": ["true"]}) == ()


def test_what_a_container_uses_stays(images: Engine) -> None:
    """Docker's sentences for an image with a stopped container; by force it loses its name, and goes."""
    user = container(images, "one:1")
    image_id, ident = images.images.get("one:1").id, short(images, "one:1")
    with pytest.raises(Conflict) as by_name:
        images.images.remove("one:1")
    assert by_name.value.message == (
        'conflict: unable to remove repository reference "one:1" (must force) - '
        f"container {user[:12]} is using its referenced image {ident}"
    )
    with pytest.raises(Conflict) as by_id:
        images.images.remove(ident)
    assert by_id.value.message == (
        f"conflict: unable to delete {ident} (must be forced) - "
        f"image is being used by stopped container {user[:12]}"
    )
    images.images.tag("one:1", "other:1")
    assert images.images.remove("other:1") == (Removed(untagged="other:1"),), "one of two names may go"
    assert images.images.remove("one:1", force=True) == (
        Removed(untagged="one:1"),
        Removed(deleted=image_id),
    )
    # The container keeps what it stands on.
    sweep(images)
    check_sound(images)
    assert images.containers.inspect(user)["Image"] == image_id
    assert images.containers.list(all=True)[0].image_id == image_id
    images.containers.remove(user)
    sweep(images)


def test_what_a_running_container_uses_cannot_be_forced(engine: Engine) -> None:
    """A running container's image is untagged by force, by name; by id never."""
    engine.images.tag("base:1", "running:1")
    engine.images.build(dockerfile="FROM base:1\nLABEL running=1\n", tags=["running:1"])
    image_id, ident = engine.images.get("running:1").id, short(engine, "running:1")
    user = engine.containers.create(
        ContainerConfig(image="running:1", cmd=("sleep", "1000")), HostConfig(auto_remove=True)
    ).id
    engine.containers.start(user).close()
    message = (
        rf"conflict: unable to delete {ident} \(cannot be forced\) - "
        f"image is being used by running container {user[:12]}"
    )
    for force in (True, False):
        with pytest.raises(Conflict, match=message):
            engine.images.remove(image_id, force=force)
    with pytest.raises(Conflict, match="unable to remove repository reference"):
        engine.images.remove("running:1")
    assert engine.images.remove("running:1", force=True) == (Removed(untagged="running:1"),)
    assert engine.images.get(image_id).tags == ()
    engine.images.prune()
    assert engine.images.get(image_id)
    engine.containers.remove(user, force=True)
    (untagged,) = engine.images.prune().removed
    assert untagged.deleted == image_id


def test_a_stopped_container_outlives_its_image(engine: Engine) -> None:
    """A container whose image was removed by force can still be started, and shows what it was made from."""
    engine.images.build(dockerfile="FROM base:1\nRUN echo kept > /kept\n", tags=["gone:1"])
    user = engine.containers.create(ContainerConfig(image="gone:1", cmd=("cat", "/kept")), HostConfig()).id
    engine.images.remove("gone:1", force=True)
    engine.system.prune_build_cache()
    output: list[bytes] = []
    with engine.containers.start(user, attach=True) as connection:
        assert communicate(connection, b"", lambda _stream, data: output.append(data)) == 0
    assert output == [b"kept\n"]
    assert engine.containers.list(all=True)[0].image == "gone:1"
    engine.containers.remove(user)
    sweep(engine)
    check_sound(engine)


def test_by_id_with_several_names(images: Engine) -> None:
    """An id with several names must be forced; then all of them go."""
    images.images.tag("one:1", "again:1")
    image_id, ident = images.images.get("one:1").id, short(images, "one:1")
    with pytest.raises(Conflict) as several:
        images.images.remove(ident)
    assert several.value.message == (
        f"conflict: unable to delete {ident} (must be forced) - image is referenced in multiple repositories"
    )
    assert images.images.remove(ident, force=True) == (
        Removed(untagged="again:1"),
        Removed(untagged="one:1"),
        Removed(deleted=image_id),
    )
    assert images.images.remove(short(images, "two:1"))[-1].deleted
    assert shown(images) == ["three:1"]


def test_digests_go_with_the_last_tag_of_their_repository(tmp_path: Path) -> None:
    """Untagging a pulled image takes its digest along; one pulled by digest goes by that."""
    shelf = Shelf()
    digest = shelf.image("1", layer(file("a"))).digest
    with make_engine(tmp_path) as engine, ScriptedServer(shelf.answer) as server:
        for repository in ("a", "b"):
            engine.images.pull(f"{server.host}/{repository}:1")
        image_id = engine.images.get(f"{server.host}/a:1").id
        assert engine.images.remove(f"{server.host}/a:1") == (
            Removed(untagged=f"{server.host}/a:1"),
            Removed(untagged=f"{server.host}/a@{digest}"),
        )
        assert engine.images.get(image_id).digests == (f"{server.host}/b@{digest}",)
        assert engine.images.remove(f"{server.host}/b:1")[-1] == Removed(deleted=image_id)
        by_digest = f"{server.host}/c@{digest}"
        engine.images.pull(by_digest)
        assert engine.images.list()[0].digests == (by_digest,)
        assert engine.images.remove(by_digest) == (Removed(untagged=by_digest), Removed(deleted=image_id))
        check_sound(engine)
        assert os.listdir(f"{engine.store.layout.content}/blobs/sha256") == []


def test_layers_that_others_use_stay(images: Engine) -> None:
    """Removing an image frees its own layers only; what is shared goes with its last user."""
    layers = images.images.get("one:1").layers
    assert layers[0] == images.images.get("two:1").layers[0]
    images.images.remove("one:1")
    assert images.store.snapshots.has(layers[0])
    assert not images.store.snapshots.has(layers[1])
    images.images.remove("two:1")
    images.images.remove("three:1")
    assert not images.store.snapshots.has(layers[0])
    assert os.listdir(images.store.layout.layers) == ["empty"]


def test_prune(images: Engine) -> None:
    """By default what is dangling; with `all` what no container uses; filters narrow both."""
    images.images.tag("two:1", "one:1")
    dangling = images.images.list(filters={"dangling": ["true"]})[0].id
    pruned = images.images.prune()
    assert [line.deleted for line in pruned.removed] == [dangling]
    assert pruned.reclaimed >= 300
    assert images.images.prune().removed == ()
    container(images, "three:1")
    assert images.images.prune(all=True, filters={"label": ["kind=app"]}).removed == ()
    assert images.images.prune(all=True, filters={"label!": ["kind"]}).removed == ()
    assert images.images.prune(all=True, filters={"until": ["2020-06-01T00:00:00Z"]}).removed == ()
    assert images.images.prune(all=True, filters={"until": ["10m"], "label": ["kind=tool"]}).removed
    assert shown(images) == ["three:1"]
    assert images.images.prune(filters={"dangling": ["false"]}).removed == ()
    with pytest.raises(InvalidArgument, match="invalid filter 'size'"):
        images.images.prune(filters={"size": ["1"]})


def test_filters_of_the_list(images: Engine) -> None:
    """Docker's filters: several values of a key are OR-ed, labels and keys AND-ed."""

    def found(**filters: list[str]) -> list[str]:
        return [view.tags[0] for view in images.images.list(filters=filters)]

    assert found() == ["three:1", "two:1", "one:1"], "the newest first"
    assert found(label=["kind"]) == ["two:1", "one:1"]
    assert found(label=["kind", "size=small"]) == ["one:1"]
    assert found(label=["kind=none"]) == []
    assert found(before=["two:1"]) == ["one:1"]
    assert found(since=["two:1"]) == ["three:1"]
    assert found(reference=["t*"]) == ["three:1", "two:1"]
    assert found(reference=["t*:2", "one"]) == ["one:1"]
    assert found(reference=["*/*"]) == []
    assert found(until=["2021-06-01T00:00:00Z"], label=["kind"]) == ["two:1", "one:1"]
    assert found(dangling=["true"]) == []
    with pytest.raises(InvalidArgument, match="invalid filter 'colour'"):
        found(colour=["red"])
    with pytest.raises(InvalidArgument, match="invalid filter 'dangling=perhaps'"):
        found(dangling=["perhaps"])
    with pytest.raises(NotFound, match="No such image: none:latest"):
        found(before=["none"])


def test_inspect_and_history(images: Engine) -> None:
    """What docker's clients read of an image has docker's names and types; history is newest first."""
    told = images.images.inspect("one:1")
    record = images.images.get("one:1")
    assert told["Id"] == record.id
    assert told["RepoTags"] == ["one:1"]
    assert told["RepoDigests"] == []
    assert told["Created"] == "2020-01-01T00:00:00Z"
    assert told["Author"] == "somebody"
    assert (told["Os"], told["Size"]) == ("linux", 1300)
    assert told["Config"]["Env"] == ["PATH=/bin"]
    assert told["Config"]["Cmd"] == ["sh"]
    assert told["Config"]["Labels"] == {"kind": "app", "size": "small"}
    assert told["RootFS"]["Type"] == "layers"
    assert len(told["RootFS"]["Layers"]) == 2
    assert told["GraphDriver"]["Data"]["UpperDir"] == images.store.layout.layer(record.layers[-1])
    newest, oldest = images.images.history("one:1")
    assert (newest.id, newest.created_by, newest.size) == (record.id, "COPY one", 300)
    assert (oldest.id, oldest.created_by, oldest.size) == ("", "ADD base", 1000)
    assert newest.tags == ("one:1",)


def test_the_build_cache_stays_until_it_is_pruned(tmp_path: Path) -> None:
    """A removed image's steps are still cached; `prune_build_cache` gives back what no image uses."""
    with make_engine(tmp_path) as engine:
        (tmp_path / "context").mkdir()
        (tmp_path / "context/data").write_bytes(b"d" * 5000)
        (tmp_path / "context/Dockerfile").write_text("FROM scratch\nCOPY data /\n")
        first = engine.images.build(str(tmp_path / "context"), tags=["made:1"])
        layer_id = engine.images.get("made:1").layers[0]
        engine.images.remove("made:1")
        sweep(engine)
        assert engine.store.snapshots.has(layer_id)
        again = engine.images.build(str(tmp_path / "context"), tags=["made:1"])
        assert again.image_id == first.image_id
        assert engine.system.prune_build_cache() == 0, "an image uses it"
        assert engine.store.snapshots.has(layer_id)
        engine.images.remove("made:1")
        assert engine.system.prune_build_cache() >= 5000
        assert not engine.store.snapshots.has(layer_id)
        engine.images.build(str(tmp_path / "context"), tags=["made:1"])
        engine.system.prune_build_cache(all=True)
        assert engine.images.get("made:1")
        check_sound(engine)
