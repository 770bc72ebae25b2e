"""Keepers, runtimes and commands that die or run at once: no deadlock, no wrong state, nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import _processes_naming
from tests.engine.conftest import base_context, make_engine
from tests.engine.parts import check_sound, sweep
from tests.rungs import PRIVILEGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

_PATIENCE = 60.0
_CGROUPS = "/sys/fs/cgroup"


class Chaos:
    """A store with `base:1`, commands on it, and a look for what is left of containers."""

    def __init__(self, folder: Path) -> None:
        """Build the image."""
        self.folder = folder
        self.engine = make_engine(folder)
        self.engine.images.build(base_context(folder / "context"), tags=["base:1"])
        self.ids: set[str] = set()

    def argv(self, *words: str, dying: str = "") -> list[str]:
        """Return the command line of a command; `dying` is its moment."""
        module = ["tests.engine.dying", dying, str(self.folder / "count")] if dying else ["tiffin"]
        settings = self.engine.settings
        return [sys.executable, "-m", *module, "--root", settings.root, "--run", settings.run, *words]

    def start(self, *words: str, dying: str = "") -> subprocess.Popen[bytes]:
        """Start a command."""
        return subprocess.Popen(
            self.argv(*words, dying=dying),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TIFFIN_DURABLE": "0"},
        )

    def run(self, *words: str, dying: str = "") -> tuple[int, str]:
        """Run a command to its end, which must come; return its exit code and what it said."""
        process = self.start(*words, dying=dying)
        output, _ = process.communicate(timeout=120)
        assert b"Traceback" not in output, output.decode()
        return process.returncode, output.decode()

    def remember(self) -> None:
        """Note which containers there are, whose traces are looked for later."""
        self.ids |= {record.id for record in self.engine.store.containers.list()}
        with contextlib.suppress(FileNotFoundError):
            self.ids |= self.engine.store.containers.living()

    def clear(self) -> None:
        """Remove every container: that must be possible, and leave nothing."""
        self.remember()
        names = [record.id for record in self.engine.store.containers.list()]
        if names:
            code, said = self.run("rm", "-f", "-v", *names)
            assert code == 0, said
        self.await_keepers()
        code, said = self.run("ps", "-aq")
        assert (code, said) == (0, "")
        self.check_nothing_left()

    def await_keepers(self) -> None:
        """Wait until no process of this store is left: keepers give everything back as they leave."""
        for pid in _processes_naming(self.engine.settings.root):
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                select.select([handle], [], [], _PATIENCE)
                os.close(handle)
        assert _processes_naming(self.engine.settings.root) == {}

    def check_nothing_left(self) -> None:
        """No process, cgroup, folder or runtime's note of any container; what remains is sound."""
        layout = self.engine.store.layout
        for folder in (layout.living, layout.runtime_root):
            with contextlib.suppress(FileNotFoundError):
                assert [name for name in os.listdir(folder) if len(name) == 64] == [], folder
        sweep(self.engine)
        # Of a keeper that was killed while it removed a folder: a sweep takes that when it is old.
        assert [name for name in os.listdir(layout.containers) if not name.endswith(".tmp")] == []
        check_sound(self.engine)
        assert self.cgroups() == []

    def cgroups(self) -> list[str]:
        """Return the cgroups of our containers."""
        found = []
        for folder, folders, _files in os.walk(_CGROUPS):
            found += [f"{folder}/{name}" for name in folders if name in self.ids]
            if folder[len(_CGROUPS) :].count("/") >= 3:
                folders.clear()
        return found


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    """A store of the test's own."""
    made = Chaos(tmp_path)
    yield made
    made.clear()
    made.engine.networks.settle()
    made.engine.close()


@pytest.fixture(params=[6, pytest.param(200, marks=pytest.mark.long)], ids=["bounded", "many"])
def number(request: pytest.FixtureRequest) -> int:
    """How many moments are tried."""
    return int(request.param)


RUNS = {
    "detached": ("run", "-d", "base:1", "sleep", "1000"),
    "removed": ("run", "--rm", "base:1", "sh", "-c", "echo said"),
}


@pytest.mark.parametrize("kind", RUNS)
def test_keepers_die_at_any_moment(chaos: Chaos, number: int, kind: str) -> None:
    """Kill -9 of the keeper: whoever looks next sees no ghost, ends what is left, and can remove it."""
    words = RUNS[kind]
    chaos.run(*words, dying="k0")
    chaos.clear()
    total = int((chaos.folder / "count").read_text())  # written by the keeper as it left
    chosen = random.Random(number)
    for moment in sorted(chosen.choices(range(1, total + 1), k=number)):
        chaos.run(*words, dying=f"k{moment}")
        chaos.remember()
        code, said = chaos.run("ps", "-a", "--format", "{{.State}}")
        assert code == 0, said
        assert set(said.split()) <= {"created", "exited", "running"}, (moment, said)
        chaos.clear()


