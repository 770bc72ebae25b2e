"""Steps that several builds want at once are made once; what an interrupted build finished is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

from tiffin.build.events import StepOutput, StepStarted
from tiffin.engine.engine import Engine

if TYPE_CHECKING:
    import pathlib

SLOW = """\
FROM base:1
RUN --mount=type=cache,id={name},target=/cache echo run >> /cache/count; echo begun; \\
    while ! [ -e /cache/go ]; do sleep 0.05; done; cat /cache/count > /counted
"""
PROGRAM = """\
import os, sys
from tiffin.engine.engine import Engine
from tiffin.settings import Settings
with Engine(Settings.from_environment(dict(os.environ), root=sys.argv[1], run=sys.argv[2])) as engine:
    engine.images.build(sys.argv[3], progress=lambda event: print(type(event).__name__, flush=True))
"""


def _folder(engine: Engine, name: str) -> str:
    """Return the folder of a cache on this host."""
    from tiffin.store.cachemounts import CacheMounts

    folder = engine.store.layout.cache_mounts
    (found,) = [cache for cache in CacheMounts(folder).list() if cache.name == name]
    return f"{folder}/{found.key}/data"


def test_a_step_that_runs_for_one_build_is_shared_with_another(
    shared_engine: Engine, tmp_path: pathlib.Path
) -> None:
    """Of two builds with the same step the second waits for the first, and finds it in the cache."""
    (tmp_path / "Dockerfile").write_text(SLOW.format(name=tmp_path.name))
    begun = Event()

    def first(event: Any) -> None:
        if isinstance(event, StepOutput):
            begun.set()

    def second(event: Any) -> None:
        if isinstance(event, StepStarted) and event.text.startswith("RUN"):
            with open(f"{_folder(shared_engine, tmp_path.name)}/go", "w", encoding="ascii"):
                pass

    with ThreadPoolExecutor(2) as pool, Engine(shared_engine.settings) as other:
        one = pool.submit(shared_engine.images.build, str(tmp_path), progress=first)
        assert begun.wait(60)
        two = pool.submit(other.images.build, str(tmp_path), progress=second)
        assert one.result(60).image_id == two.result(60).image_id
    assert [step.cached for step in one.result().steps] == [True, False]
    assert [step.cached for step in two.result().steps] == [True, True]
    with open(f"{_folder(shared_engine, tmp_path.name)}/count", encoding="ascii") as stream:
        assert stream.read() == "run\n"


def test_a_killed_build_leaves_its_finished_steps(shared_engine: Engine, tmp_path: pathlib.Path) -> None:
    """A build that is killed in its second RUN has its first RUN in the cache, and holds nobody up."""
    text = SLOW.format(name=tmp_path.name).replace("FROM base:1\n", "FROM base:1\nRUN echo first > /first\n")
    (tmp_path / "Dockerfile").write_text(text)
    settings = shared_engine.settings
    words = [sys.executable, "-c", PROGRAM, settings.root, settings.run, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as building:
        assert building.stdout is not None
        for line in building.stdout:
            if line == "StepOutput\n":
                break
        building.kill()
    with open(f"{_folder(shared_engine, tmp_path.name)}/go", "w", encoding="ascii"):
        pass
    built = shared_engine.images.build(str(tmp_path))
    assert [step.cached for step in built.steps] == [True, True, False]
