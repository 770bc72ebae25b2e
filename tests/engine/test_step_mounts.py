"""`RUN --mount`: what a step has while it runs, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_build import Events
from tiffin.build.roles import StepMount
from tiffin.engine import prune, stepmounts
from tiffin.errors import DockerfileError, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.build.roles import Built
    from tiffin.engine.engine import Engine


def _top(engine: Engine, built: Built) -> list[str]:
    """Return the paths of the last layer."""
    folder = engine.store.layout.layer(built.layers[-1].chain_id)
    return sorted(
        os.path.relpath(f"{where}/{name}", folder)
        for where, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A context with a file, a folder, and what .dockerignore leaves out."""
    made = tmp_path / "app"
    (made / "src").mkdir(parents=True)
    (made / "src" / "main").write_text("main")
    (made / "src" / "hidden").write_text("hidden")
    (made / ".dockerignore").write_text("src/hidden\n")
    return made


def test_files_of_the_context(engine: Engine, folder: Path) -> None:
    """A bind shows the context without what is ignored, takes no writing, and is in no layer."""
    events = Events()
    text = (
        "FROM base:1\nWORKDIR /w\n"
        "RUN --mount=target=/new/point,source=src --mount=source=src/main,target=one"
        " ls /new/point; cat one; touch /new/point/x 2>&1 || echo refused; echo y > /kept\n"
        "RUN --mount=target=.,rw echo changed > src/main && cat src/main\n"
    )
    built = engine.images.build(str(folder), dockerfile=text, progress=events)
    assert events.output().startswith("main\nmaintouch: ")
    assert events.output().endswith("Read-only file system\nrefused\nchanged\n")
    assert _top(engine, built) == []
    assert (folder / "src" / "main").read_text() == "main"
    second = engine.store.layout.layer(built.layers[-2].chain_id)
    assert sorted(os.listdir(second)) == ["kept"]


def test_bound_files_are_in_the_cache_key(engine: Engine, folder: Path) -> None:
    """A step runs again when a file that it has mounted changed, and only then."""
    text = "FROM base:1\nRUN --mount=target=/m,source=src cat /m/main > /copy\n"
    engine.images.build(str(folder), dockerfile=text)
    (folder / "src" / "hidden").write_text("other")
    events = Events()
    engine.images.build(str(folder), dockerfile=text, progress=events)
    assert events.cached() == [True, True]
    (folder / "src" / "main").write_text("new")
    events = Events()
    engine.images.build(str(folder), dockerfile=text, progress=events)
    assert events.cached() == [True, False]


def test_other_stages(engine: Engine, folder: Path) -> None:
    """A bind shows a stage, whole or in part; writing into it stays out of that stage."""
    text = (
        "FROM base:1 AS made\nRUN mkdir /out && echo built > /out/file\n"
        "FROM base:1\n"
        "RUN --mount=from=made,target=/all --mount=from=made,source=/out,target=/part,rw"
        " --mount=from=made,source=out/file,target=/file"
        " cat /all/out/file /file; echo more >> /part/file; cat /part/file /all/out/file > /seen\n"
    )
    events = Events()
    built = engine.images.build(str(folder), dockerfile=text, progress=events)
    assert events.output().split() == ["built", "built"]
    assert (
        engine.store.stack(engine.images.get(built.image_id).layers).read("/seen") == b"built\nmore\nbuilt\n"
    )
    assert _top(engine, built) == ["seen"]


def test_a_cache_outlives_builds(engine: Engine) -> None:
    """A cache is there for the next build, in no layer, counted by df and removed by a prune."""
    text = (
        "FROM base:1\nARG N\n"
        "RUN --mount=type=cache,target=/root/.cache/x cd /root/.cache/x && echo $N >> log; cat log\n"
    )
    for number in ("1", "2"):
        events = Events()
        built = engine.images.build(dockerfile=text, build_args={"N": number}, progress=events)
    assert events.output().split() == ["1", "2"]
    assert _top(engine, built) == []
    assert any(step.kind == "exec.cachemount" and step.size >= 4 for step in engine.system.df().steps)
    planner = prune.Planner(engine)
    planner.steps(every=False, filters={})
    plan = planner.plan(leftovers=False)
    caches = [item for item in plan.items if item.kind == prune.CACHE]
    assert [item.names for item in caches] == [("/root/.cache/x",)]
    prune.carry_out(engine, plan)
    events = Events()
    engine.images.build(dockerfile=text, build_args={"N": "3"}, progress=events)
    assert events.output().split() == ["3"]


