"""A runtime that leaves out what confines a process is refused: before it runs, or as soon as it is seen."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from tests.keeper.parts import collect, expect
from tiffin.keeper import frames
from tiffin.keeper.confinement import Confinement, has_begun
from tiffin.runtime import capabilities
from tiffin.spec.container import HostConfig

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from tests.keeper.parts import Box

# A runtime that changes what it is told, then does it.
_WRAPPER = """\
#!/usr/bin/python3 -I
import json, os, sys
words = sys.argv[1:]
for option, name in (("--bundle", "/config.json"), ("--process", "")):
    if option in words and {which}:
        path = words[words.index(option) + 1] + name
        with open(path) as stream:
            spec = json.load(stream)
        process = spec.get("process", spec)
        {change}
        with open(path, "w") as stream:
            json.dump(spec, stream)
os.execv({runtime!r}, [{runtime!r}, *words])
"""
_CHANGES = {
    "seccomp": 'spec.get("linux", {}).pop("seccomp", 0); spec.pop("annotations", 0)',
    "capabilities": 'process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), '
    '["CAP_SYS_ADMIN", *process["capabilities"]["bounding"]])',
    "no-new-privileges": 'process["noNewPrivileges"] = False',
}
_REFUSED = {
    "seccomp": "the runtime has not applied the seccomp filter",
    "capabilities": "the runtime has not applied the dropped capabilities",
    "no-new-privileges": "the runtime has not applied no-new-privileges",
}


def wrapper(folder: pathlib.Path, name: str, left_out: str, which: str = "True") -> str:
    """Write a runtime that leaves something out; return its path."""
    path = folder / name
    path.write_text(
        _WRAPPER.format(which=which, change=_CHANGES.get(left_out, "pass"), runtime=shutil.which("crun"))
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("left_out", _REFUSED)
def test_an_unknown_runtime_is_refused_before_its_container_runs(
    make_box: Callable[[str], Box], tmp_path: pathlib.Path, left_out: str
) -> None:
    """The program has not done anything; the error names what is lacking, and nothing is left."""
    box = make_box(wrapper(tmp_path, "careless", left_out))
    host = HostConfig(security_opt=("no-new-privileges",) if left_out == "no-new-privileges" else ())
    with box.start("echo", "ran", host=host) as connection:
        frame = expect(connection, frames.FAILED)
        assert connection.recv() is None  # everything has been given back
    assert _REFUSED[left_out] in frame.text
    assert frame.exit_code == 125
    assert not os.path.exists(box.live)
    assert all(entry["log"] != "ran\n" for entry in box.log())


@pytest.mark.parametrize("left_out", _REFUSED)
def test_one_that_calls_itself_crun_is_refused_too(
    make_box: Callable[[str], Box], tmp_path: pathlib.Path, left_out: str
) -> None:
    """Its container is killed as soon as it is seen."""
    box = make_box(wrapper(tmp_path, "crun-careless", left_out))
    host = HostConfig(security_opt=("no-new-privileges",) if left_out == "no-new-privileges" else ())
    with box.start("sleep", "1000", host=host) as connection:
        frame = expect(connection, frames.FAILED)
        assert connection.recv() is None  # everything has been given back
    assert _REFUSED[left_out] in frame.text
    assert not os.path.exists(box.live)


def test_an_exec_is_refused_alone(make_box: Callable[[str], Box], tmp_path: pathlib.Path) -> None:
    """More capabilities than the container's end the exec, and the container goes on."""
    box = make_box(wrapper(tmp_path, "careless", "capabilities", which='option == "--process"'))
    with box.start("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
        with box.execute("sleep", "1000") as other:
            frame = expect(other, frames.FAILED)
        assert "exec failed" in frame.text
        assert _REFUSED["capabilities"] in frame.text
        assert box.facts()["status"] == "running"


def test_an_honest_unknown_runtime_runs(make_box: Callable[[str], Box], tmp_path: pathlib.Path) -> None:
    """Created, looked at, started: its output, its exit code, its terminal and its execs are as ever."""
    box = make_box(wrapper(tmp_path, "honest", ""))
    host = HostConfig(security_opt=("no-new-privileges",))
    assert box.run("sh", "-c", "echo out; echo err >&2; exit 3", host=host) == (b"out\n", b"err\n", 3)
    other = make_box(box.runtime)
    with other.start("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
        with other.execute("echo", "more", tty=True) as execed:
            assert collect(execed)[0] == b"more\r\n"


def test_a_program_that_is_not_there_is_still_dockers_error(
    make_box: Callable[[str], Box], tmp_path: pathlib.Path
) -> None:
    """Whether create or start finds out."""
    box = make_box(wrapper(tmp_path, "honest", ""))
    with box.start("nowhere") as connection:
        frame = expect(connection, frames.FAILED)
    assert (frame.exit_code, "executable file not found" in frame.text) == (127, True)


def test_what_is_read_back_is_this_process(tmp_path: pathlib.Path) -> None:
    """Asked for more than it has, nothing lacks; for less, the first thing is named; nobody lacks nothing."""
    everything = (1 << len(capabilities.ALL)) - 1
    asked = Confinement(filtered=False, granted=everything, no_new_privileges=False)
    assert asked.lacks(os.getpid()) == ""
    assert asked.replace(granted=0).lacks(os.getpid()) == "the dropped capabilities"
    assert asked.replace(filtered=True).lacks(os.getpid()) == "the seccomp filter"
    assert asked.replace(filtered=True).lacks((1 << 22) - 1) == ""
    assert has_begun(os.getpid())
