"""events and buildcache: what was written is found again, torn lines and other filters are not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.store.parts import spawn

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.settings import Settings
    from tiffin.store.store import Store


def test_events_are_found_by_time_and_filter(store: Store) -> None:
    """Type, action, label, id and name filters and both ends of a span choose what docker would show."""
    log = store.events
    log.append("container", "create", "c1", {"name": "web", "app": "shop"})
    log.append("container", "exec_start: sh -c true", "c1", {"name": "web"})
    log.append("image", "pull", "busybox:latest")
    everything = list(log.read())
    assert [event.action for event in everything] == ["create", "exec_start: sh -c true", "pull"]

    def found(**filters: list[str]) -> list[str]:
        return [event.action for event in log.read(filters=filters)]

    assert found(type=["image"]) == found(image=["busybox:latest"]) == ["pull"]
    assert found(event=["exec_start"]) == ["exec_start: sh -c true"]
    assert found(container=["web"], label=["app=shop"]) == found(label=["app"]) == ["create"]
    assert found(container=["c"], event=["create", "pull"]) == ["create"]
    assert found(label=["app=other"]) == found(container=["x"]) == []
    middle = everything[1].time
    assert list(log.read(since=middle)) == everything[1:]
    assert list(log.read(until=middle)) == everything[:2]
    assert everything[0].to_json()["Actor"] == {"ID": "c1", "Attributes": {"name": "web", "app": "shop"}}


def test_torn_line_hides_only_itself(store: Store) -> None:
    """A record that a full disk or a power cut tore is left out, those around it are not."""
    store.events.append("image", "one", "x")
    with open(store.layout.events, "a") as stream:
        stream.write('\n{"t": 5, "type": "ima')
    store.events.append("image", "two", "x", {"big": "x" * 100_000})
    assert [(event.action, len(event.attributes)) for event in store.events.read()] == [
        ("one", 0),
        ("two", 0),
    ]


def test_writers_do_not_mix(store: Store, settings: Settings, tmp_path: Path) -> None:
    """Records of several processes all arrive whole, through the log's rotation too."""
    with open(store.layout.events, "w") as stream:
        stream.write("\n" * (8 << 20))
    script = "for n in range(300): store.events.append('t', 'a', f'{os.getpid()} {n}', {'k': 'v' * 200})"
    runners = [spawn(str(tmp_path), script) for _ in range(3)]
    for runner in runners:
        runner.communicate()
        assert runner.returncode == 0
    assert len({event.id for event in store.events.read()}) == 900
    assert os.path.getsize(store.layout.events) < 1 << 20


def test_cached_steps_are_found_by_key_and_by_ingredient(store: Store) -> None:
    """A find is exact and counts uses; last_with gives the latest used step of a place, to compare with."""
    cache = store.buildcache
    cache.put("k1", {"stage": "a", "step": 2, "files": {"x": "1"}}, {"layer": "l1"})
    cache.put("k2", {"stage": "a", "step": 2, "files": {"x": "2"}}, {"layer": "l2"})
    cache.put("k3", {"stage": "b", "step": 2}, {"layer": "l3"})
    assert cache.find("none") is None
    latest = cache.last_with(stage="a", step=2)
    assert latest is not None
    assert latest.ingredients["files"] == {"x": "2"}
    cache.find("k1")
    used = cache.find("k1")
    assert used is not None
    assert (used.uses, used.result) == (1, {"layer": "l1"})
    latest = cache.last_with(stage="a", step=2)
    assert latest is not None
    assert latest.key == "k1"
    assert cache.last_with(stage="c") is cache.last_with(missing=None) is None
    assert [step.key for step in cache.list()] == ["k1", "k3", "k2"]
    since = latest.last_used
    assert set(cache.prune(unused_since=since)) == {"k2", "k3"}


def test_memos_are_kept_until_pruned(store: Store) -> None:
    """Bytes come back as they went, the latest of a key."""
    store.buildcache.remember("files", b"\0one")
    store.buildcache.remember("files", b"\0two")
    assert store.buildcache.recall("files") == b"\0two"
    assert store.buildcache.recall("other") is None
    store.buildcache.prune()
    assert store.buildcache.recall("files") is None
