"""kill -9 at every moment of a command: what was stays whole, the same command succeeds, nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import _processes_naming
from tests.engine.conftest import base_context, make_engine
from tests.engine.parts import check_sound, sweep
from tests.servers import DockerRegistry
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

APP = """\
FROM base:1
COPY data /data/
RUN sha256sum /data/data > /sum && rm /data/seed
RUN mkdir /made && for n in 1 2 3 4 5 6 7 8 9; do echo $n > /made/$n; done
CMD ["cat", "/sum"]
"""
BOUNDED = 8
MANY = 100
_PATIENCE_MS = 30_000


class Scene:
    """A store below a folder, commands on it, and a registry that has `app:1`."""

    def __init__(self, folder: Path, registry: DockerRegistry) -> None:
        """Build the image, push it, save it."""
        self.folder, self.registry = folder, registry
        self.engine = make_engine(folder)
        self.context = str(folder / "app")
        os.mkdir(self.context)
        with open(f"{self.context}/data", "wb") as stream:
            stream.write(random.Random(1).randbytes(3 << 20))
        with open(f"{self.context}/Dockerfile", "w") as text:
            text.write(APP)
        self.name = f"{registry.host}/app:1"
        self.archive = str(folder / "app.tar")
        images = self.engine.images
        images.build(base_context(folder / "base"), tags=["base:1"])
        images.build(self.context, tags=[self.name])
        images.push(self.name)
        with open(self.archive, "wb") as out:
            images.save([self.name], out)
        self.id = images.get(self.name).id
        self.clear()

    def clear(self) -> None:
        """Go back to a store with `base:1` alone; nothing of what was may be in the way, or left."""
        for view in self.engine.containers.list(all=True):
            self.engine.containers.remove(view.id, force=True, volumes=True)
        for image in self.engine.images.list():
            if "base:1" not in image.tags:
                self.engine.images.remove(image.id, force=True)
        self.engine.system.prune_build_cache()
        sweep(self.engine)
        check_sound(self.engine)
        layout = self.engine.store.layout
        for folder in (layout.drafts, layout.ingest, layout.containers):
            assert os.listdir(folder) == []

    def argv(self, *words: str, dying: str = "") -> list[str]:
        """Return the command line of a command; `dying` is its moment."""
        module = ["tests.engine.dying", dying, str(self.folder / "count")] if dying else ["tiffin"]
        settings = self.engine.settings
        return [sys.executable, "-m", *module, "--root", settings.root, "--run", settings.run, *words]

    def start(self, *words: str, dying: str = "") -> subprocess.Popen[bytes]:
        """Start a command."""
        environment = {**os.environ, "TIFFIN_DURABLE": "0", "DOCKER_CONFIG": str(self.folder / "docker")}
        return subprocess.Popen(
            self.argv(*words, dying=dying),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def tiffin(self, *words: str) -> str:
        """Run a command that succeeds; return what it printed."""
        done = self.start(*words)
        output, _ = done.communicate(timeout=120)
        assert done.returncode == 0, output.decode()
        return output.decode()

    def moments(self, number: int, *words: str) -> list[int]:
        """Run a command to its end and return moments all over it, at which another may die."""
        counting = self.start(*words, dying="0")
        output, _ = counting.communicate(timeout=120)
        assert counting.returncode == 0, output.decode()
        total = int((self.folder / "count").read_text())
        assert total > 50, "that is not what happened"
        chosen = random.Random(total)
        return sorted(chosen.sample(range(1, total + 1), min(number, total)))

    def die(self, moment: int, *words: str) -> None:
        """Run a command that dies at a moment (or ends before); its processes end with it, in time."""
        dying = self.start(*words, dying=str(moment))
        output, _ = dying.communicate(timeout=120)
        assert dying.returncode in {0, -signal.SIGKILL}, output.decode()

    def check_whole(self) -> None:
        """Fsck finds nothing wrong, as its exit code and its first line say."""
        assert self.tiffin("fsck").startswith("the store is whole\n")

    def check_quiet(self) -> None:
        """No process of this store is left, and no mount."""
        settings = self.engine.settings
        for pid in {*_processes_naming(settings.root), *_mounting(settings.root)}:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                ended = poll.poll(_PATIENCE_MS)
                os.close(handle)
                assert ended, f"process {pid} is left: {_processes_naming(settings.root).get(pid)}"


def _mounting(root: str) -> list[int]:
    """Return the processes that have something below a folder mounted."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/mountinfo") as lines:
            if any(f" {root}/" in line for line in lines):
                found.append(int(name))
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One store and one registry for all of these tests: each leaves them as they were."""
    folder = tmp_path_factory.mktemp("crash")
    with DockerRegistry(str(folder / "registry")) as registry:
        made = Scene(folder, registry)
        yield made
        made.engine.networks.settle()
        made.engine.close()


def kill_everywhere(
    scene: Scene, number: int, *words: str, before: Callable[[], object], after: Callable[[], object]
) -> None:
    """Let a command die at so many moments; each time what is seen is whole and the command then works."""
    scene.clear()
    before()
    moments = scene.moments(number, *words)
    for moment in moments:
        scene.clear()
        before()
        scene.die(moment, *words)
        scene.check_whole()
        after()
    scene.clear()
    scene.check_quiet()


def image_is_whole_or_absent(scene: Scene, name: str) -> bool:
    """Tell whether the image is there; if it is, a container of it runs."""
    found = [view for view in scene.engine.images.list() if name in view.tags]
    if found:
        assert "data" in scene.tiffin("run", "--rm", name)
    return bool(found)


@pytest.fixture(params=[BOUNDED, pytest.param(MANY, marks=pytest.mark.long)], ids=["bounded", "many"])
def number(request: pytest.FixtureRequest) -> int:
    """How many moments are tried."""
    return int(request.param)


def test_killed_pull(scene: Scene, number: int) -> None:
    """A pull that dies leaves a whole image or none; the next one completes it."""

    def after() -> None:
        image_is_whole_or_absent(scene, scene.name)
        scene.check_quiet()
        scene.tiffin("pull", "-q", scene.name)
        assert scene.engine.images.get(scene.name).id == scene.id
        assert image_is_whole_or_absent(scene, scene.name)
        scene.check_quiet()
        # It has found the dead one's lease, and taken away what that had left.
        check_sound(scene.engine)

    kill_everywhere(scene, number, "pull", "-q", scene.name, before=lambda: None, after=after)


def test_killed_load(scene: Scene, number: int) -> None:
    """A load that dies leaves a whole image or none; the next one completes it."""

    def after() -> None:
        image_is_whole_or_absent(scene, scene.name)
        scene.check_quiet()
        scene.tiffin("load", "-q", "-i", scene.archive)
        assert scene.engine.images.get(scene.name).id == scene.id
        check_sound(scene.engine)

    kill_everywhere(scene, number, "load", "-q", "-i", scene.archive, before=lambda: None, after=after)


def test_killed_build(scene: Scene, number: int) -> None:
    """A build that dies leaves its tag as it was and no step running; the next one succeeds."""

    def before() -> None:
        scene.engine.images.tag("base:1", "app:1")
        _forget_steps(scene.engine)

    def after() -> None:
        scene.check_quiet()
        if scene.engine.images.get("app:1").id != scene.engine.images.get("base:1").id:
            assert image_is_whole_or_absent(scene, "app:1")
        scene.tiffin("build", "-q", "-t", "app:1", scene.context)
        assert image_is_whole_or_absent(scene, "app:1")
        scene.check_quiet()
        sweep(scene.engine)
        check_sound(scene.engine)
        scene.engine.images.remove("app:1")

    kill_everywhere(scene, number, "build", "-q", "-t", "app:1", scene.context, before=before, after=after)


def _forget_steps(engine: Engine) -> None:
    base = engine.images.get("base:1").layers
    cache = engine.store.buildcache
    cache.forget(step.key for step in cache.list() if step.result.get("chain_id") not in base)


def test_killed_run(scene: Scene, number: int) -> None:
    """A run that dies leaves a container that can be removed, or none; its name is free then."""
    words = ("run", "--rm", "--name", "web", "-v", "/anonymous", "base:1", "sh", "-c", "echo hello")

    def after() -> None:
        for view in scene.engine.containers.list(all=True):
            scene.tiffin("rm", "-f", "-v", view.id)
        scene.check_quiet()
        assert scene.tiffin(*words) == "hello\n"
        scene.check_quiet()
        sweep(scene.engine)
        check_sound(scene.engine)
        assert os.listdir(scene.engine.store.layout.containers) == []

    kill_everywhere(scene, number, *words, before=lambda: None, after=after)
    for volume in scene.engine.volumes.list():
        scene.engine.volumes.remove(volume.name)


def test_killed_run_in_the_background(scene: Scene, number: int) -> None:
    """A `run -d` that dies has started its container or not; either way it can be seen and removed."""
    words = ("run", "-d", "--name", "web", "base:1", "sleep", "1000")

    def after() -> None:
        for view in scene.engine.containers.list(all=True):
            if view.state.running:
                assert scene.tiffin("exec", "web", "echo", "alive") == "alive\n"
            scene.tiffin("rm", "-f", view.id)
        scene.check_quiet()
        scene.tiffin(*words)
        assert scene.tiffin("exec", "web", "echo", "alive") == "alive\n"
        scene.tiffin("rm", "-f", "web")

    kill_everywhere(scene, number, *words, before=lambda: None, after=after)


def test_killed_rmi(scene: Scene, number: int) -> None:
    """An image whose removal dies is whole or gone, and can be removed or fetched then."""

    def before() -> None:
        with open(scene.archive, "rb") as stream:
            scene.engine.images.load(stream)

    def after() -> None:
        if image_is_whole_or_absent(scene, scene.name):
            scene.tiffin("rmi", scene.name)
            scene.check_quiet()

    kill_everywhere(scene, number, "rmi", scene.name, before=before, after=after)


def test_killed_rm(scene: Scene, number: int) -> None:
    """A running container whose removal dies is there (and can be removed) or gone, process and all."""

    def before() -> None:
        engine = scene.engine
        config = ContainerConfig(image="base:1", cmd=("sleep", "1000"))
        made = engine.containers.create(config, HostConfig(), name="web").id
        engine.containers.start(made).close()

    def after() -> None:
        if scene.engine.containers.list(all=True):
            scene.tiffin("rm", "-f", "web")
        scene.check_quiet()

    kill_everywhere(scene, number, "rm", "-f", "web", before=before, after=after)


def test_killed_commit(scene: Scene, number: int) -> None:
    """A commit that dies leaves a whole image or none, and its container as it was; the next one succeeds."""

    def before() -> None:
        config = ContainerConfig(image="base:1", cmd=("sh", "-c", "echo data > /made; rm /data/seed"))
        made = scene.engine.containers.create(config, HostConfig(network_mode="host"), name="web").id
        scene.engine.containers.start(made).close()
        assert scene.engine.containers.wait(made) == 0

    def after() -> None:
        words = ("run", "--rm", "app:1", "cat", "/made")
        if any("app:1" in view.tags for view in scene.engine.images.list()):
            assert scene.tiffin(*words) == "data\n"
        scene.tiffin("commit", "web", "app:1")
        assert scene.tiffin(*words) == "data\n"
        scene.check_quiet()
        sweep(scene.engine)
        check_sound(scene.engine)

    kill_everywhere(scene, number, "commit", "web", "app:1", before=before, after=after)


def test_killed_system_prune(scene: Scene, number: int) -> None:
    """A prune that dies has removed things whole or not at all; the next one removes the rest."""
    words = ("system", "prune", "-f", "--volumes", "-a", "--filter", "label!=keep")

    def before() -> None:
        engine = scene.engine
        text = "FROM base:1\nRUN echo data > /made\n"
        engine.images.build(dockerfile=text, tags=["app:1"], no_cache=True)
        engine.containers.create(ContainerConfig(image="app:1"), HostConfig(network_mode="host"))
        config = ContainerConfig(image="base:1", labels={"keep": ""})
        engine.containers.create(config, HostConfig(network_mode="host"))  # holds base:1
        engine.volumes.create()

    def after() -> None:
        if any("app:1" in view.tags for view in scene.engine.images.list()):
            assert scene.tiffin("run", "--rm", "app:1", "cat", "/made") == "data\n"
        scene.tiffin(*words)
        assert [view.tags for view in scene.engine.images.list()] == [("base:1",)]
        assert scene.engine.volumes.list() == ()
        assert len(scene.engine.containers.list(all=True)) == 1
        scene.check_quiet()
        check_sound(scene.engine)

    kill_everywhere(scene, number, *words, before=before, after=after)


def test_killed_from_outside(scene: Scene, number: int) -> None:
    """Killed at any time, inside a system call as likely as between two, a pull and a build leave order."""
    scene.clear()
    chosen = random.Random(number)
    for _ in range(number):
        build = chosen.random() < 0.5
        words = ("build", "-q", "-t", "app:1", scene.context) if build else ("pull", "-q", scene.name)
        process = scene.start(*words)
        handle = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(chosen.randrange(60, 700))
        os.close(handle)
        process.kill()
        process.communicate()
        scene.check_whole()
        scene.check_quiet()
        scene.tiffin(*words)
        assert image_is_whole_or_absent(scene, "app:1" if build else scene.name)
        _forget_steps(scene.engine)
        scene.clear()
