"""The tables are complete: every command and flag of docker's client, each with a status."""

from __future__ import annotations

import os

from tests.cli import exercised
from tiffin.cli import catalogue, compatibility, groups, index, shown, top

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))


def _docker() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Return command -> flag -> (shorthand, type, default), as docker 28.2.2 has them."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    with open(f"{HERE}/docker.txt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            command, *flag = line.rstrip("\n").split("\t")
            flags = found.setdefault(command, {})
            if flag:
                flags[flag[0]] = (flag[1], flag[2], flag[3])
    return found


def test_every_command_of_docker_has_a_table() -> None:
    """A command that docker knows is done or refused by name, never unknown."""
    docker = _docker()
    assert len(docker) == 168
    assert set(docker) - set(catalogue.canonical()) == set()


def test_every_flag_of_docker_is_in_its_table() -> None:
    """Name, shorthand, type and default of every flag are docker's."""
    tables = catalogue.canonical()
    wrong = []
    for command, flags in _docker().items():
        mine = {row[0]: (row[1], row[2], row[4]) for row in tables[command].flags}
        wrong += [f"{command} --{name}" for name, flag in flags.items() if mine.get(name) != flag]
    assert wrong == []


def test_every_status_is_one_of_three() -> None:
    """A command or flag is done, differs (saying how) or is refused (saying why)."""
    rows = [("tiffin", row) for row in top.TIFFIN.flags]
    for name, command in catalogue.commands().items():
        rows += [(name, row) for row in command.flags]
        assert command.status == "done" or command.status.startswith(("differs: ", "refused: ")), name
        assert (command.handler is None) == command.status.startswith("refused"), name
    for name, row in rows:
        assert len(row) == 6, name
        assert row[5] == "done" or row[5].startswith(("differs: ", "refused: ")), (name, row)


def test_names_and_shorthands_are_used_once() -> None:
    """No command has two flags of one name or of one letter."""
    for name, command in catalogue.commands().items():
        names = [row[0] for row in command.flags]
        letters = [row[1] for row in command.flags if row[1]]
        assert len(names) == len(set(names)), name
        assert len(letters) == len(set(letters)), name


def test_every_spelling_leads_to_its_command() -> None:
    """What a table calls itself is what the index finds it by, and the other way round."""
    tables = catalogue.commands()
    for name, command in tables.items():
        assert name in command.spellings, name
        assert all(tables.get(other) is command for other in command.spellings), name


def test_every_group_of_the_index_is_listed() -> None:
    """A command inside a group is found by `tiffin GROUP --help`."""
    known = {group.name for group in groups.GROUPS}
    inside = {name.rpartition(" ")[0] for name in index.INDEX if " " in name} - {"internal"}
    assert inside <= known


def test_the_compatibility_page_is_up_to_date() -> None:
    """docs/compatibility.md is what the tables say (else run `python -m tiffin.cli.compatibility`)."""
    with open(f"{REPOSITORY}/docs/compatibility.md", encoding="utf-8") as stream:
        assert stream.read() == compatibility.page()


def test_the_page_names_sessions_that_use_the_flags() -> None:
    """What the page says to be shown by a session is given there, and everything that is done is shown."""
    told = {
        (file, name, flag)
        for name, files in shown.SESSIONS.items()
        for file, flags in files.items()
        for flag in ["", *flags.split()]
    }
    files = {file for file, _, _ in told}
    seen = {(file, name, flag) for file in files for name, flag in exercised.flags(file)}
    assert told - seen == set()
    for command in catalogue.canonical().values():
        if command.status.startswith("refused"):
            continue
        name = command.spellings[0]
        assert shown.of_command(name), name
        for row in command.flags:
            assert row[5].startswith("refused") or shown.of_flag(name, row[0]), f"{name} --{row[0]}"
