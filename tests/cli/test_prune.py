"""Prunes and system df on the command line: docker's words, and --dry-run before anything goes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin


def test_image_prune_says_first_what_it_would_do(tiffin: Tiffin) -> None:
    """--dry-run lists id, bytes, last use and why, and removes nothing; the prune then removes that."""
    tiffin("build", "-q", "-t", "gone:1", "-", stdin=b"FROM box:1\nRUN echo 1 > /one\n")
    image = tiffin("image", "inspect", "-f", "{{.Id}}", "gone:1").strip()
    shown = tiffin("image", "prune", "-a", "--dry-run", "--filter", "label!=none")
    assert shown.startswith("would remove 2 images")
    assert re.search(rf"(?m)^image +{image[7:19]} +gone:1 .* no container uses it$", shown)
    assert image[7:19] in tiffin("images", "-q")
    assert tiffin("image", "prune", "-a", "--dry-run", "--filter", "unused-for=14d").startswith(
        "would remove nothing"
    )
    tiffin("tag", "box:1", "gone:1")
    assert f"deleted: {image}\n" in tiffin("image", "prune", "-f")
    tiffin("rmi", "gone:1")
    assert "invalid length of time" in tiffin.wrong("image", "prune", "-f", "--filter", "unused-for=x")


def test_removals_say_first_what_they_would_do(tiffin: Tiffin) -> None:
    """rm, rmi and volume rm with --dry-run list what would go and what they would refuse; nothing goes."""
    tiffin("build", "-q", "-t", "gone:1", "-t", "gone:2", "-", stdin=b"FROM box:1\nRUN echo 12 > /one\n")
    tiffin("builder", "prune", "-af")
    tiffin("run", "--name", "doomed", "-v", "data:/data", "-v", "/anonymous", "box:1", "true")
    shown = tiffin("rm", "--dry-run", "-v", "doomed")
    assert shown.startswith("would remove 1 container, 1 volume, ")
    assert re.search(r"(?m)^container +[0-9a-f]{12} +doomed .* it was named$", shown)
    assert "anonymous, and its container goes" in shown
    assert " data " not in shown
    refused = tiffin.run("volume", "rm", "--dry-run", "data", "missing")
    assert refused.returncode == 1
    assert refused.stdout.startswith(b"would remove nothing")
    assert b"volume is in use" in refused.stderr
    assert b"missing" in refused.stderr
    names = tiffin("rmi", "--dry-run", "gone:1")
    assert names.startswith("would remove 1 name, 0B\n")
    assert "the image stays: it has other names" in names
    shown = tiffin("rmi", "--dry-run", "gone:1", "gone:2")
    assert shown.startswith("would remove 1 image, 1 name, ")
    assert "is using its referenced image" in tiffin.wrong("rmi", "--dry-run", "box:1")
    assert set(tiffin("images", "--format", "{{.Tag}}", "gone").split()) == {"1", "2"}
    tiffin("rm", "doomed")
    assert tiffin("volume", "rm", "--dry-run", "data").startswith("would remove 1 volume, 0B")
    tiffin("rmi", "gone:1", "gone:2")
    tiffin("volume", "prune", "-af")


def test_builder_prune_keeps_what_it_is_told_to(tiffin: Tiffin) -> None:
    """--keep-storage and filters narrow what goes; what went is listed."""
    tiffin("build", "-q", "-", stdin=b"FROM box:1\nRUN echo 12345678 > /big\n")
    tiffin("image", "prune", "-f")
    shown = tiffin("builder", "prune", "--dry-run")
    assert "RUN /bin/sh -c echo 12345678 > /big" in shown
    assert tiffin("builder", "prune", "-f", "--keep-storage", "1GB") == "Total reclaimed space: 0B\n"
    assert tiffin("builder", "prune", "-f", "--filter", "until=24h") == "Total reclaimed space: 0B\n"
    assert tiffin("builder", "prune", "-f").startswith("Deleted build cache objects:\n")


def test_volume_prune(tiffin: Tiffin) -> None:
    """Named volumes go only with -a, and never without being asked for."""
    tiffin("volume", "create", "kept")
    assert tiffin("volume", "prune", "-f") == "Total reclaimed space: 0B\n"
    asked = tiffin("volume", "prune", "-a", stdin=b"n\n")
    assert asked.startswith("WARNING! This will remove all local volumes not used by at least one container.")
    assert "kept" in tiffin("volume", "prune", "-a", "--dry-run", "--filter", "label!=none")
    assert tiffin("volume", "prune", "-af") == "Deleted Volumes:\nkept\n\nTotal reclaimed space: 0B\n"


def test_system_df_and_prune(tiffin: Tiffin) -> None:
    """The rows of df are docker's; system prune warns in docker's words and reports by kind."""
    made = tiffin("create", "box:1").strip()
    table = tiffin("system", "df").splitlines()
    assert table[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert [line[:14].strip() for line in table[1:]] == [
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
    ]
    rows = [json.loads(line) for line in tiffin("system", "df", "--format", "json").splitlines()]
    assert (rows[0]["TotalCount"], rows[0]["Active"], rows[1]["TotalCount"]) == ("1", "1", "1")
    verbose = tiffin("system", "df", "-v")
    assert re.search(r"(?m)^box +1 ", verbose)
    assert re.search(rf"(?m)^{made[:12]} +box:1 ", verbose)
    assert "Build cache usage: " in verbose
    assert tiffin("container", "prune", "--dry-run").startswith("would remove 1 container")
    asked = tiffin("system", "prune", stdin=b"n\n")
    assert "WARNING! This will remove:\n  - all stopped containers\n" in asked
    assert "  - all dangling images\n  - unused build cache\n" in asked
    assert "it was never started" in tiffin("system", "prune", "--dry-run", "--volumes")
    assert tiffin("system", "prune", "-a", "--dry-run", "--filter", "until=24h").startswith(
        "would remove nothing"
    )
    assert tiffin("system", "prune", "-f").startswith(f"Deleted Containers:\n{made}\n\n")
    assert tiffin("fsck") == "the store is whole\n"
