"""Whole builds with real processes: what is cached, what is left behind, what lands in a layer."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import check_sound, sweep
from tests.rungs import PRIVILEGE, needs_ids
from tests.servers import DockerRegistry
from tiffin.build.events import StepDone, StepOutput
from tiffin.engine.quick import run_to_end
from tiffin.errors import BuildFailed
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.build.events import BuildEvent
    from tiffin.build.roles import Built
    from tiffin.engine.engine import Engine

APP = """\
FROM base:1
RUN mkdir /app
COPY first /app/
RUN cat /app/first > /app/seen-first
COPY second /app/
RUN cat /app/second > /app/seen-second
"""


class Events(list["BuildEvent"]):
    """What a build said; call it as its `progress`."""

    def __call__(self, event: BuildEvent) -> None:
        """Remember one event."""
        self.append(event)

    def cached(self) -> list[bool]:
        """Return for each step, in order, whether it was cached."""
        done = [event for event in self if isinstance(event, StepDone)]
        return [event.cached for event in sorted(done, key=lambda event: event.number)]

    def output(self) -> str:
        """Return all that steps printed."""
        return b"".join(event.data for event in self if isinstance(event, StepOutput)).decode()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with two files and the Dockerfile APP."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "first").write_text("1")
    (folder / "second").write_text("2")
    (folder / "Dockerfile").write_text(APP)
    return folder


@pytest.fixture
def built(engine: Engine) -> Iterator[Engine]:
    """The shared engine; whatever a test builds goes after it, and the store is sound then."""
    yield engine
    for view in engine.images.list():
        if view.tags != ("base:1",):
            engine.images.remove(view.id, force=True)
    base = engine.images.get("base:1").layers
    cache = engine.store.buildcache
    cache.forget(step.key for step in cache.list() if step.result.get("chain_id") not in base)
    sweep(engine)
    check_sound(engine)
    assert os.listdir(engine.store.layout.containers) == []


def shell(engine: Engine, image: str, script: str) -> str:
    """Return what a script prints in a container of an image."""
    config = ContainerConfig(image=image, cmd=("/bin/sh", "-c", script))
    done = run_to_end(engine, config, HostConfig(auto_remove=True), b"")
    assert done.exit_code == 0, done.stderr
    return done.stdout.decode()


def names_of(engine: Engine, built: Built) -> set[str]:
    """Return the paths in the layers that a build added to `base:1`."""
    below = len(engine.images.get("base:1").layers)
    found: set[str] = set()
    for made in built.layers[below:]:
        root = engine.store.layout.layer(made.chain_id)
        for folder, folders, files in os.walk(root):
            found.update(f"{folder}/{name}"[len(root) :] for name in (*folders, *files))
    return found


def test_a_second_build_is_all_cached(built: Engine, context: Path) -> None:
    """The same context again: every step from the cache, the same id, no process started."""
    first, second = Events(), Events()
    one = built.images.build(str(context), tags=["app:1"], progress=first)
    two = built.images.build(str(context), tags=["app:2"], progress=second)
    assert first.cached()[1:] == [False] * 5
    assert all(second.cached())
    assert one.image_id == two.image_id
    assert built.images.get("app:1").tags == ("docker.io/library/app:1", "docker.io/library/app:2")
    assert shell(built, "app:1", "cat /app/seen-first /app/seen-second") == "12"


def test_one_changed_file_rebuilds_what_follows(built: Engine, context: Path) -> None:
    """What stands before the COPY of a changed file stays cached; touching a file changes nothing."""
    before = built.images.build(str(context), tags=["app:1"])
    (context / "second").write_text("two")
    events = Events()
    built.images.build(str(context), tags=["app:1"], progress=events)
    assert events.cached()[1:] == [True, True, True, False, False]
    reasons = [event.reason for event in events if isinstance(event, StepDone) and not event.cached]
    assert "second" in reasons[0]
    assert shell(built, "app:1", "cat /app/seen-first /app/seen-second") == "1two"
    (dangling,) = built.images.list(filters={"dangling": ["true"]})
    assert dangling.id == before.image_id
    os.utime(context / "first", (1, 1))
    again = Events()
    built.images.build(str(context), tags=["app:1"], progress=again)
    assert all(again.cached())
    uncached = Events()
    built.images.build(str(context), tags=["app:1"], no_cache=True, progress=uncached)
    assert not any(uncached.cached()[1:])


def test_a_failing_run_leaves_everything_as_it_was(built: Engine, context: Path) -> None:
    """The tag still means the previous image, and neither a container nor a folder nor a mount is left."""
    before = built.images.build(str(context), tags=["app:1"])
    (context / "Dockerfile").write_text(f"{APP}RUN echo half > /half && echo sorry && exit 9\n")
    mounts = _mounts(built)
    with pytest.raises(BuildFailed) as failed:
        built.images.build(str(context), tags=["app:1"])
    assert failed.value.exit_code == 9
    assert failed.value.step.output == b"sorry\n"
    assert built.images.get("app:1").id == before.image_id
    assert built.containers.list(all=True) == ()
    assert _mounts(built) == mounts
    for folder in (built.store.layout.drafts, built.store.layout.containers):
        assert os.listdir(folder) == []
    check_sound(built)


def _mounts(engine: Engine) -> list[str]:
    with open("/proc/self/mountinfo") as lines:
        return [line for line in lines if engine.settings.root in line]


def test_stages(built: Engine, context: Path) -> None:
    """COPY --from takes files of a stage with owner and mode; --target stops; unused stages do not run."""
    (context / "Dockerfile").write_text(
        "FROM base:1 AS make\n"
        "RUN mkdir -p /out/sub && echo made > /out/sub/file && chmod 750 /out/sub && chown -R 7:8 /out\n"
        "FROM base:1 AS unused\nRUN exit 1\n"
        "FROM base:1 AS middle\nCOPY --from=make /out /in\n"
        "FROM middle\nCOPY --from=make --chown=3:4 /out/sub/file /owned\n"
        "COPY --from=base:1 /data/seed /seed\n"
    )
    built.images.build(str(context), tags=["app:1"])
    own, made = ("0:0", "0:0") if PRIVILEGE.records_owners else ("3:4", "7:8")
    listing = shell(built, "app:1", "stat -c '%n %u:%g %a' /in/sub /in/sub/file /owned; cat /owned /seed")
    assert listing.split("\n")[:5] == [
        "/in/sub 0:0 750",
        "/in/sub/file 0:0 644",
        f"/owned {own} 644",
        "made",
        "seed",
    ]
    built.images.build(str(context), tags=["app:make"], target="make")
    script = "stat -c %u:%g /out/sub/file; ls /in /owned 2>/dev/null || true"
    assert shell(built, "app:make", script) == f"{made}\n"
    with pytest.raises(BuildFailed):
        built.images.build(str(context), target="unused")


@needs_ids
def test_users_folders_and_arguments(built: Engine, context: Path) -> None:
    """RUN runs as USER in WORKDIR with ENV and ARG; the container does the same, without the ARG."""
    (context / "Dockerfile").write_text(
        "ARG FROM=base:1\nFROM $FROM\nARG WHO=nobody\nENV GREETING=hi-$WHO\n"
        "WORKDIR /srv/deep\nWORKDIR er\nRUN chown 7:8 .\nUSER web\n"
        "RUN echo $GREETING $WHO $(id -u):$(id -g) $(pwd) $HOME > file\n"
        "USER 99:mail\nRUN id -u && id -g\n"
        'USER web\nCMD ["sh", "-c", "cat file; id -un; echo [$WHO]"]\n'
    )
    events = Events()
    built.images.build(str(context), tags=["app:1"], build_args={"WHO": "ann"}, progress=events)
    assert events.output().split() == ["99", "9"]
    done = run_to_end(built, ContainerConfig(image="app:1"), HostConfig(auto_remove=True), b"")
    assert done.stdout == b"hi-ann ann 7:8 /srv/deep/er /srv\nweb\n[]\n"
    other = Events()
    built.images.build(str(context), tags=["app:2"], build_args={"WHO": "bob"}, progress=other)
    assert not all(other.cached()), "another argument is another build"
    assert shell(built, "app:2", "cat file").startswith("hi-bob bob")


def test_here_documents(built: Engine, context: Path) -> None:
    """A here-document is a script of the shell, of its own interpreter, or a file for COPY."""
    (context / "Dockerfile").write_text(
        "FROM base:1\n"
        "RUN <<EOF\nset -e\necho one > /one\necho $0 > /zero\nEOF\n"
        'RUN <<EOF\n#!/bin/awk -f\nBEGIN { print "by awk" > "/awk" }\nEOF\n'
        "COPY <<EOF /two\ntwo $PATH\nEOF\n"
        'COPY <<"EOF" /three\nthree $PATH\nEOF\n'
    )
    made = built.images.build(str(context), tags=["app:1"])
    assert shell(built, "app:1", "cat /one /awk /two /three") == "one\nby awk\ntwo /bin\nthree $PATH\n"
    names = names_of(built, made)
    assert {"/one", "/zero", "/awk", "/two", "/three"} <= names
    assert not [name for name in names if name.startswith("/dev/pipes") or "EOF" in name]


def test_onbuild(built: Engine, context: Path) -> None:
    """ONBUILD waits for the next build on the image, and runs there once."""
    (context / "Dockerfile").write_text(
        "FROM base:1\nONBUILD COPY first /triggered\nONBUILD RUN cat /triggered > /ran\n"
    )
    built.images.build(str(context), tags=["parent:1"])
    assert built.images.inspect("parent:1")["Config"]["OnBuild"] == [
        "COPY first /triggered",
        "RUN cat /triggered > /ran",
    ]
    (context / "Dockerfile").write_text("FROM parent:1\nRUN cat /ran > /after\n")
    built.images.build(str(context), tags=["child:1"])
    assert shell(built, "child:1", "cat /after") == "1"
    assert not built.images.inspect("child:1")["Config"].get("OnBuild")


def test_what_the_engine_makes_is_in_no_layer(built: Engine, context: Path) -> None:
    """/etc/hosts, /dev, /proc and mount points are the running step's: the layer has what it wrote."""
    (context / "Dockerfile").write_text(
        "FROM base:1\n"
        "RUN cat /etc/hosts /etc/resolv.conf /etc/hostname > /dev/null\n"
        "RUN ls /proc/self /sys/kernel /dev/null\n"
        "RUN echo x > /written && touch /data/t /dev/shm/s && mkdir -p /run/r\n"
    )
    made = built.images.build(str(context), tags=["app:1"])
    assert names_of(built, made) == {"/written", "/data", "/data/t", "/run", "/run/r"}
    below = len(built.images.get("base:1").layers)
    for empty in made.layers[below : below + 2]:
        assert empty.size == 0
        assert os.listdir(built.store.layout.layer(empty.chain_id)) == []


