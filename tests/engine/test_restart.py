"""Restart policies: who is started again, how often, and who is not."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_containers import config
from tiffin.engine.start import until_closed
from tiffin.engine.watch import Watch
from tiffin.errors import Conflict, InvalidArgument
from tiffin.spec.container import HostConfig, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.engine.engine import Engine
    from tiffin.spec.state import ContainerState

PATIENCE = 30.0
ALWAYS = RestartPolicy(name="always")


def begin(engine: Engine, script: str, policy: RestartPolicy) -> str:
    """Start a script under a policy."""
    container = engine.containers.create(config("sh", "-c", script), HostConfig(restart_policy=policy)).id
    engine.containers.start(container).close()
    return container


def until(engine: Engine, container: str, test: Callable[[ContainerState], bool]) -> ContainerState:
    """Return the first state of a living container that passes; woken by its keeper's writing."""
    with Watch(f"{engine.store.layout.live(container)}/state") as watch:
        while not test(state := engine.containers.state(container)):
            assert select.select([watch.fileno()], [], [], PATIENCE)[0], state
            watch.drain()
    return state


def to_the_end(engine: Engine, container: str) -> ContainerState:
    """Wait until the keeper has gone, and return the last state."""
    try:
        with engine.containers.connect(container) as connection:
            assert until_closed(connection, PATIENCE)
    except Conflict:
        pass  # it was faster
    return engine.containers.state(container)


def actions(engine: Engine, container: str) -> list[str]:
    """Return what happened to a container."""
    return [e.action for e in engine.store.events.read(filters={"container": [container]})]


def test_on_failure_tries_again_so_often(engine: Engine) -> None:
    """`on-failure:2` runs a failing process three times, and its log has all of them."""
    container = begin(engine, "echo x; exit 3", RestartPolicy(name="on-failure", maximum_retry_count=2))
    state = to_the_end(engine, container)
    assert (state.status, state.exit_code, state.restart_count) == ("exited", 3, 2)
    assert [e.data for e in engine.containers.logs(container)] == [b"x\n"] * 3
    assert actions(engine, container) == ["create", *["start", "die"] * 3]
    assert engine.containers.inspect(container)["RestartCount"] == 2


def test_on_failure_leaves_success_alone(engine: Engine) -> None:
    """A process that ends with 0 is not started again by on-failure."""
    state = to_the_end(engine, begin(engine, "exit 0", RestartPolicy(name="on-failure")))
    assert (state.status, state.restart_count) == ("exited", 0)


def test_always_starts_again_what_died(engine: Engine) -> None:
    """A process that ends by itself comes back with another pid; what it wrote is still there."""
    script = "if [ -e /seen ]; then sleep 1000; else touch /seen; fi"
    container = begin(engine, script, ALWAYS)
    state = until(engine, container, lambda s: s.status == "running" and s.restart_count == 1)
    assert state.pid
    engine.containers.stop(container, timeout=0)
    assert engine.containers.state(container).status == "exited"


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_what_the_user_killed_stays_down(engine: Engine, signal: str) -> None:
    """A kill by the user ends a container whatever its policy."""
    container = begin(engine, "trap 'exit 1' TERM; echo up; sleep 1000 & wait", ALWAYS)
    assert next(iter(engine.containers.logs(container, follow=True))).data == b"up\n"
    engine.containers.kill(container, signal)
    state = to_the_end(engine, container)
    assert (state.status, state.restart_count) == ("exited", 0)


def test_stop_stays_down_also_by_another_signal(engine: Engine) -> None:
    """`stop -s` with a signal that the process ends well by does not bring it back."""
    container = begin(engine, "trap 'exit 0' USR1; echo up; sleep 1000 & wait", ALWAYS)
    assert next(iter(engine.containers.logs(container, follow=True))).data == b"up\n"
    engine.containers.stop(container, signal="USR1")
    assert to_the_end(engine, container).restart_count == 0


def test_stop_of_one_that_waits_for_its_next_start(engine: Engine) -> None:
    """A container that is being restarted counts as running, says so, and can be stopped and removed."""
    container = begin(engine, "exit 5", ALWAYS)
    state = until(engine, container, lambda s: s.status == "restarting" and s.restart_count >= 2)
    assert state.exit_code == 5
    assert engine.containers.list()[0].state.running
    engine.containers.stop(container)
    after = to_the_end(engine, container)
    assert (after.status, after.exit_code) == ("exited", 5)


def test_a_restarting_container_is_removed_by_force_only(engine: Engine) -> None:
    """`rm` refuses what is being restarted, `rm -f` ends it for good."""
    container = begin(engine, "exit 5", ALWAYS)
    until(engine, container, lambda s: s.status == "restarting" and s.restart_count >= 2)
    with pytest.raises(Conflict):
        engine.containers.remove(container)
    engine.containers.remove(container, force=True)
    assert engine.containers.list(all=True) == ()


def test_wait_sees_each_end(engine: Engine) -> None:
    """`wait` returns the code of the run that ended, although the container goes on."""
    container = begin(engine, "[ -e /seen ] || { touch /seen; sleep 0.2; exit 9; }; sleep 1000", ALWAYS)
    assert engine.containers.wait(container) == 9
    engine.containers.remove(container, force=True)


def test_restart_by_hand_begins_anew(engine: Engine) -> None:
    """After `restart` the count is 0 again."""
    container = begin(engine, "[ -e /seen ] || { touch /seen; exit 1; }; sleep 1000", ALWAYS)
    until(engine, container, lambda s: s.status == "running" and s.restart_count == 1)
    engine.containers.restart(container, timeout=0)
    assert engine.containers.state(container).restart_count == 0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (RestartPolicy(name="sometimes"), "unknown policy 'sometimes'"),
        (RestartPolicy(name="always", maximum_retry_count=1), "can only be used with 'on-failure'"),
        (RestartPolicy(name="on-failure", maximum_retry_count=-1), "cannot be negative"),
    ],
)
def test_policies_that_are_none(engine: Engine, policy: RestartPolicy, words: str) -> None:
    """A policy that cannot be is refused before anything is made."""
    with pytest.raises(InvalidArgument) as caught:
        engine.containers.create(config(), HostConfig(restart_policy=policy))
    assert words in caught.value.message
    with pytest.raises(InvalidArgument):
        engine.containers.create(config(), HostConfig(restart_policy=ALWAYS, auto_remove=True))


def test_a_policy_is_changed_while_it_runs(engine: Engine) -> None:
    """`update` of the policy counts at the next end, in both directions."""
    script = "trap 'exit 7' TERM; echo up; sleep 1000 & wait"
    container = begin(engine, script, RestartPolicy())
    assert next(iter(engine.containers.logs(container, follow=True))).data == b"up\n"
    engine.containers.update(container, restart_policy=ALWAYS)
    os.kill(engine.containers.state(container).pid, 9)
    until(engine, container, lambda s: s.status == "running" and s.restart_count == 1)
    engine.containers.update(container, restart_policy=RestartPolicy())
    os.kill(engine.containers.state(container).pid, 9)
    assert to_the_end(engine, container).restart_count == 1