def test_a_cache_begins_as_it_is_told(engine: Engine) -> None:
    """A new cache has its mode and what `from` has; one that is read-only takes no writing."""
    text = (
        "FROM base:1 AS seed\nRUN mkdir /s && echo seeded > /s/file\nFROM base:1\n"
        "RUN --mount=type=cache,id=seeded,target=/c,from=seed,source=/s,mode=0711 cat /c/file; ls -ld /c\n"
        "RUN --mount=type=cache,id=seeded,target=/c,from=seed,source=/s,mode=0711,ro"
        " touch /c/x || echo refused\n"
    )
    events = Events()
    engine.images.build(dockerfile=text, progress=events)
    assert "seeded" in events.output()
    assert "drwx--x--x" in events.output()
    assert "refused" in events.output()


@pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
def test_builds_at_once_share_a_cache(engine: Engine, sharing: str) -> None:
    """Two builds at once: shared see one folder, private have two, locked come one after the other."""
    one = (
        f"RUN --mount=type=cache,id={sharing},target=/c,sharing={sharing}"
        " n=0; touch /c/{0}; while [ ! -e /c/{1} ] && [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done;"
        " [ -e /c/{1} ] && echo {0}-saw-{1}; true\n"
    )
    text = (
        "FROM base:1 AS a\n"
        + one.replace("{0}", "a").replace("{1}", "b")
        + "FROM base:1 AS b\n"
        + one.replace("{0}", "b").replace("{1}", "a")
        + "FROM base:1\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n"
    )
    events = Events()
    engine.images.build(dockerfile=text, progress=events)
    seen = sorted(set(events.output().split()))
    expected = {"shared": [["a-saw-b", "b-saw-a"]], "private": [[]], "locked": [["a-saw-b"], ["b-saw-a"]]}
    assert seen in expected[sharing]


def test_secrets_stay_nowhere(engine: Engine) -> None:
    """A secret is a file and a variable of its step, and in no layer, config, history or cache key."""
    text = (
        "FROM base:1\n"
        "RUN --mount=type=secret,id=word,env=WORD --mount=type=secret,id=word,target=/root/w,mode=0440"
        ' test "$WORD" = "$(cat /root/w)" && tr a-z A-Z < /root/w; ls -l /root/w; ls /run/secrets || true\n'
    )
    events = Events()
    built = engine.images.build(dockerfile=text, secrets={"word": b"plugh-xyzzy"}, progress=events)
    assert "PLUGH-XYZZY" in events.output()
    assert "-r--r-----" in events.output()
    again = Events()
    engine.images.build(dockerfile=text, secrets={"word": b"another"}, progress=again)
    assert again.cached() == [True, True]
    assert _top(engine, built) == []
    # By another process: whoever opens state.db and closes it again loses SQLite's locks on it.
    words = ["grep", "-rlae", "plugh-xyzzy", "--devices=skip", engine.store.layout.root]
    assert subprocess.run(words, capture_output=True, check=False).stdout == b""
    assert os.listdir(engine.store.layout.step_secrets) == []


HELD = """\
FROM base:1
RUN --mount=type=secret,id=word,env=WORD --mount=type=secret,id=word \\
    test "$WORD" = "$(cat /run/secrets/word)" && echo ready; sleep 1000
"""


def _holders(engine: Engine, word: str) -> bytes:
    """Return the paths below the root of files that hold a word."""
    words = ["grep", "-rlae", word, "--devices=skip", engine.store.layout.root]
    return subprocess.run(words, capture_output=True, check=False).stdout


