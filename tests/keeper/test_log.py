"""The log: docker's format, partial lines, rotation, disks that are full."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tiffin.keeper.log import ENTRY_LIMIT, JsonLog
from tiffin.spec import clock, jsontext

if TYPE_CHECKING:
    from pathlib import Path


def entries(path: str) -> list[dict[str, str]]:
    with open(path, "rb") as stream:
        return [jsontext.load_object(line) for line in stream]


def test_one_entry_per_line(tmp_path: Path) -> None:
    """Each line is one entry with its newline, its stream and a moment; members in docker's order."""
    path = f"{tmp_path}/log"
    log = JsonLog(path)
    log.write("stdout", b'a "quoted"\ttab\nsecond')
    log.write("stderr", b"err\n")
    log.write("stdout", b" half\n")
    log.close()
    found = entries(path)
    assert [(e["log"], e["stream"]) for e in found] == [
        ('a "quoted"\ttab\n', "stdout"),
        ("err\n", "stderr"),
        ("second half\n", "stdout"),
    ]
    assert list(found[0]) == ["log", "stream", "time"]
    assert [clock.to_ns(e["time"]) for e in found] == sorted(clock.to_ns(e["time"]) for e in found)


@given(st.lists(st.text(st.sampled_from('\\\n"nr\x00\u00e9\u20ac'), max_size=20), max_size=4))
def test_quoting_is_undone_by_reading(chunks: list[str]) -> None:
    """Backslashes, quotes and newlines in any order come back as they were, one line an entry."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = JsonLog(f"{folder}/log")
        for chunk in chunks:
            log.write("stdout", chunk.encode())
        log.close()
        *lines, rest = "".join(chunks).split("\n")
        expected = [f"{line}\n" for line in lines] + ([rest] if rest else [])
        assert [e["log"] for e in entries(f"{folder}/log")] == expected


def test_attributes_stand_in_each_entry(tmp_path: Path) -> None:
    """Options like `--log-opt labels=` appear as `attrs`."""
    log = JsonLog(f"{tmp_path}/log", attributes=(("tier", 'a"b'),))
    log.write("stdout", b"x\n")
    log.close()
    assert entries(f"{tmp_path}/log")[0]["attrs"] == {"tier": 'a"b'}


def test_the_last_line_needs_no_newline(tmp_path: Path) -> None:
    """What stands at the end without a newline is an entry without one."""
    log = JsonLog(f"{tmp_path}/log")
    log.write("stdout", b"prompt> ")
    log.close()
    assert [e["log"] for e in entries(f"{tmp_path}/log")] == ["prompt> "]


@given(st.lists(st.binary(max_size=40_000), max_size=6))
def test_nothing_is_lost_however_it_is_cut(chunks: list[bytes]) -> None:
    """Entries joined are what was written (broken UTF-8 replaced), each one line or a part of one."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = JsonLog(f"{folder}/log")
        for chunk in chunks:
            log.write("stdout", chunk)
        log.close()
        texts = [e["log"] for e in entries(f"{folder}/log")]
    clean = b"".join(chunks).decode(errors="replace")
    assert "".join(texts).replace("\ufffd", "") == clean.replace("\ufffd", "")
    assert all("\n" not in text[:-1] for text in texts)


def test_long_lines_are_cut_between_characters(tmp_path: Path) -> None:
    """A line longer than an entry becomes several; no character is cut in two."""
    line = "€" * 20_000 + "\n"
    log = JsonLog(f"{tmp_path}/log")
    log.write("stdout", line.encode())
    log.close()
    texts = [e["log"] for e in entries(f"{tmp_path}/log")]
    assert "".join(texts) == line
    assert max(len(text.encode()) for text in texts) <= ENTRY_LIMIT
    assert [text.endswith("\n") for text in texts] == [False] * (len(texts) - 1) + [True]


def test_endless_lines_are_written_while_they_come(tmp_path: Path) -> None:
    """Output without any newline reaches the file and does not pile up."""
    log = JsonLog(f"{tmp_path}/log")
    for _ in range(20):
        log.write("stdout", b"x" * 10_000)
    assert os.path.getsize(f"{tmp_path}/log") > 180_000
    log.close()
    assert sum(len(e["log"]) for e in entries(f"{tmp_path}/log")) == 200_000


def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    """`max-size` and `max-file`: the newest entries, in files of bounded size, older ones numbered."""
    path = f"{tmp_path}/log"
    log = JsonLog(path, max_size=1000, max_file=3)
    for number in range(100):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    assert all(os.path.getsize(f"{tmp_path}/{name}") <= 1000 for name in os.listdir(tmp_path))
    texts = [e["log"] for name in ("log.2", "log.1", "log") for e in entries(f"{tmp_path}/{name}")]
    assert texts == [f"line {n}\n" for n in range(100 - len(texts), 100)]


def test_one_file_starts_again(tmp_path: Path) -> None:
    """With one file only, it is emptied when it is full."""
    path = f"{tmp_path}/log"
    log = JsonLog(path, max_size=1000, max_file=1)
    for number in range(100):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    assert os.listdir(tmp_path) == ["log"]
    assert entries(path)[-1]["log"] == "line 99\n"
    assert os.path.getsize(path) <= 1000


def test_a_second_run_goes_on(tmp_path: Path) -> None:
    """A restarted container appends."""
    for text in (b"one\n", b"two\n"):
        log = JsonLog(f"{tmp_path}/log")
        log.write("stdout", text)
        log.close()
    assert [e["log"] for e in entries(f"{tmp_path}/log")] == ["one\n", "two\n"]


def test_a_full_disk_loses_entries_only() -> None:
    """Writing to a full device is no error."""
    log = JsonLog("/dev/full")
    log.write("stdout", b"x\n")
    log.close()
