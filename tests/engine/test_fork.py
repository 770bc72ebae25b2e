"""Forks of containers: what they start with, what they share, and what a crash leaves."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import check_sound
from tests.engine.test_copy import _names, _run
from tiffin.engine.commit import CommitRequest
from tiffin.errors import Conflict
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.digest import chain_id
from tiffin.store import atomic

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_HOST = HostConfig(network_mode="none")


def _did(engine: Engine, container: str, script: str) -> str:
    """Give a stopped container another script, run it, and return the container."""
    record = engine.containers.get(container)
    engine.store.containers.update(record.replace(config=record.config.replace(cmd=("sh", "-c", script))))
    engine.containers.start(container).close()
    assert engine.containers.wait(container) == 0
    return container


def _made(engine: Engine, script: str, host: HostConfig = _HOST) -> str:
    config = ContainerConfig(image="base:1", cmd=("sh", "-c", script))
    return _did(engine, engine.containers.create(config, host).id, script)


def _diff(engine: Engine, container: str) -> list[str]:
    return [f"{change.kind} {change.path}" for change in engine.containers.diff(container)]


def _tree(engine: Engine, container: str) -> dict[str, tuple[object, ...]]:
    out = io.BytesIO()
    engine.containers.export(container, out)
    out.seek(0)
    found = {}
    with tarfile.open(fileobj=out) as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isreg() else None
            data = stream.read() if stream else b""
            found[entry.name] = (entry.type, entry.mode, entry.uid, entry.linkname, data)
    return found


_FIRST = "echo 1 > /new; echo 2 > /etc/passwd; rm /data/seed; mkdir /n; echo 3 > /n/f; rm -r /bin/yes"
_MORE = (
    "echo 4 > /new; rm /n/f; rm -r /data; mkdir /data; echo 5 > /data/other; rm -r /etc; rm /bin/no || true"
)


def test_a_fork_starts_as_its_source_is_and_goes_its_own_way(own_engine: Engine) -> None:
    """Source and forks show the same, write for themselves, and say what they changed of the image."""
    engine = own_engine
    source, alone = _made(engine, _FIRST), _made(engine, _FIRST)
    said = _diff(engine, source)
    one, two = engine.containers.fork(source, 2)
    for box in (source, one, two):
        assert _diff(engine, box) == said
        assert _tree(engine, box) == _tree(engine, alone)
        assert engine.containers.size(box) == engine.containers.size(alone)
    for box in (source, one, alone):
        _did(engine, box, _MORE)
    assert _diff(engine, source) == _diff(engine, one) == _diff(engine, alone)
    assert _tree(engine, source) == _tree(engine, one) == _tree(engine, alone)
    assert _diff(engine, two) == said
    (third,) = engine.containers.fork(one, new="third")
    assert engine.containers.get(third).own_layers == 2
    assert _diff(engine, third) == _diff(engine, alone)
    check_sound(engine)


def test_an_image_of_a_fork_is_an_image_of_the_whole(own_engine: Engine) -> None:
    """An image of a fork keeps what was written before and after; layers are shared, and gc knows."""
    engine = own_engine
    source = _made(engine, _FIRST)
    (fork,) = engine.containers.fork(source)
    same = engine.containers.commit(fork, CommitRequest(name="same:1"))
    _did(engine, fork, _MORE)
    engine.containers.commit(fork, CommitRequest(name="more:1"))
    whole = _tree(engine, fork)
    engine.containers.remove(source)
    engine.containers.remove(fork)
    engine.system.fsck(repair=True)
    history = engine.images.history("more:1")
    assert len(history) == len(engine.images.history(same)) + 1
    for name in ("same:1", "more:1"):
        box = engine.containers.create(ContainerConfig(image=name, cmd=("true",)), _HOST).id
        if name == "more:1":
            assert _tree(engine, box) == whole
        assert "etc/passwd" in _tree(engine, box) or name == "more:1"
    check_sound(engine)


def test_what_runs_is_copied_while_it_stands_still(own_engine: Engine) -> None:
    """A running source goes on as it was; its fork has its files of one moment."""
    engine = own_engine
    source = _run(engine, "mkdir /d; echo a > /d/a; echo ready; while :; do date > /d/b; done")
    (fork,) = engine.containers.fork(source)
    assert engine.containers.state(source).status == "running"
    assert not engine.containers.get(source).own_layers
    assert {"d", "d/a"} <= set(_names(engine, fork, "/d"))
    engine.containers.remove(source, force=True)
    assert "A /d/a" in _diff(engine, fork)
    check_sound(engine)


def test_anonymous_volumes_are_copied_and_named_ones_shared(own_engine: Engine) -> None:
    """Two databases never write into one anonymous folder; a named volume is named to be shared."""
    engine = own_engine
    config = ContainerConfig(
        image="base:1", cmd=("sh", "-c", "echo 1 > /data/x; echo 1 > /named/x"), volumes=("/data",)
    )
    source = engine.containers.create(config, HostConfig(network_mode="none", binds=("v1:/named",))).id
    engine.containers.start(source).close()
    engine.containers.wait(source)
    (fork,) = engine.containers.fork(source)
    names = [[m["name"] for m in engine.containers.get(box).mounts] for box in (source, fork)]
    assert len(set(names[0]) & set(names[1])) == 1
    _did(engine, fork, "cat /data/x; echo 2 > /data/x; echo 2 > /named/x")
    _did(engine, source, "grep 1 /data/x && grep 2 /named/x")
    engine.containers.remove(fork, volumes=True)
    engine.containers.remove(source, volumes=True)
    assert [v.name for v in engine.volumes.list()] == ["v1"]


def test_a_name_that_is_taken_leaves_no_fork(own_engine: Engine) -> None:
    """All forks are made, or none."""
    engine = own_engine
    source = _made(engine, "echo x > /x")
    engine.containers.rename(source, "pair-2")
    with pytest.raises(Conflict, match="already in use"):
        engine.containers.fork(source, 3, new="pair")
    assert len(engine.containers.list(all=True)) == 1
    check_sound(engine)


def test_a_fork_that_was_killed_in_between_has_not_happened(own_engine: Engine) -> None:
    """Whatever looks at the source after the rename without the rows finds all that it wrote."""
    engine = own_engine
    source = _made(engine, _FIRST)
    said, tree = _diff(engine, source), _tree(engine, source)
    layout = engine.store.layout
    folder = layout.container(source)
    if engine.store.snapshots.is_copied(source):
        pytest.skip("a copy has no folder that moves")
    # As a kill leaves it between the rename and the end of the transaction.
    name = layout.layer_name(chain_id("", "sha256:" + "ab" * 32))
    os.symlink(name, f"{folder}/becoming")
    atomic.replace(f"{folder}/upper", f"{layout.layers}/{name}")
    assert (_diff(engine, source), _tree(engine, source)) == (said, tree)
    engine.system.fsck(repair=True)
    assert (_diff(engine, source), _tree(engine, source)) == (said, tree)
    _did(engine, source, "test -e /n/f")
    assert os.path.isdir(f"{folder}/upper")
    assert not os.path.lexists(f"{folder}/becoming")
    check_sound(engine)


_FORKER = """
import sys
import tiffin
with tiffin.Engine(root=sys.argv[1], run=sys.argv[2]) as engine:
    print("go", flush=True)
    engine.containers.fork(sys.argv[3], 5)
