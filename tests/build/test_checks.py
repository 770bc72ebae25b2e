"""The build checks, rule by rule: what is found, where, and what is not."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest

from tiffin.build.entry import check
from tiffin.build.events import StepDone, Warned
from tiffin.build.roles import Options
from tiffin.errors import InvalidArgument
from tiffin.spec.container import ContainerConfig

if TYPE_CHECKING:
    from tests.build.bench import Bench


def found(bench: Bench, text: str, **words: str) -> list[str]:
    """Return what the checks find: `RULE: detail (line N)`."""
    checked = check(
        bench.store,
        bench.context,
        images=bench,
        runner=bench,
        dockerfile=text,
        options=Options(build_args=words),
    )
    return [finding.text for finding in checked.findings]


def _cases() -> list[tuple[str, list[str]]]:
    """Read checks.txt: a Dockerfile, and below a line of `-` what is found in it."""
    text = pathlib.Path(__file__).with_name("checks.txt").read_text("utf-8")
    pairs = [case.split("\n-----\n") for case in text.split("=====\n")[1:]]
    return [(dockerfile, expected.splitlines()) for dockerfile, expected in pairs]


@pytest.mark.parametrize(("text", "expected"), _cases())
def test_rules(bench: Bench, text: str, expected: list[str]) -> None:
    """Each rule finds its bad examples, at their lines, and leaves the good ones alone."""
    bench.add_base()
    bench.write(".dockerignore", "hidden\n")
    shelled = ContainerConfig(env=("PYTHON_VERSION=3",), shell=("/bin/sh", "-c"))  # noqa: S604 - it is data
    bench.add_base("docker.io/library/shelled:latest", config=shelled)
    assert found(bench, text) == expected
    assert not bench.events


def test_a_base_that_needs_an_argument(bench: Bench) -> None:
    """A default that is no image is found, whether or not the build can go on without the argument."""
    text = "ARG TAG\nFROM base:${TAG}"
    bench.add_base()
    detail = "Default value for ARG base:${TAG} results in empty or invalid base image name (line 2)"
    assert found(bench, text, TAG="latest") == [f"InvalidDefaultArgInFrom: {detail}"]
    checked = check(bench.store, bench.context, images=bench, runner=bench, dockerfile=text)
    assert [finding.text for finding in checked.findings] == [f"InvalidDefaultArgInFrom: {detail}"]
    assert checked.error is not None
    assert "invalid reference format" in checked.error.message


def test_a_build_warns(bench: Bench) -> None:
    """A build tells what its checks find, each once with its place, and goes on."""
    built = bench.build("FROM scratch AS A\nENV x y\nENV x y\nCMD a\n")
    assert [text.partition(":")[0] for text in built.warnings] == [
        "StageNameCasing",
        "LegacyKeyValueFormat",
        "LegacyKeyValueFormat",
        "JSONArgsRecommended",
    ]
    assert [e.line for e in bench.events if isinstance(e, Warned)] == [1, 2, 3, 4]
    assert bench.build("# check=skip=all\nFROM scratch AS A\nCMD a\n").warnings == ()


def test_findings_as_errors(bench: Bench) -> None:
    """With error=true findings end the build before its first step; a build argument overrules the file."""
    text = "# check=error=true\nFROM scratch AS A\nCMD a\n"
    with pytest.raises(InvalidArgument) as caught:
        bench.build(text)
    assert caught.value.message == "lint violation found for rules: JSONArgsRecommended, StageNameCasing"
    assert not [e for e in bench.events if isinstance(e, StepDone)]
    bench.build(text, build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"})
    bench.build("# check=skip=StageNameCasing;error=true\nFROM scratch AS A\n")
    with pytest.raises(InvalidArgument, match="JSONArgsRecommended"):
        bench.build("FROM scratch\nCMD a\n", build_args={"BUILDKIT_DOCKERFILE_CHECK": "error=true"})


@pytest.mark.parametrize("option", ["skip", "other=1", "error=maybe"])
def test_wrong_settings(bench: Bench, option: str) -> None:
    """A check directive that cannot be read is refused."""
    with pytest.raises(InvalidArgument, match="check option"):
        bench.build(f"# check={option}\nFROM scratch\n")
