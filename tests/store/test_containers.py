"""Containers: names, look-ups in docker's words, records that come back as they went, states from facts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.store.parts import a_container, add_container, add_image
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec import jsontext
from tiffin.spec.container import ContainerConfig, Healthcheck, HostConfig, LogConfig, RestartPolicy
from tiffin.spec.mount import Mount
from tiffin.spec.state import ContainerState
from tiffin.store import atomic
from tiffin.store.names import random_name

if TYPE_CHECKING:
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.store import Store


def test_record_comes_back_as_it_went(store: Store) -> None:
    """Every field of a record survives the row, None apart from () included."""
    image = add_image(store, {"a": "1"}, {"b": "2"})
    config = ContainerConfig(
        cmd=None,
        entrypoint=(),
        env=("A=ä \n",),
        labels={"l": "v"},
        exposed_ports=("80/tcp",),
        stop_timeout=0,
        healthcheck=Healthcheck(test=("CMD", "true"), interval=5),
    )
    host = HostConfig(
        binds=("/a:/b",),
        mounts=(Mount(type="volume", target="/v", source="data"),),
        init=False,
        pids_limit=-1,
        restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=3),
        log_config=LogConfig(config={"max-size": "1m"}),
    )
    mounts = ({"type": "volume", "name": "data", "destination": "/v"},)
    record = a_container(
        store, image, "web", config=config, host=host, mounts=mounts, path="sh", args=("-c",)
    )
    record = record.replace(extra={"k": [1, None]}, image_name="app:1")
    assert store.containers.create(record) == record
    assert store.containers.get(record.id) == record
    assert store.containers.list() == (record,)
    shown = (record.id, "web", record.image_id, jsontext.loads(jsontext.dumps(record.to_json())))
    assert list(store.containers.list_json()) == list(store.containers.list_json({record.id})) == [shown]
    assert list(store.containers.list_json(set())) == []
    assert store.volumes.users("data") == (record.id,)
    changed = record.replace(host=HostConfig(), mounts=())
    store.containers.update(changed)
    assert store.containers.get(record.id) == changed
    assert store.volumes.users("data") == ()


def test_taken_name_is_dockers_conflict(store: Store) -> None:
    """Create and rename say who has the name, in docker's sentence, and change nothing."""
    image = add_image(store)
    first = add_container(store, image, "web")
    second = add_container(store, image, "db")
    sentence = (
        f'Conflict. The container name "/web" is already in use by container "{first.id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    for change in (
        lambda: store.containers.create(a_container(store, image, "web")),
        lambda: store.containers.rename(second.id, "web"),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.message == sentence
    assert {record.name for record in store.containers.list()} == {"web", "db"}
    store.containers.rename(first.id, "old")
    store.containers.rename(second.id, "web")
    assert store.containers.resolve("web").id == second.id
    with pytest.raises(InvalidArgument, match="same name as its current name"):
        store.containers.rename(first.id, "old")


@pytest.mark.parametrize("name", ["a", "-ab", ".ab", "a b", "a/b", "ä" * 3, "a\nb", "../x"])
def test_bad_names_are_refused(store: Store, name: str) -> None:
    """Names outside docker's pattern never become names."""
    image = add_image(store)
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        store.containers.create(a_container(store, image, name))


def test_every_way_to_name_a_container(store: Store) -> None:
    """Full id, name with or without slash, and unique prefixes find it; a name wins over a prefix."""
    image = add_image(store)
    ids = [f"{start}{'0' * (64 - len(start))}" for start in ("ab1", "ab2", "cd")]
    for name, container_id in zip(("one", "two", "ab"), ids, strict=True):
        store.containers.create(a_container(store, image, name).replace(id=container_id))
    for text, name in (
        ("one", "one"),
        ("/one", "one"),
        ("ab1", "one"),
        (ids[1], "two"),
        ("ab", "ab"),
        ("c", "ab"),
    ):
        assert store.containers.resolve(text).name == name
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: a"):
        store.containers.resolve("a")
    for text in ("nobody", "ef", "%", "", "ab1*"):
        with pytest.raises(NotFound) as caught:
            store.containers.resolve(text)
        assert caught.value.message == f"No such container: {text}"


def test_unnamed_containers_get_names_of_their_own(store: Store) -> None:
    """Each container without a name gets one that docker would allow, and no two the same."""
    image = add_image(store)
    made = [store.containers.create(a_container(store, image)).name for _ in range(50)]
    assert len(set(made)) == 50
    assert all(name.replace("_", "").isalnum() and name.count("_") == 1 for name in made)
    assert random_name(0)[-1].isalpha()
    assert random_name(3)[-1].isdigit()


def write_facts(path: str, **facts: Any) -> None:
    """Write a state file as a keeper does."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    atomic.write_file(path, jsontext.dumps_bytes(facts))


def living(**facts: Any) -> dict[str, Any]:
    """Return the facts of a run whose keeper is this process."""
    own = {"keeper": os.getpid(), "keeper_start": atomic.start_time(os.getpid()), "boot": atomic.boot_id()}
    state = ContainerState(status="running", pid=7, started_at="2024-01-01T00:00:00Z").to_json()
    return {**state, **own, **facts}


def facts_of(store: Store, record: ContainerRecord) -> tuple[str, str]:
    """Return where a container's facts lie: while it lives, and after."""
    return f"{store.layout.live(record.id)}/state", f"{store.layout.container(record.id)}/state"


def test_state_follows_the_keepers_facts(store: Store) -> None:
    """Created, running, exited: each is what the newest fact of a living or a finished keeper says."""
    record = add_container(store, add_image(store))
    live, past = facts_of(store, record)
    assert store.containers.state(record.id) == ContainerState()
    assert store.containers.living() == set()
    write_facts(live, **living())
    assert store.containers.state(record.id).running
    assert store.containers.living() == {record.id}
    # The exit record is written before the live one goes: between the two the keeper still speaks.
    write_facts(past, **living(status="exited", exit_code=3, pid=0, finished_at="2024-01-01T00:00:09Z"))
    os.unlink(live)
    state = store.containers.state(record.id)
    assert (state.status, state.exit_code) == ("exited", 3)
    # A second run hides the first one's end.
    write_facts(live, **living(started_at="2024-02-02T00:00:00Z"))
    assert store.containers.state(record.id).running


@pytest.mark.parametrize(
    "stale",
    [
        {"keeper": 2**22 - 1},
        {"keeper_start": 1},
        {"boot": "another"},
        {"keeper": None},
        {"status": "paused", "keeper_start": 1},
    ],
)
def test_lost_keeper_is_an_exit_with_255(store: Store, stale: dict[str, Any]) -> None:
    """A run whose keeper is dead, replaced by another pid, or of another boot has exited, 255."""
    record = add_container(store, add_image(store))
    live, past = facts_of(store, record)
    write_facts(past, **living(status="exited", exit_code=0, started_at="2023-01-01T00:00:00Z"))
    write_facts(live, **living(**stale))
    state = store.containers.state(record.id)
    assert (state.status, state.exit_code, state.error, state.pid) == ("exited", 255, "keeper lost", 0)
    assert state == store.containers.state(record.id), "its end must not move"
    # A keeper that died after it had recorded this very run's end said all there is to say.
    write_facts(past, **living(status="exited", exit_code=4))
    assert store.containers.state(record.id).exit_code == 4


def test_facts_that_a_power_cut_emptied_are_a_lost_run(store: Store) -> None:
    """An empty or torn state file is an exit with 255, never an error that hides all containers."""
    record = add_container(store, add_image(store))
    for text in ("", '{"status": "runn'):
        with open(facts_of(store, record)[1], "w") as stream:
            stream.write(text)
        assert store.containers.state(record.id).exit_code == 255


def test_lock_is_exclusive_and_survives_its_removal(store: Store) -> None:
    """A second taker waits or is refused; a lock file removed by its holder does not split the lock."""
    containers = store.containers
    with containers.lock("x") as held:
        with (
            pytest.raises(Conflict, match="being changed by another command"),
            containers.lock("x", blocking=False),
        ):
            pass
        held.remove()
        with containers.lock("x", blocking=False):
            pass
    with containers.lock("x", blocking=False):
        pass
