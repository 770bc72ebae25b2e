"""Health checks: what a keeper asks its container, and what everybody sees of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.test_containers import config
from tests.engine.test_restart import actions, until
from tiffin.engine.exec import ExecRequest
from tiffin.errors import InvalidArgument
from tiffin.spec.container import Healthcheck

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_MS = 1_000_000


def checked(engine: Engine, test: str, **more: int) -> str:
    """Start a container that is asked every 50 ms."""
    health = Healthcheck(test=("CMD-SHELL", test), **{"interval": 50 * _MS, **more})
    container = engine.containers.create(config("sleep", "1000", healthcheck=health)).id
    engine.containers.start(container).close()
    return container


def test_starting_then_healthy_then_unhealthy(engine: Engine) -> None:
    """The word follows the answers, and the last five of them are kept with their output."""
    container = checked(engine, "echo asked; [ ! -e /ill ] || exit 3", retries=2)
    assert engine.containers.inspect(container)["State"]["Health"]["Status"] == "starting"
    until(engine, container, lambda s: s.health == "healthy")
    with engine.containers.exec(container, ExecRequest(argv=("touch", "/ill"))) as connection:
        while connection.recv():
            pass
    until(engine, container, lambda s: s.health == "unhealthy")
    shown = engine.containers.inspect(container)["State"]["Health"]
    assert shown["Status"] == "unhealthy"
    assert shown["FailingStreak"] >= 2
    assert 2 <= len(shown["Log"]) <= 5
    assert (shown["Log"][-1]["ExitCode"], shown["Log"][-1]["Output"]) == (3, "asked\n")
    said = [a for a in actions(engine, container) if a.startswith("health_status")]
    assert said[:2] == ["health_status: healthy", "health_status: unhealthy"]
    assert [v.id for v in engine.containers.list(filters={"health": ["unhealthy"]})] == [container]


def test_a_probe_that_hangs_is_ended(engine: Engine) -> None:
    """After the timeout a probe has failed, says so, and its process is gone."""
    container = checked(engine, "sleep 999", timeout=50 * _MS, retries=1)
    until(engine, container, lambda s: s.health == "unhealthy")
    result = engine.containers.inspect(container)["State"]["Health"]["Log"][0]
    assert result["ExitCode"] == -1
    assert result["Output"] == "Health check exceeded timeout (50ms)"


def test_failures_in_the_start_period_do_not_count(engine: Engine) -> None:
    """What fails while the container starts up is kept, but the word stays."""
    container = checked(engine, "n=$(cat /n); echo x$n > /n; [ x$n = xxxx ] || exit 1", retries=1,
                        start_period=60_000 * _MS, start_interval=20 * _MS)  # fmt: skip
    until(engine, container, lambda s: s.health == "healthy")
    assert not [a for a in actions(engine, container) if a == "health_status: unhealthy"]


def test_a_missing_probe_is_unhealthy(engine: Engine) -> None:
    """A probe that cannot be started has failed, with the reason as its output."""
    health = Healthcheck(test=("CMD", "no-such-probe"), interval=20 * _MS, retries=1)
    container = engine.containers.create(config("sleep", "1000", healthcheck=health)).id
    engine.containers.start(container).close()
    until(engine, container, lambda s: s.health == "unhealthy")
    result = engine.containers.inspect(container)["State"]["Health"]["Log"][0]
    assert "no-such-probe" in result["Output"]


def test_the_image_says_how_and_the_user_may_say_no(engine: Engine) -> None:
    """HEALTHCHECK of an image counts; `NONE` of the user turns it off."""
    engine.images.build(
        dockerfile='FROM base:1\nHEALTHCHECK --interval=20ms CMD true\nCMD ["sleep","1000"]\n',
        tags=["well:1"],
    )
    container = engine.containers.create(config("sleep", "1000").replace(image="well:1")).id
    engine.containers.start(container).close()
    until(engine, container, lambda s: s.health == "healthy")
    off = config("sleep", "1000", healthcheck=Healthcheck(test=("NONE",))).replace(image="well:1")
    other = engine.containers.create(off).id
    engine.containers.start(other).close()
    assert engine.containers.state(other).health == ""
    assert "Health" not in engine.containers.inspect(other)["State"]


def test_times_that_cannot_be(engine: Engine) -> None:
    """Less than a millisecond is refused in docker's words."""
    with pytest.raises(InvalidArgument) as caught:
        engine.containers.create(config(healthcheck=Healthcheck(test=("CMD", "true"), interval=5)))
    assert caught.value.message == "Interval in Healthcheck cannot be less than 1ms"
