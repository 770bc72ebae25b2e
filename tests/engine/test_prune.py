"""Prunes and disk usage: what a plan lists goes, what came into use stays, sums agree with the disk."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import check_sound
from tests.snapshotter import own_files
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.mount import Mount
from tiffin.store.atomic import tree_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine
    from tiffin.engine.prune import Plan

DAY = 24 * 3600 * 10**9


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Engine]:
    """Images `a:1` (with 3000 bytes of its own) and `b:1` (500) over `base:1` (1000), no busybox anywhere."""
    context = tmp_path / "context"
    context.mkdir()
    for name, size in (("base", 1000), ("a", 3000), ("b", 500)):
        (context / name).write_bytes(os.urandom(size))
    with make_engine(tmp_path) as engine:
        for name, base in (("base", "scratch"), ("a", "base:1"), ("b", "base:1")):
            text = f'FROM {base}\nCOPY {name} /\nCMD ["x"]\nLABEL name={name}\n'
            engine.images.build(str(context), dockerfile=text, tags=[f"{name}:1"])
        yield engine
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True, volumes=True)
        check_sound(engine)


def create(engine: Engine, image: str, **host: object) -> str:
    made = engine.containers.create(ContainerConfig(image=image), HostConfig(network_mode="host", **host))  # type: ignore[arg-type]
    return made.id


def kinds(plan: Plan) -> list[str]:
    return [item.kind for item in plan.items]


def test_a_plan_adds_up_to_what_is_freed(stock: Engine) -> None:
    """Bytes are given to whoever frees them: shared layers to the last; the sum is what the prune reports."""
    stock.system.prune_build_cache(all=True)
    plan = stock.images.plan_prune(all=True)
    assert kinds(plan) == ["image"] * 3
    assert {item.names[0]: item.id for item in plan.items} == {
        f"docker.io/library/{name}:1": stock.images.get(f"{name}:1").id for name in ("a", "b", "base")
    }
    assert plan.size == plan.present > 4500
    assert all("no container uses it" in item.why for item in plan.items)
    before = {view.id for view in stock.images.list()}
    assert {view.id for view in stock.images.list()} == before, "a plan changes nothing"
    assert stock.images.prune(plan=plan).reclaimed == plan.size
    assert stock.images.list() == ()


def held(engine: Engine) -> int:
    """Return the bytes of all layers and blobs."""
    return tree_size(engine.store.layout.layers) + tree_size(engine.store.layout.content)


def test_a_removal_does_what_its_plan_says(stock: Engine) -> None:
    """Of names removed in a row the plan tells which are only names, what goes, and what that frees."""
    stock.system.prune_build_cache(all=True)
    stock.images.tag("a:1", "a:2")
    made = create(stock, "base:1")
    names = ("a:1", "a:2", "a:1", "nosuch", "base:1")
    plan = stock.images.plan_remove(names)
    assert [(item.kind, item.names) for item in plan.items] == [
        ("name", ("docker.io/library/a:1",)),
        ("image", ("docker.io/library/a:2",)),
    ]
    assert [type(error) for error in plan.refused] == [NotFound, NotFound, Conflict]
    before, done = held(stock), []
    for name in names:
        with contextlib.suppress(NotFound, Conflict):
            done += stock.images.remove(name)
    assert [line.untagged or line.deleted for line in done] == ["a:1", "a:2", plan.items[1].id]
    assert before - held(stock) == plan.size > 3000
    forced = stock.images.plan_remove(["base:1"], force=True)
    assert (kinds(forced), forced.refused) == (["image"], ())
    assert [item.id for item in stock.containers.plan_remove([made, made]).items] == [made]


def test_what_came_into_use_after_the_plan_stays(stock: Engine) -> None:
    """A container, a new name, a build over it, or a step found again each keep what the plan lists."""
    images = stock.images.plan_prune(all=True)
    steps = stock.system.plan_prune_build_cache(all=True)
    create(stock, "a:1")
    stock.images.tag("b:1", "b:2")
    stock.images.build(dockerfile="FROM base:1\nLABEL more=1\n", tags=["more:1"])
    assert stock.images.prune(plan=images).removed == ()
    assert {tag for view in stock.images.list() for tag in view.tags} == {
        "a:1", "b:1", "b:2", "base:1", "more:1",
    }  # fmt: skip
    used = steps.items[0]
    assert stock.store.buildcache.find(used.id)
    gone = stock.system.prune(steps).of("step")
    assert used not in gone
    assert set(gone) == set(steps.items) - {used}
    assert [step.key for step in stock.store.buildcache.list() if step.key == used.id]


def test_a_container_that_ran_since_the_plan_stays(stock: Engine, engine: Engine) -> None:
    """Started and ended again, it was in use; the others of the plan go."""
    config = ContainerConfig(image="base:1", cmd=("true",))
    ran, idle = (engine.containers.create(config, HostConfig(network_mode="host")).id for _ in range(2))
    plan = engine.containers.plan_prune()
    assert {(item.id, item.why) for item in plan.items} == {
        (ran, "it was never started"),
        (idle, "it was never started"),
    }
    engine.containers.start(ran).close()
    engine.containers.wait(ran)
    assert engine.containers.prune(plan=plan).removed == (idle,)
    plan = engine.containers.plan_prune(filters={"unused-for": ["1d"]})
    assert plan.items == ()
    assert [item.why for item in engine.containers.plan_prune().items] == ["it exited"]
    assert stock.containers.plan_prune().items == ()


def test_volumes(stock: Engine) -> None:
    """Anonymous ones that no container has; with `all` named ones too; one that is taken meanwhile stays."""
    stock.volumes.create("named", labels={"keep": "yes"})
    anonymous = stock.volumes.create()
    with open(f"{anonymous.path}/data", "wb") as stream:
        stream.write(b"d" * 700)
    assert [(i.id, i.size) for i in stock.volumes.plan_prune().items] == [(anonymous.name, 700)]
    everything = stock.volumes.plan_prune(all=True)
    assert {item.id for item in everything.items} == {"named", anonymous.name}
    assert stock.volumes.plan_prune(all=True, filters={"label!": ["keep"]}).items[0].id == anonymous.name
    mount = Mount(type="volume", source="named", target="/v")
    user = create(stock, "base:1", mounts=(mount,))
    pruned = stock.volumes.prune(plan=everything)
    assert pruned.removed == (anonymous.name,)
    assert pruned.reclaimed == 700
    stock.containers.remove(user)
    assert stock.volumes.prune(filters={"all": ["true"]}).removed == ("named",)
    with pytest.raises(InvalidArgument, match="invalid filter 'until'"):
        stock.volumes.plan_prune(filters={"until": ["1h"]})


def test_unused_for_and_until(stock: Engine) -> None:
    """`unused-for` looks at the last use, of images and of steps; creating a container is a use."""
    database = stock.store.database
    database.execute("UPDATE images SET last_used=?", (time.time_ns() - 20 * DAY,))
    database.execute("UPDATE steps SET last_used=?", (time.time_ns() - 20 * DAY,))
    stock.containers.remove(create(stock, "a:1"))
    found = stock.images.plan_prune(all=True, filters={"unused-for": ["14d"]})
    assert {item.names[0] for item in found.items} == {"docker.io/library/b:1", "docker.io/library/base:1"}
    assert stock.images.plan_prune(all=True, filters={"unused-for": ["3w"]}).items == ()
    steps = stock.store.buildcache.list()
    stock.store.buildcache.find(steps[0].key)
    for key in ("unused-for", "until"):
        text = "336h" if key == "until" else "14d"
        plan = stock.system.plan_prune_build_cache(all=True, filters={key: [text]})
        assert {item.id for item in plan.items} == {step.key for step in steps[1:]}
    with pytest.raises(InvalidArgument, match="invalid length of time: 'ever'"):
        stock.images.plan_prune(filters={"unused-for": ["ever"]})


def test_keep_storage_takes_the_longest_unused_first(stock: Engine) -> None:
    """Steps go, oldest use first, until the cache is no larger than what may stay."""
    for name in ("a:1", "b:1", "base:1"):
        stock.images.remove(name)
    assert stock.system.df().rows[-1].size == 4500
    assert stock.system.plan_prune_build_cache(keep_bytes=5000).items == ()
    order = [step.key for step in reversed(stock.store.buildcache.list())]
    plan = stock.system.plan_prune_build_cache(keep_bytes=1600)
    assert [item.id for item in plan.items] == order[: len(plan.items)]
    assert plan.size == 3000
    assert stock.system.prune(plan).reclaimed == 3000
    assert stock.system.df().rows[-1].size == 1500


def test_everything_at_once(stock: Engine) -> None:
    """A system prune counts what goes first as gone: the images and volumes that only it used go too."""
    mount = Mount(type="volume", source="", target="/v")
    made = create(stock, "a:1", mounts=(mount,))
    plan = stock.system.plan_prune(all=True, volumes=True)
    assert set(kinds(plan)) == {"container", "volume", "image", "step"}
    assert plan.items[0].id == made
    assert stock.system.plan_prune().items[0].kind == "container"
    assert "image" not in kinds(stock.system.plan_prune()), "they all have names"
    carried = stock.system.prune(plan)
    assert carried.done == plan.items
    assert carried.reclaimed == plan.size
    assert [row.size for row in stock.system.df().rows] == [0, 0, 0, 0]
    assert stock.system.plan_prune(all=True, volumes=True).items == ()
    with pytest.raises(InvalidArgument, match='"until" filter is not supported with "--volumes"'):
        stock.system.plan_prune(volumes=True, filters={"until": ["1h"]})


def file_bytes(*folders: str) -> int:
    """Return the lengths of all regular files below folders, each inode once."""
    seen: dict[int, int] = {}
    for folder in folders:
        for where, _, names in os.walk(folder):
            for name in names:
                info = os.lstat(f"{where}/{name}")
                if os.path.isfile(f"{where}/{name}") and not os.path.islink(f"{where}/{name}"):
                    seen[info.st_ino] = info.st_size
    return sum(seen.values())


def test_disk_usage_agrees_with_the_disk(stock: Engine) -> None:
    """The rows add up to the bytes of the files that are there, each counted once."""
    layout = stock.store.layout
    made = create(stock, "a:1")
    with open(f"{own_files(layout.container(made))}/written", "wb") as stream:
        stream.write(b"w" * 900)
    stock.images.remove("b:1")
    volume = stock.volumes.create("vol")
    with open(f"{volume.path}/data", "wb") as stream:
        stream.write(b"v" * 800)
    images, containers, volumes, cache = stock.system.df().rows
    assert images.size + cache.size == file_bytes(layout.layers, f"{layout.content}/blobs")
    assert cache.size == 500
    assert volumes.size == volumes.reclaimable == file_bytes(layout.volumes) == 800
    assert containers.size >= 900
    assert (images.total, images.active) == (2, 1)
    assert (containers.total, containers.active) == (1, 0)
    shown = {image.view.tags[0]: image for image in stock.system.df().images}
    assert shown["a:1"].containers == 1
    assert shown["a:1"].size > shown["base:1"].size > 1000
    stock.volumes.remove("vol")
