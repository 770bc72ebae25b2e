"""A failed step is kept: builder debug, build --on-failure shell, and error.step.exec look inside."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from tiffin.engine.engine import Engine
from tiffin.errors import BuildFailed, NotFound
from tiffin.settings import Settings

if TYPE_CHECKING:
    import pathlib

    from tests.cli.conftest import Tiffin

DOCKERFILE = """\
FROM box:1
WORKDIR /work
ENV COLOUR=blue
RUN --mount=type=secret,id=key,required=false --mount=type=cache,target=/cache \\
    --mount=source=given,target=/given,type=bind \\
    echo kept > /cache/file; echo half > done; cat missing
"""


@pytest.fixture
def project(tmp_path: pathlib.Path) -> str:
    """A context whose build fails in the middle of a RUN."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "given").write_text("given")
    (tmp_path / "key").write_text("s3cret")
    return str(tmp_path)


def test_debug_runs_where_the_step_stopped(tiffin: Tiffin, project: str) -> None:
    """The files it left, its folder, variables, cache and context are there; its secret when given again."""
    assert "look inside:  tiffin builder debug" in tiffin.wrong("build", project)
    look = "cat done /cache/file /given; echo $COLOUR; cat /run/secrets/key"
    done = tiffin.run("builder", "debug", "sh", "-c", look)
    assert done.stdout == b"half\nkept\ngivenblue\n"
    assert b"secret key is not kept" in done.stderr
    given = tiffin("builder", "debug", "--secret", f"id=key,src={project}/key", "cat", "/run/secrets/key")
    assert given == "s3cret"
    tiffin("builder", "debug", "sh", "-c", "exit 7", code=7)


def test_what_a_debugger_changes_is_gone(tiffin: Tiffin, project: str) -> None:
    """A shell reads commands from standard input; the step is as it was for the next one."""
    tiffin.wrong("build", project)
    assert tiffin("builder", "debug", stdin=b"echo more > done; cat done") == "more\n"
    assert tiffin("builder", "debug", "cat", "done") == "half\n"


def test_on_failure_shell(tiffin: Tiffin, project: str) -> None:
    """The error is told, a shell is opened with the build's own secret, and the build has failed."""
    words = ("build", "--secret", f"id=key,src={project}/key", "--on-failure", "shell", project)
    done = tiffin.run(*words, stdin=b"cat done /run/secrets/key")
    assert done.returncode == 1
    assert done.stdout == b"half\ns3cret"
    assert b"exit code 1" in done.stderr
    assert "invalid --on-failure" in tiffin.wrong("build", "--on-failure", "pray", project)


def test_a_failed_step_goes_when_it_works_or_is_pruned(tiffin: Tiffin, project: str) -> None:
    """What is kept is listed by its id, pruned with the cache, and forgotten when the stage's RUN works."""
    tiffin("builder", "prune", "-f")
    tiffin.wrong("build", project)
    assert "failed: RUN" in tiffin("builder", "prune", "--dry-run")
    (line,) = [line for line in tiffin("builder", "du").splitlines() if "failed: RUN" in line]
    assert tiffin("builder", "debug", "--step", line.split()[0], "cat", "done") == "half\n"
    assert "Description:   failed: RUN" in tiffin("builder", "du", "--verbose")
    tiffin("builder", "prune", "-f")
    assert "No failed step is kept" in tiffin.wrong("builder", "debug")
    tiffin.wrong("build", project)
    with open(f"{project}/Dockerfile", "w", encoding="utf-8") as stream:
        stream.write(DOCKERFILE.replace("missing", "done"))
    tiffin("build", project)
    assert "No such failed step: abc" in tiffin.wrong("builder", "debug", "--step", "abc")


def test_in_python_the_exception_carries_the_step(tiffin: Tiffin, project: str) -> None:
    """error.step.exec runs in it, from a program that has threads, too."""
    settings = Settings.from_environment(dict(os.environ), root=tiffin.root, run=f"{tiffin.root}.run")
    idle = threading.Event()
    thread = threading.Thread(target=idle.wait)
    thread.start()
    try:
        with Engine(settings) as engine:
            with pytest.raises(BuildFailed) as caught:
                engine.images.build(project)
            step = caught.value.step
            done = step.exec(["sh", "-c", "cat done; cat - >&2; exit 3"], stdin=b"said")
            assert (done.exit_code, done.stdout, done.stderr) == (3, b"half\n", b"said")
            engine.system.prune(engine.system.plan_prune_build_cache())
            with pytest.raises(NotFound):
                step.exec(["true"])
    finally:
        idle.set()
        thread.join()


def test_an_agent_is_given_again(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A step that had an ssh agent has it in the debugger when it is given there, and its variable."""
    (tmp_path / "Dockerfile").write_text("FROM box:1\nRUN --mount=type=ssh cat missing\n")
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as agent:
        place = f"{short}/agent"  # a socket's name is short
        agent.bind(place)
        agent.listen()
        tiffin.wrong("build", "--ssh", f"default={place}", str(tmp_path))
        look = tiffin("builder", "debug", "--ssh", f"default={place}", "sh", "-c", "ls $SSH_AUTH_SOCK")
    assert look.startswith("/run/buildkit/ssh_agent")
