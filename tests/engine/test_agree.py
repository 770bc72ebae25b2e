"""diff, export and commit say the same about what a container did to its files, whatever it did."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tiffin.engine.commit import CommitRequest
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.engine import Engine

_HOST = HostConfig(network_mode="none")
_PATHS = some.sampled_from(
    ["/w/a", "/w/b", "/w/a/x", "/w/b/y", "/base/d/f", "/base/d", "/base/e/g", "/base/l"]
)
_OPERATIONS = some.one_of(
    some.builds("echo {1} > {0}".format, _PATHS, some.integers(0, 9)),
    some.builds("mkdir -p {}".format, _PATHS),
    some.builds("rm -rf {}".format, _PATHS),
    some.builds("mv {} {}".format, _PATHS, _PATHS),
    some.builds("ln {} {}".format, _PATHS, _PATHS),
    some.builds("ln -s {} {}".format, _PATHS, _PATHS),
    some.builds("chmod {1} {0}".format, _PATHS, some.sampled_from(["600", "711", "4755"])),
    some.builds("chown {1} {0}".format, _PATHS, some.sampled_from(["1:2", "7:8"])),
    some.builds("mkfifo {}".format, _PATHS),
)
_BASE = "mkdir -p /base/d /base/e; echo f > /base/d/f; echo g > /base/e/g; ln -s d /base/l; mkdir /w"

_Tree = dict[str, tuple[object, ...]]


def _tree(engine: Engine, container: str) -> _Tree:
    out = io.BytesIO()
    engine.containers.export(container, out)
    out.seek(0)
    found: _Tree = {}
    with tarfile.open(fileobj=out) as archive:
        entries = {entry.name: entry for entry in archive}
        for name, entry in entries.items():
            first = entries[entry.linkname] if entry.islnk() else entry
            stream = archive.extractfile(first) if first.isreg() else None
            looks = (first.type, first.mode, first.uid, first.gid, "" if first.isreg() else first.linkname)
            found[name] = (*looks, stream.read() if stream else b"")
    return found


def _run(engine: Engine, image: str, script: str) -> str:
    made = engine.containers.create(ContainerConfig(image=image, cmd=("sh", "-c", script)), _HOST).id
    engine.containers.start(made).close()
    engine.containers.wait(made)
    return made


def _check(engine: Engine, container: str, before: _Tree) -> None:
    """Compare the three for one container; `before` is what its image shows."""
    after = _tree(engine, container)
    image = engine.containers.commit(container, CommitRequest())
    twin = engine.containers.create(ContainerConfig(image=image, cmd=("true",)), _HOST).id
    assert _tree(engine, twin) == after
    told = {change.path.lstrip("/"): change.kind for change in engine.containers.diff(container)}
    assert not engine.containers.diff(twin)
    gone = {name for name in before if name not in after}
    # A folder that is gone is told once, for all that was in it.
    assert {n for n in gone if n.rpartition("/")[0] not in gone} == {n for n, k in told.items() if k == "D"}
    assert {name for name in after if name not in before} == {n for n, k in told.items() if k == "A"}
    changed = {name for name in after if name in before and after[name] != before[name]}
    assert changed <= {name for name, kind in told.items() if kind == "C"}
    engine.containers.remove(twin)
    engine.images.remove(image, force=True)


@given(some.lists(_OPERATIONS, max_size=12), some.lists(_OPERATIONS, max_size=6))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_three_tellers_agree(own_engine: Engine, first: Sequence[str], more: Sequence[str]) -> None:
    """The tree of export is that of the committed image, and diff names just what is not as in the image.

    So it is for a container, and for a fork of it that went on.
    """
    engine = own_engine
    if not [view for view in engine.images.list() if "agree:1" in view.tags]:
        base = _run(engine, "base:1", _BASE)
        engine.containers.commit(base, CommitRequest(name="agree:1"))
        engine.containers.remove(base)
    empty = engine.containers.create(ContainerConfig(image="agree:1", cmd=("true",)), _HOST).id
    before = _tree(engine, empty)
    container = _run(engine, "agree:1", "\n".join(first) + "\ntrue")
    _check(engine, container, before)
    (fork,) = engine.containers.fork(container)
    record = engine.containers.get(fork)
    script = "\n".join(more) + "\ntrue"
    engine.store.containers.update(record.replace(config=record.config.replace(cmd=("sh", "-c", script))))
    engine.containers.start(fork).close()
    engine.containers.wait(fork)
    _check(engine, fork, before)
    for box in (empty, container, fork):
        engine.containers.remove(box)