def test_runtimes_die_at_any_moment(chaos: Chaos, number: int) -> None:
    """Kill -9 of crun while it starts a container: the start fails or not, and nothing is left of it."""
    crun = shutil.which("crun")
    if not crun:
        pytest.skip("crun is not installed")
    delay = chaos.folder / "delay"
    program = chaos.folder / "crun-dying"
    program.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" run "*) exec timeout --foreground -s KILL "$(cat {delay})" {crun} "$@";; esac\n'
        f'exec {crun} "$@"\n'
    )
    program.chmod(0o755)
    chosen = random.Random(number)
    for _ in range(number):
        delay.write_text(f"{chosen.uniform(0.001, 0.06):.4f}")
        code, said = chaos.run("run", "-d", "--runtime", str(program), "base:1", "sleep", "1000")
        chaos.remember()
        assert code in {0, 125, 126, 127}, said
        state = chaos.run("ps", "-a", "--format", "{{.State}}")[1]
        assert state == ("running\n" if code == 0 else "created\n"), said
        chaos.clear()


VERBS = (
    *(("start",), ("stop", "-t", "0"), ("kill",), ("restart", "-t", "0"), ("pause",), ("unpause",)),
    *(("rm",), ("rm", "-f"), ("inspect",), ("logs",), ("top",), ("update", "--cpu-shares", "512")),
)
STATES = {"created", "running", "paused", "restarting", "exited", "dead", "removing"}


def live(chaos: Chaos, seed: int, seconds: float, names: list[str]) -> None:
    """Do random things to random containers for a while, one command after the other."""
    chosen, deadline = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < deadline:
        name, other = chosen.choice(names), chosen.choice(names)
        deed = chosen.randrange(20)
        if deed < 5:
            words: tuple[str, ...] = ("run", "-d", "--name", name, "base:1", "sleep", "1000")
        elif deed < 6:
            words = ("run", "--rm", "--name", name, "base:1", "true")
        elif deed < 7:
            words = ("create", "--name", name, "--restart", "on-failure:2", "base:1", "sh", "-c", "exit 3")
        elif deed < 8:
            words = ("rename", name, other)
        elif deed < 10:
            words = ("exec", name, "echo", "said")
        elif deed < 11:
            words = ("ps", "-a", "--format", "{{.State}}")
        else:
            words = (*chosen.choice(VERBS), name)
        process = chaos.start(*words)
        if chosen.random() < 0.05:
            process.kill()
        output, _ = process.communicate(timeout=120)
        assert b"Traceback" not in output, (words, output.decode())
        if words[0] == "ps" and process.returncode == 0:
            assert set(output.decode().split()) <= STATES, output


@pytest.mark.parametrize(
    ("processes", "containers", "seconds"),
    [(6, 3, 8), pytest.param(64, 16, 120, marks=pytest.mark.long)],
    ids=["bounded", "many"],
)
def test_random_lives_at_once(chaos: Chaos, processes: int, containers: int, seconds: int) -> None:
    """Many processes do random things to a few containers: all end, states are states, nothing is left."""
    from concurrent.futures import ThreadPoolExecutor

    names = [f"one{number}" for number in range(containers)]
    with ThreadPoolExecutor(processes) as pool:
        deadline = time.monotonic() + seconds
        lives = [pool.submit(live, chaos, seed, seconds, names) for seed in range(processes)]
        while not all(one.done() for one in lives):
            chaos.remember()
            if time.monotonic() > deadline:  # an exec that was overtaken by the last pause waits for this
                chaos.run("unpause", *names)
            select.select([], [], [], 0.2)
        for one in lives:
            one.result()
    assert [f for f in chaos.engine.system.fsck() if f.is_damage] == []
    for container, state in standing(chaos):
        check_agrees(chaos.engine, container, state)


def standing(chaos: Chaos) -> list[tuple[str, str]]:
    """Return containers and states as `ps` tells them, when those that end by themselves have ended."""
    deadline = time.monotonic() + 60
    while True:
        said = chaos.run("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Command}}")[1]
        rows = [line.split(" ", 2) for line in said.splitlines()]
        moving = {"running", "restarting"}
        if not any(state in moving and "sleep" not in command for _, state, command in rows):
            return [(container, state) for container, state, _ in rows]
        assert time.monotonic() < deadline, rows


def check_agrees(engine: Engine, container: str, state: str) -> None:
    """What is said of a container is what /proc says."""
    pid = engine.containers.state(container).pid
    assert bool(pid) == (state in {"running", "paused"})
    if pid and PRIVILEGE.cgroups:
        with open(f"/proc/{pid}/cgroup") as stream:
            assert container in stream.read()