def test_files_of_the_image_under_the_engines_own(built: Engine, context: Path) -> None:
    """An image's own /etc/hosts survives a RUN, though the step saw the engine's."""
    (context / "first").write_text("10.9.8.7 own\n")
    (context / "Dockerfile").write_text(
        "FROM base:1\nCOPY first /etc/hosts\nRUN ! grep own /etc/hosts && echo done > /done\n"
    )
    made = built.images.build(str(context), tags=["app:1"])
    assert built.store.stack([one.chain_id for one in made.layers]).read("/etc/hosts") == b"10.9.8.7 own\n"
    assert names_of(built, made) >= {"/etc/hosts", "/done"}


def test_networks(built: Engine, context: Path) -> None:
    """A step without network sees only its loopback; one on the host's is in the host's namespace."""
    host = os.readlink("/proc/self/ns/net")
    interfaces = "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '"
    for network, command, expected in (
        ("none", interfaces, "lo"),
        ("host", "readlink /proc/self/ns/net", host),
    ):
        events = Events()
        (context / "Dockerfile").write_text(f"FROM base:1\nRUN --network={network} {command}\n")
        built.images.build(str(context), progress=events)
        assert events.output().strip() == expected


def test_what_inspect_shows(built: Engine, context: Path) -> None:
    """VOLUME, EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL and SHELL stand in inspect as docker has them."""
    (context / "Dockerfile").write_text(
        "FROM base:1\nVOLUME /data /more\nEXPOSE 80 53/udp\nLABEL a=b\nSTOPSIGNAL SIGUSR1\n"
        "HEALTHCHECK --interval=5s --retries=2 CMD true\n"
        'ENTRYPOINT ["/bin/sh", "-c"]\nCMD ["echo hello"]\n'
    )
    built.images.build(str(context), tags=["app:1"], labels={"c": "d"})
    config = built.images.inspect("app:1")["Config"]
    assert config["Volumes"] == {"/data": {}, "/more": {}}
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["Labels"] == {"a": "b", "c": "d"}
    assert config["StopSignal"] == "SIGUSR1"
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9, "Retries": 2}
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/sh", "-c"], ["echo hello"])
    history = built.images.history("app:1")
    assert history[0].created_by.startswith('CMD ["echo hello"]')
    assert len(history) == len(built.store.images.config(built.images.get("app:1")).history)


