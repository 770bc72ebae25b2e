"""After a reboot: what ran has ended, and what the policies want runs again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import base_context, make_engine
from tests.engine.test_containers import config
from tests.keeper.parts import wait_until_gone
from tests.rungs import PRIVILEGE
from tiffin.cli import boot
from tiffin.settings import ROOT
from tiffin.spec.container import HostConfig, RestartPolicy
from tiffin.store.containers import CUT_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

SLEEPER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a store is that goes through reboots."""
    folder = tmp_path_factory.mktemp("boot")
    with make_engine(folder) as engine:
        engine.images.build(base_context(folder / "context"), tags=["base:1"])
    return folder


@pytest.fixture
def machine(folder: Path) -> Iterator[Engine]:
    """A store without containers, before and after."""
    with make_engine(folder) as engine:
        yield engine
    with make_engine(folder) as engine:
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True)


def run(engine: Engine, name: str, policy: str, *command: str, **host: object) -> str:
    """Start a container with a policy."""
    wanted = HostConfig(restart_policy=RestartPolicy(name=policy), **host)
    made = engine.containers.create(config(*(command or SLEEPER)), wanted, name=name).id
    engine.containers.start(made).close()
    return made


def cut_power(engine: Engine, folder: Path) -> Engine:
    """Do to a store what a power cut does: nothing ends in good order, what is in memory is gone."""
    for container in os.listdir(engine.store.layout.living):
        try:
            with open(f"{engine.store.layout.live(container)}/state", "rb") as stream:
                facts = json.loads(stream.read())
        except FileNotFoundError:  # it has ended, and its keeper is just leaving
            with engine.store.containers.keeper_lock(container):
                continue
        for pid in (facts["keeper"], facts["pid"]):
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid)
        if PRIVILEGE.rung != "root":
            continue  # what is left of an ordinary user's is in the run folder only
        delete = ["crun", "--root", engine.store.layout.runtime_root, "delete", "--force", container]
        hidden = "umount /sys/fs/cgroup/unified 2>/dev/null; exec $0 $@"
        subprocess.run(["unshare", "-m", "sh", "-c", hidden, *delete], check=True)
    shutil.rmtree(engine.store.layout.run)
    engine.store.database.execute("UPDATE meta SET value='another' WHERE key='boot'")
    engine.close()
    return make_engine(folder)


def test_no_ghosts_after_a_power_cut(machine: Engine, folder: Path) -> None:
    """What ran has exited with 255, what had ended keeps its end, what never ran was never started."""
    ended = run(machine, "ended", "no", "sh", "-c", "exit 3")
    assert machine.containers.wait(ended) == 3
    cut, again, gone = (run(machine, name, "no") for name in ("cut", "again", "gone"))
    machine.containers.stop(again)
    machine.containers.start(again).close()  # its exit record is of an earlier run
    removed = run(machine, "removed", "no", auto_remove=True)
    shut = run(machine, "shut", "no", auto_remove=True)  # its end was recorded, its removal came too late
    folders = machine.store.layout.container
    shutil.copyfile(f"{folders(ended)}/state", f"{folders(shut)}/state")
    fresh = machine.containers.create(config("true"), HostConfig(auto_remove=True)).id
    machine.containers.stop(gone)
    with cut_power(machine, folder) as engine:
        states = {view.id: view.state for view in engine.containers.list(all=True)}
        assert states[ended].exit_code == 3
        assert states[fresh].status == "created"
        assert states[gone].exit_code == 0
        assert not {removed, shut} & set(states)
        for lost in (cut, again):
            assert (states[lost].status, states[lost].exit_code, states[lost].error) == (
                "exited",
                255,
                CUT_OFF,
            )
        assert list(engine.system.start()) == []


def test_policies_count_after_a_boot(machine: Engine, folder: Path) -> None:
    """`system start` starts what ran, and what `always` wants, but nothing else that a user has stopped."""
    names = [
        f"{policy}-{end}"
        for policy in ("always", "unless-stopped", "on-failure")
        for end in ("cut", "stopped")
    ]
    for name in names:
        made = run(machine, name, name.rpartition("-")[0])
        if name.endswith("stopped"):
            machine.containers.stop(made)
    machine.containers.create(
        config("true"), HostConfig(restart_policy=RestartPolicy(name="always")), name="new"
    )
    with cut_power(machine, folder) as engine:
        revived = list(engine.system.start())
        assert [(r.name, r.error) for r in revived] == [
            (name, "") for name in ("always-cut", "always-stopped", "unless-stopped-cut", "on-failure-cut")
        ]
        assert all(engine.containers.state(r.id).status == "running" for r in revived)
        assert list(engine.system.start()) == []


def test_one_that_fails_does_not_stop_the_others(machine: Engine, folder: Path) -> None:
    """A container that cannot be started again is told of, and the next one is started."""
    broken = run(machine, "broken", "always")
    run(machine, "whole", "always")
    with cut_power(machine, folder) as engine:
        path = f"{engine.store.layout.container(broken)}/config.json"
        os.unlink(path)
        os.mkdir(path)
        first, second = engine.system.start()
        assert (first.name, second.name, second.error) == ("broken", "whole", "")
        assert "directory" in first.error.lower()


def test_the_unit_names_this_store(machine: Engine) -> None:
    """The generated unit calls this tiffin with this store, whatever characters are in the paths."""
    settings = machine.settings.replace(root='/srv/a b%"c', privilege=ROOT)
    text = boot.unit(settings)
    assert 'Environment="TIFFIN_ROOT=/srv/a\\x20b%%\\"c"\n' in text
    assert "system start\n" in text
    assert "WantedBy=multi-user.target" in text
    user = settings.replace(privilege=settings.privilege.replace(rung="subids"))
    assert "WantedBy=default.target" in boot.unit(user)
