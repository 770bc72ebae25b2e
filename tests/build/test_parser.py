"""Dockerfiles, good and wrong, against golden files."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.build import parser
from tiffin.build.durations import duration
from tiffin.build.instructions import Instruction, OnBuild, read, run_script
from tiffin.errors import DockerfileError, TiffinError
from tiffin.spec.value import Value

_HERE = os.path.dirname(__file__)
_GOOD = sorted(n[: -len(".Dockerfile")] for n in os.listdir(f"{_HERE}/golden") if n.endswith(".Dockerfile"))
_WRONG = sorted(n[: -len(".Dockerfile")] for n in os.listdir(f"{_HERE}/wrong") if n.endswith(".Dockerfile"))


def _bytes(path: str) -> bytes:
    with open(f"{_HERE}/{path}", "rb") as stream:
        return stream.read()


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_shown, value)) + ")"
    if isinstance(value, Value):
        inner = ", ".join(
            f"{k}={_shown(v)}"
            for k, v in value.as_dict().items()
            if k != "statement" and v not in {"", False, ()}
        )
        return f"{type(value).__name__}({inner})"
    return repr(value)


def _dump(data: bytes) -> str:
    dockerfile = parser.parse(data)
    lines = []
    for statement in dockerfile.statements:
        shown = _shown(read(statement))
        gap = " with a gap" if statement.gap else ""
        lines.append(f"{statement.line}-{statement.end_line} {shown}{gap}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", _GOOD)
def test_golden(name: str) -> None:
    """A good Dockerfile reads as the golden file beside it says, line numbers included."""
    assert _dump(_bytes(f"golden/{name}.Dockerfile")) == _bytes(f"golden/{name}.txt").decode()


@pytest.mark.parametrize("name", _WRONG)
def test_wrong(name: str) -> None:
    """A wrong Dockerfile is refused with docker's sentence and the place of the mistake."""
    with pytest.raises(TiffinError) as caught:
        _dump(_bytes(f"wrong/{name}.Dockerfile"))
    error = caught.value
    place = f"{error.line}:{error.column}" if isinstance(error, DockerfileError) else type(error).__name__
    hint = f"hint: {error.hint}\n" if error.hint else ""
    assert f"{place}\n{error.message}\n{hint}" == _bytes(f"wrong/{name}.txt").decode()


@given(st.text(alphabet="FROMRUNCPYa \n\\\"'$<{}#=-[],\t\r`", max_size=80))
def test_anything_parses_or_is_refused(text: str) -> None:
    """No text makes the parser fail with anything but a DockerfileError or Unsupported."""
    with contextlib.suppress(TiffinError):
        for statement in parser.parse("FROM x\n" + text).statements:
            assert isinstance(read(statement), Instruction)


@pytest.mark.parametrize(
    ("text", "script", "file"),
    [
        ("RUN <<E\nmake\nE", "make\n", None),
        ("RUN <<-E\n\tmake\n\tE", "make\n", None),
        ("RUN <<E\n#!/usr/bin/env python\nE", "<<E", ("E", b"#!/usr/bin/env python\n")),
        ("RUN cat <<E >f\nx\nE", "cat <<E >f\nx\nE", None),
        ("RUN echo a", "echo a", None),
    ],
)
def test_run_heredocs(text: str, script: str, file: tuple[str, bytes] | None) -> None:
    """A here-document alone is the script; beside a command the shell gets it; `#!` makes it a file."""
    instruction = read(parser.parse("FROM x\n" + text).statements[1])
    assert run_script(instruction) == (script, file)  # type: ignore[arg-type]


def test_trigger_round_trip() -> None:
    """An ONBUILD trigger with a here-document is read again as it was written."""
    instruction = read(parser.parse("FROM x\nONBUILD RUN <<E\nmake\nE").statements[1])
    assert isinstance(instruction, OnBuild)
    again = parser.parse_trigger(instruction.trigger, "\\", "Dockerfile")
    assert again.keyword == "RUN"
    assert again.heredocs[0].content == "make\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1h2m3.5s", 3723_500_000_000),
        ("0", 0),
        ("10ms", 10_000_000),
        ("5", None),
        ("", None),
        ("-1s", -(10**9)),
    ],
)
def test_durations(text: str, value: int | None) -> None:
    """Durations are Go's."""
    assert duration(text) == value