def test_what_a_run_removes_stays_removed(built: Engine, context: Path, tmp_path: Path) -> None:
    """Whiteouts and emptied folders of a build travel through a registry: what was removed is gone there."""
    (context / "Dockerfile").write_text(
        "FROM base:1\nRUN mkdir -p /d/e && touch /d/e/old /d/gone /d/kept\n"
        "RUN rm /d/gone && rm -r /d/e && mkdir /d/e && touch /d/e/new && rm -r /data\n"
        "RUN mv /d/kept /d/moved && rm /etc/group\n"
    )
    script = "find /d | sort; ls /etc/group /data 2>&1 | wc -l; ls -A /d/e"
    with DockerRegistry(str(tmp_path / "registry")) as registry, make_engine(tmp_path / "other") as other:
        name = f"{registry.host}/removed:1"
        built.images.build(str(context), tags=[name])
        here = shell(built, name, script)
        assert here == "/d\n/d/e\n/d/e/new\n/d/moved\n2\nnew\n"
        built.images.push(name)
        other.images.pull(name)
        assert shell(other, name, script) == here
        check_sound(other)
        with open(tmp_path / "saved.tar", "wb") as out:
            other.images.save([name], out)
    names = set()
    with tarfile.open(tmp_path / "saved.tar") as saved:
        for member in saved:
            blob = saved.extractfile(member) if member.name.startswith("blobs/") else None
            data = blob.read() if blob else b""
            if data[:2] == b"\x1f\x8b" or data[257:262] == b"ustar":
                with tarfile.open(fileobj=io.BytesIO(data)) as inner:
                    names.update(inner.getnames())
    assert {"d/.wh.gone", "d/.wh.kept", ".wh.data", "etc/.wh.group", "d/e/.wh..wh..opq"} <= names


