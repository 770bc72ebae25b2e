"""container fork on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin


def test_forks_are_named_and_counted(tiffin: Tiffin) -> None:
    """One or many, named after the name given; a wrong number or a taken name makes none."""
    tiffin("run", "--name", "mother", "box:1", "sh", "-c", "echo x > /x; hostname")
    assert tiffin("container", "fork", "mother").count("\n") == 1
    assert tiffin("container", "fork", "-n", "3", "--name", "twin", "mother").count("\n") == 3
    assert tiffin("diff", "twin-2") == tiffin("diff", "mother") == "A /x\n"
    tiffin("cp", "twin-3:/x", "-")
    assert "is already in use" in tiffin.wrong("container", "fork", "-n", "2", "--name", "twin", "mother")
    assert "forked at least once" in tiffin.wrong("container", "fork", "-n", "0", "mother")
    assert "No such container" in tiffin.wrong("container", "fork", "nobody")
    assert tiffin("ps", "-aq").count("\n") == 5
    assert tiffin("start", "-a", "twin-1").strip() == tiffin("ps", "-aqf", "name=twin-1").strip()
    tiffin("rm", *tiffin("ps", "-aq").split())
