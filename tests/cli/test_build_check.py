"""build --check: findings as docker prints them, and its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

    from tests.cli.conftest import Tiffin

_SAID = """\
Check complete, 2 warnings have been found!

WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
Stage name 'Final' should be lowercase
Dockerfile:3
--------------------
   1 |     # check=skip=MaintainerDeprecated
   2 |     
   3 | >>> FROM box:1 AS Final
   4 |     MAINTAINER me
   5 |     CMD echo \\
--------------------

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
Dockerfile:5
--------------------
   3 |     FROM box:1 AS Final
   4 |     MAINTAINER me
   5 | >>> CMD echo \\
   6 | >>>   hello
--------------------
"""  # noqa: W291 - as docker prints an empty line


def test_check(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """The findings are printed with their lines and nothing is built; the exit code is 1 if there are any."""
    text = "# check=skip=MaintainerDeprecated\n\nFROM box:1 AS Final\nMAINTAINER me\nCMD echo \\\n  hello\n"
    (tmp_path / "Dockerfile").write_text(text)
    before = tiffin("images", "-aq")
    assert tiffin("build", "--check", str(tmp_path), code=1) == _SAID
    assert tiffin("build", "--call", "check", str(tmp_path), code=1) == _SAID
    told = json.loads(tiffin("build", "--call=check,format=json", str(tmp_path), code=1))
    assert [warning["ruleName"] for warning in told["warnings"]] == ["StageNameCasing", "JSONArgsRecommended"]
    skip = "BUILDKIT_DOCKERFILE_CHECK=skip=all"
    said = tiffin("build", "--check", "--build-arg", skip, str(tmp_path))
    assert said == "Check complete, no warnings found.\n"
    assert tiffin("images", "-aq") == before


def test_check_of_what_cannot_be_built(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """An error is shown with what was found beside it; a wrong instruction is an error alone."""
    (tmp_path / "Dockerfile").write_text("FROM box:1 as b\nCOPY --from=9 a /\n")
    done = tiffin.run("build", "--check", str(tmp_path))
    assert done.returncode == 1
    assert b"FromAsCasing: " not in done.stdout
    assert b"WARNING: FromAsCasing - " in done.stdout
    assert b"invalid stage index 9" in done.stderr
    (tmp_path / "Dockerfile").write_text("FROM box:1\nCOPI a /\n")
    assert "unknown instruction: COPI (did you mean COPY?)" in tiffin.wrong("build", "--check", str(tmp_path))


def test_a_build_warns_and_may_be_told_not_to_go_on(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A build prints its findings; with error=true it does not begin."""
    (tmp_path / "Dockerfile").write_text("FROM box:1 AS B\nCMD a\n")
    said = tiffin.run("build", "--progress", "plain", str(tmp_path)).stderr.decode()
    assert "warning: StageNameCasing: Stage name 'B' should be lowercase (line 1)\n" in said
    said = tiffin.wrong("build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true", str(tmp_path))
    assert "lint violation found for rules: JSONArgsRecommended, StageNameCasing" in said
