"""image diff, image blame, history --waste and images --tree on the command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Tiffin


@pytest.fixture
def second(tiffin: Tiffin) -> Iterator[str]:
    """An image over box:1 that replaces a file of 2000 bytes and deletes another."""
    text = (
        b"FROM box:1\n"
        b"RUN echo x > /gone; cat /bin/busybox > /big\n"
        b"RUN rm /gone; echo small > /big; mkdir /dir; echo new > /dir/new\n"
    )
    tiffin("build", "-q", "-t", "second:1", "-", stdin=text)
    yield "second:1"
    tiffin("rmi", "second:1")


def test_image_diff(tiffin: Tiffin, second: str) -> None:
    """Letters, paths and sizes in a table, or by template."""
    table = tiffin("image", "diff", "box:1", second).splitlines()
    assert table[0].split() == ["CHANGE", "PATH", "BEFORE", "AFTER"]
    assert [line.split() for line in table[1:]] == [
        ["A", "/big", "-", "6B"],
        ["A", "/dir", "-", "0B"],
        ["A", "/dir/new", "-", "4B"],
    ]
    assert tiffin("image", "diff", "--format", "{{.Change}} {{.Path}}", second, "box:1").startswith(
        "D /big\n"
    )
    assert "No such image: nope:latest" in tiffin.wrong("image", "diff", "nope", second)


def test_image_blame(tiffin: Tiffin, second: str) -> None:
    """The instructions that wrote a path, newest first; also of one that is gone."""
    shown = tiffin("image", "blame", f"{second}:/gone").splitlines()
    assert shown[0].split() == ["LAYER", "ACTION", "SIZE", "CREATED", "CREATED", "BY"]
    assert re.match(r"[0-9a-f]{12} +deleted +- .*RUN /bin/sh -c rm /gone", shown[1])
    assert re.match(r"[0-9a-f]{12} +added +2B .*RUN /bin/sh -c echo x > /gone", shown[2])
    told = tiffin("image", "blame", "--no-trunc", "--format", "json", "second:1:/bin/busybox")
    line = json.loads(told)
    assert (line["Action"], line["Path"], line["CreatedBy"]) == (
        "added",
        "/bin/busybox",
        "COPY bin /bin # buildkit",
    )
    assert "no layer has, or had, /nope" in tiffin.wrong("image", "blame", "second:1:/nope")
    assert "not an image and a path" in tiffin.wrong("image", "blame", "second:1")


def test_history_says_what_is_wasted(tiffin: Tiffin, second: str) -> None:
    """A column more, for bytes that later layers hide."""
    lines = tiffin("history", "--waste", second).splitlines()
    assert "WASTED" in lines[0]
    layers = tiffin("history", "--no-trunc", "--format", "{{.Layer}}", second).split()
    told = tiffin("image", "inspect", "-f", "{{range .RootFS.Layers}}{{.}} {{end}}", second)
    assert layers == told.split()[::-1]
    wasted = tiffin("history", "--human=false", "--format", "{{.Wasted}} {{.Size}}", second).splitlines()
    assert wasted[0].split()[0] == "0"
    hidden, size = map(int, wasted[1].split())
    assert hidden == size > 1000, "all of what the first RUN wrote"
    assert "Wasted" not in tiffin("history", "--format", "json", second)


def test_images_as_a_tree(tiffin: Tiffin, second: str) -> None:
    """Each image with its platforms; what makes no sense with it is refused in docker's words."""
    shown = tiffin("images", "--tree").splitlines()
    assert shown[0].split() == ["IMAGE", "ID", "DISK", "USAGE", "CONTENT", "SIZE", "EXTRA"]
    assert any(line.startswith(second) for line in shown)
    assert sum(line.startswith("└─ linux/") for line in shown) == 2
    assert "--quiet is not yet supported with --tree" in tiffin.wrong("images", "--tree", "-q")