class _Stop(Events):
    """Presses Ctrl-C when a step prints `ready`."""

    def __call__(self, event: BuildEvent) -> None:
        """Interrupt at that word."""
        super().__call__(event)
        if isinstance(event, StepOutput) and b"ready" in event.data:
            raise KeyboardInterrupt


SLOW = "FROM base:1\nRUN echo $$ > /pid; trap '' INT TERM; echo ready; sleep 1000; sleep 1000\n"


def test_an_interrupt_ends_the_step(built: Engine, context: Path) -> None:
    """Ctrl-C in the library kills what the step runs, gives its mounts back and leaves the tag alone."""
    before = built.images.build(str(context), tags=["app:1"])
    (context / "Dockerfile").write_text(SLOW)
    mounts = _mounts(built)
    with pytest.raises(KeyboardInterrupt):
        built.images.build(str(context), tags=["app:1"], progress=_Stop())
    assert built.images.get("app:1").id == before.image_id
    assert _mounts(built) == mounts
    for folder in (built.store.layout.drafts, built.store.layout.containers):
        assert os.listdir(folder) == []
    check_sound(built)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_command_and_its_step(built: Engine, context: Path, number: signal.Signals) -> None:
    """A signal to `tiffin build` in the middle of a RUN ends it with what it runs, and nothing is left."""
    (context / "Dockerfile").write_text(SLOW)
    settings = built.settings
    program = [sys.executable, "-c", "from tiffin.cli.entry import main; main()"]
    where = ["--root", settings.root, "--run", settings.run, "build", "-t", "app:1", str(context)]
    build = subprocess.Popen([*program, *where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert build.stdout is not None
    for line in build.stdout:
        if b"| ready" in line:
            break
    (step,) = os.listdir(built.store.layout.containers)
    keeper = _keeper_of(step)
    build.send_signal(number)
    build.communicate(timeout=60)
    assert build.returncode in {130, -number, 128 + number}
    poll = select.poll()
    poll.register(keeper, select.POLLIN)
    assert poll.poll(20_000), "the step's keeper is left"
    os.close(keeper)
    assert not [view for view in built.images.list() if "app:1" in view.tags]
    sweep(built)


def _keeper_of(step: str) -> int:
    """Return a pidfd of the process that keeps a step: the parent of the process in its cgroup."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/mountinfo") as lines:
                if any(f"{step}/rootfs" in line for line in lines):
                    return os.pidfd_open(int(name))
        except (OSError, ProcessLookupError):
            continue
    raise AssertionError("no process has the step's root mounted")


def test_independent_stages_are_built_side_by_side(built: Engine) -> None:
    """Two stages that wait for each other, in a cache that both see, end."""
    meet = (
        "RUN --mount=type=cache,target=/meet touch /meet/{} /met && "
        "timeout 60 sh -c 'until test -e /meet/{}; do usleep 10000; done'"
    )
    text = f"""
        FROM base:1 AS one
        {meet.format("one", "two")}
        FROM base:1 AS two
        {meet.format("two", "one")}
        FROM base:1
        COPY --from=one /met /one
        COPY --from=two /met /two
    """
    built.images.build(dockerfile=text, tags=["both:1"])
    assert shell(built, "both:1", "ls /one /two") == "/one\n/two\n"


def test_a_failing_stage_ends_the_others(built: Engine) -> None:
    """A build fails when its first stage does; commands of other stages are killed, not waited for."""
    text = "FROM base:1 AS slow\nRUN sleep 1000\nFROM base:1 AS bad\nRUN exit 7\n"
    text += "FROM slow\nCOPY --from=bad /tmp /x\n"
    with pytest.raises(BuildFailed) as failed:
        built.images.build(dockerfile=text)
    assert failed.value.exit_code == 7
