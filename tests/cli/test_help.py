"""Help pages are docker's, character by character."""

from __future__ import annotations

import re

import pytest

from tests.cli import docker_said
from tiffin.cli import catalogue
from tiffin.cli import help as helping

COMMANDS = (
    "run", "container create", "exec", "ps", "container ls", "images", "image rm", "pull", "push", "logs",
    "system prune", "volume create", "network create", "service update", "swarm init", "cp", "builder prune",
    "stack deploy", "login", "inspect", "top", "plugin create",
)  # fmt: skip
OURS = {"as", "compression", "compression-level", "dry-run", "egress", "on-unhealthy", "plan"}
"""Flags that docker does not have."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_is_dockers(name: str) -> None:
    """Usage, text, aliases, and flags aligned and wrapped are the same characters."""
    table = catalogue.commands()[name]
    page = helping.text(table.replace(flags=tuple(f for f in table.flags if f[0] not in OURS)), name)
    assert [docker_said.page_digest(page)] == docker_said.recorded()["pages"][name]


def test_a_long_help_is_wrapped_and_aligned() -> None:
    """The layout is pflag's: names left, help in one column, wrapped, defaults at the end."""
    rows = [
        ("last", "n", "int", "Show n last created containers (includes all states)", "-1", "done"),
        ("all", "a", "bool", "Show all", "", "done"),
        ("format", "", "string", "Line one:\n'json':  JSON", "x", "done"),
    ]
    assert helping.flag_lines(rows, 60).split("\n") == [
        "  -a, --all             Show all",
        "      --format string   Line one:",
        """                        'json':  JSON (default "x")""",
        "  -n, --last int        Show n last created containers",
        "                        (includes all states) (default -1)",
    ]


def test_the_front_page_lists_every_command() -> None:
    """`tiffin --help` has each command and group of docker's page, in its sections."""
    page = helping.front_page()
    sections = re.findall(r"(?m)^([A-Z][\w ]+):$", page)
    assert sections == [
        "Common Commands",
        "Management Commands",
        "Swarm Commands",
        "Commands",
        "Global Options",
        "Not supported by tiffin",
    ]
    for name in ("run ", "wait ", "swarm ", "fsck ", "container "):
        assert f"\n  {name}" in page
    assert "internal" not in page


def test_a_page_says_what_is_not_supported(capsys: pytest.CaptureFixture[str]) -> None:
    """Docker's page is followed by what tiffin refuses of it: flags, commands, whole groups."""
    from tiffin.cli import entry

    assert entry.run(["ps", "--help"]) == 0
    assert "Not supported" not in capsys.readouterr().out
    assert entry.run(["rm", "--help"]) == 0
    assert capsys.readouterr().out.endswith("\nNot supported by tiffin:\n  --link\n")
    assert entry.run(["search", "--help"]) == 0
    assert capsys.readouterr().out.endswith("\nNot supported by tiffin: not built yet\n")
    words = helping.front_page().partition("Not supported by tiffin:\n")[2].split("\n\n")[0].split()
    assert {"search", "swarm"} <= set(words)
    assert not {"run", "container", "image", "network", "system", "volume"} & set(words)