def test_a_secret_is_never_on_the_disk(own_engine: Engine, tmp_path: Path) -> None:
    """While its step runs, and after `kill -9` of the build, no file below the root holds a secret."""
    word, layout = "frotz-gnusto", own_engine.store.layout
    (tmp_path / "held").mkdir()
    (tmp_path / "held/Dockerfile").write_text(HELD)
    settings = own_engine.settings
    program = [sys.executable, "-c", "from tiffin.cli.entry import main; main()"]
    where = ["--root", settings.root, "--run", settings.run, "build", "--progress=plain"]
    words = [*program, *where, "--secret", "id=word,env=SECRET", str(tmp_path / "held")]
    environment = {**os.environ, "SECRET": word}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as build:
        assert build.stdout is not None
        assert any(b"| ready" in line for line in build.stdout)
        (step,) = os.listdir(layout.containers)
        with tempfile.NamedTemporaryFile(dir=layout.root) as control:
            control.write(word.encode())
            control.flush()
            assert _holders(own_engine, word) == f"{control.name}\n".encode()
        keeper = os.pidfd_open(_parent(own_engine.store.containers.state(step, living=True).pid))
        build.kill()
    assert select.select([keeper], [], [], 20)[0]  # it has given all back
    os.close(keeper)
    assert os.listdir(layout.step_secrets) == []
    assert _holders(own_engine, word) == b""


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as stream:
        return int(stream.read().rpartition(b")")[2].split()[1])


def test_a_secret_that_is_missing(engine: Engine) -> None:
    """Without its secret a step runs, unless it requires it; then the error says how to give it."""
    events = Events()
    text = "FROM base:1\nRUN --mount=type=secret,id=none ls /run/secrets 2>&1 | cat; echo ran\n"
    engine.images.build(dockerfile=text, progress=events)
    assert events.output().endswith("ran\n")
    with pytest.raises((DockerfileError, NotFound), match="secret none: not found") as caught:
        engine.images.build(dockerfile=text.replace("id=none", "id=none,required"))
    assert "--secret id=none" in caught.value.hint
    with pytest.raises((DockerfileError, NotFound), match='no SSH key "default" forwarded'):
        engine.images.build(dockerfile="FROM base:1\nRUN --mount=type=ssh,required true\n")


def test_memory_that_goes(engine: Engine) -> None:
    """A tmpfs has its size, and its mount point is not in the layer."""
    events = Events()
    text = (
        "FROM base:1\nRUN --mount=type=tmpfs,target=/t/mp,size=1m df -k /t/mp | tail -n 1; echo x > /t/mp/x\n"
    )
    built = engine.images.build(dockerfile=text, progress=events)
    assert "1024" in events.output()
    assert _top(engine, built) == []


@contextlib.contextmanager
def _agent(path: str, asked: list[bytes]) -> Iterator[None]:
    """Play an agent that answers whatever it is asked."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    client, _address = listener.accept()
                except OSError:
                    return
                with client:
                    data = client.recv(100)
                    if data:
                        asked.append(data)
                        client.sendall(b"answer")

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def short() -> Iterator[str]:
    """A folder whose name leaves room in a socket's, which has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        yield folder


def test_an_agent(engine: Engine, short: str) -> None:
    """A step finds a socket at SSH_AUTH_SOCK, with the mode that was asked for, in no layer."""
    path = f"{short}/agent"
    events = Events()
    text = "FROM base:1\nRUN --mount=type=ssh,mode=0666 ls -l $SSH_AUTH_SOCK\n"
    with _agent(path, []):
        built = engine.images.build(dockerfile=text, ssh={"default": path}, progress=events)
    assert "srw-rw-rw-" in events.output()
    assert "/run/buildkit/ssh_agent.0" in events.output()
    assert _top(engine, built) == []
    with pytest.raises(Unavailable, match="failed to connect to the ssh agent"):
        engine.images.build(dockerfile=text.replace("ls", "ls -a"), ssh={"default": path})


def test_talks_reach_the_agent(short: str, tmp_path: Path) -> None:
    """What is said to a step's socket comes to the agent, and its answer back."""
    path, asked = f"{short}/agent", list[bytes]()
    mount = StepMount(kind="ssh", target="/s", place=path, mode=0o600)
    folder = str(tmp_path / ("a" * 120))
    with (
        _agent(path, asked),
        stepmounts.private(folder) as private,
        stepmounts.points(private, [mount]) as found,
        socket.socket(socket.AF_UNIX) as client,
    ):
        os.symlink(os.path.dirname(found[0].source), f"{short}/s")
        client.connect(f"{short}/s/0")
        client.sendall(b"question")
        assert client.recv(100) == b"answer"
    assert asked == [b"question"]
    assert os.listdir(folder) == []
