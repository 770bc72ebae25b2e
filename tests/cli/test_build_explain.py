"""build --explain and builder explain: every step's answer, in words and by the published schema."""

from __future__ import annotations

import json
import pathlib
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin

SCHEMA = pathlib.Path(__file__).parents[2] / "docs" / "build-explanation.schema.json"
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}

DOCKERFILE = """\
FROM box:1
ARG COLOUR
ARG DEPLOY_TOKEN
RUN echo "$COLOUR" > /colour
COPY one two /files/
RUN echo done > /done
CMD ["sh"]
"""


def conforms(value: Any, schema: dict[str, Any], where: str = "$") -> None:
    """Hold a value to the parts of JSON Schema that ours use; fail where it does not conform."""
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else [kinds] if kinds else []:
        assert any(_is(value, each) for each in ([kind] if isinstance(kind, str) else kind)), where
    if "pattern" in schema:
        assert re.search(schema["pattern"], value), where
    if "minimum" in schema:
        assert value >= schema["minimum"], where
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= value.keys() <= schema["properties"].keys(), where
        for name, each in value.items():
            conforms(each, schema["properties"][name], f"{where}.{name}")
    if isinstance(value, list):
        for number, each in enumerate(value):
            conforms(each, schema["items"], f"{where}[{number}]")


def _is(value: Any, kind: str) -> bool:
    if kind in {"integer", "number"}:
        return not isinstance(value, bool) and isinstance(value, int if kind == "integer" else (int, float))
    return isinstance(value, _TYPES[kind])


@pytest.fixture
def project(tmp_path: pathlib.Path) -> pathlib.Path:
    """A context with two files."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    return tmp_path


def _steps(said: str) -> dict[int, dict[str, Any]]:
    data = json.loads(said)
    conforms(data, json.loads(SCHEMA.read_text()))
    return {step["line"]: step for step in data["steps"]}


def test_each_step_says_what_differs_and_what_it_cost(tiffin: Tiffin, project: pathlib.Path) -> None:
    """A changed file is named with both digests, an argument with both values, a secret's name without.

    The step that only stands on a changed one is charged to it, and the image remembers all that.
    """
    build = ("build", "-q", "--explain", "--format", "json", "-t", "explained")
    steps = _steps(tiffin(*build, "--build-arg", "COLOUR=red", str(project)))
    assert [steps[line]["verdict"] for line in (2, 4, 5, 6, 7)] == ["config", "new", "new", "new", "config"]
    (project / "two").write_text("changed")
    steps = _steps(tiffin(*build, "--build-arg", "COLOUR=red", str(project)))
    assert [steps[line]["verdict"] for line in (1, 4, 5, 6)] == ["cached", "cached", "changed", "parent"]
    (difference,) = steps[5]["differences"]
    assert (difference["kind"], difference["name"]) == ("file", "two")
    assert re.fullmatch(r"644 sha256:[0-9a-f]{64}", difference["before"])
    assert difference["before"] != difference["after"]
    assert (steps[5]["costs"], steps[6]["cause"]) == ([steps[6]["number"]], steps[5]["number"])
    assert _steps(tiffin("builder", "explain", "--format", "json", "explained")) == steps
    given = ("--build-arg", "COLOUR=blue", "--build-arg", "DEPLOY_TOKEN=hush")
    steps = _steps(tiffin(*build, *given, str(project)))
    assert [(d["name"], d["before"], d["after"]) for d in steps[4]["differences"]] == [
        ("COLOUR", "red", "blue"),
        ("DEPLOY_TOKEN", None, "(not shown)"),
    ]


def test_in_words(tiffin: Tiffin, project: pathlib.Path) -> None:
    """What is printed for people says the same; a build that was cached whole leaves the first answer."""
    words = ("build", "--progress", "quiet", "-t", "worded", "--explain")
    tiffin(*words, str(project))
    (project / "one").unlink()
    (project / "one").write_text("other")
    said = tiffin(*words, str(project))
    assert "cached: nothing differs from 20" in said
    assert "not cached: one input differs (last built 20" in said
    assert re.search(r"\n        one: 644 sha256:[0-9a-f]{12}… -> 644 sha256:[0-9a-f]{12}…\n", said)
    assert re.search(r"cost: step 5 and 6, \d\.\d s\n", said)
    assert "because of step 5\n" in said
    assert tiffin("builder", "explain", "worded") == said
    again = tiffin(*words, str(project))
    assert "not cached" not in again
    assert tiffin("builder", "explain", "worded") == said


def test_a_base_that_changed_is_named(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """What a new base image costs is charged to FROM, with both ids."""
    base, top = tmp_path / "base", tmp_path / "top"
    for folder, text in ((base, "FROM box:1\nCOPY file /\n"), (top, "FROM under\nRUN echo > /x\n")):
        folder.mkdir()
        (folder / "Dockerfile").write_text(text)
    found = []
    for number in range(2):
        (base / "file").write_text(str(number))
        tiffin("build", "-q", "-t", "under", str(base))
        found.append(_steps(tiffin("build", "-q", "--explain", "--format", "json", str(top))))
    start, run = found[1][1], found[1][2]
    assert [each["kind"] for each in start["differences"]] == ["image"]
    assert (start["costs"], run["cause"], run["verdict"]) == ([2], 1, "parent")


def test_what_cannot_be_explained(tiffin: Tiffin, project: pathlib.Path) -> None:
    """An image from elsewhere, a format that is none, and a format of nothing are refused."""
    tiffin("build", "-q", "-t", "forgotten", str(project))
    tiffin("save", "-o", str(project / "tar"), "forgotten")
    assert "--format is how --explain answers" in tiffin.wrong("build", "--format", "json", str(project))
    assert "invalid format: xml" in tiffin.wrong("builder", "explain", "--format", "xml", "forgotten")
    assert "No such image: nope:latest" in tiffin.wrong("builder", "explain", "nope")


def test_one_stage_is_built_anew(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """--no-cache-filter leaves the other stages cached; --metadata-file tells the digests and the name."""
    (tmp_path / "Dockerfile").write_text(
        "FROM box:1 AS Tools\nRUN echo tool > /tool\n"
        "FROM box:1\nRUN echo own > /own\nCOPY --from=tools /tool /\n"
    )
    words = ("build", "-q", "--explain", "--format", "json", "-t", "filtered", str(tmp_path))
    tiffin(*words)
    metadata = tmp_path.parent / f"{tmp_path.name}.json"
    said = tiffin("build", "--no-cache-filter", "tools", "--metadata-file", str(metadata), *words[1:])
    steps = _steps(said)
    assert [steps[line]["verdict"] for line in (2, 4, 5)] == ["unwanted", "cached", "cached"]
    told = json.loads(metadata.read_text())
    shown = json.loads(tiffin("image", "inspect", "filtered"))[0]
    assert told["containerimage.config.digest"] == shown["Id"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", told["containerimage.digest"])
    assert told["image.name"] == "docker.io/library/filtered:latest"