"""


def test_a_fork_that_is_killed_at_any_moment_loses_nothing(own_engine: Engine) -> None:
    """After kill -9 at moments spread over a fork the source shows what it showed, and all can be swept."""
    engine = own_engine
    source = _made(engine, _FIRST)
    said, tree = _diff(engine, source), _tree(engine, source)
    settings = engine.settings
    for number in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", _FORKER, settings.root, settings.run, source], stdout=subprocess.PIPE,
            env=os.environ | {"TIFFIN_DURABLE": "0"},
        )  # fmt: skip
        assert child.stdout
        child.stdout.readline()
        handle = os.pidfd_open(child.pid)
        deadline = time.monotonic() + 0.004 * number
        while time.monotonic() < deadline:
            pass
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        child.wait()
        child.stdout.close()
        assert (_diff(engine, source), _tree(engine, source)) == (said, tree), number
        _did(engine, source, f"echo {number} > /round")
        said, tree = _diff(engine, source), _tree(engine, source)
        for view in engine.containers.list(all=True):
            if view.id != source:
                engine.containers.remove(view.id)
        engine.system.fsck(repair=True)
        assert not engine.system.fsck()


@pytest.mark.long
def test_a_hundred_forks_of_a_gigabyte(own_engine: Engine) -> None:
    """100 forks of a stopped container with 1 GB take under 5 s and under 100 MB of disk."""
    engine = own_engine
    source = _made(engine, "dd if=/dev/urandom of=/big bs=1M count=1024; sync")
    root = engine.settings.root
    before = os.statvfs(root)
    start = time.monotonic()
    assert len(engine.containers.fork(source, 100)) == 100
    took = time.monotonic() - start
    after = os.statvfs(root)
    used = (before.f_bfree - after.f_bfree) * after.f_frsize
    print(f"{took:.2f} s, {used / 1e6:.1f} MB")
    assert took < 5
    assert used < 100_000_000
