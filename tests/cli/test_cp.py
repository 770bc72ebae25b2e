"""cp on the command line: docker's rules for both ends, and its sentences."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Tiffin

_SCRIPT = (
    "mkdir -p /d/sub /e /v; echo a > /d/a; echo b > /d/sub/b; ln -s a /d/link; ln -s /d /dlink; echo f > /f; "
    "chmod 640 /f; echo h > /e/h; ln /e/h /e/again"
)


@pytest.fixture(scope="module", params=["running", "stopped"])
def box(tiffin: Tiffin, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container with a few files, in each state that it may be in."""
    name = f"cp-{request.param}"
    with_shell = ("-v", f"{name}:/v", "box:1", "sh", "-c")
    if request.param == "running":
        tiffin("run", "-d", "--name", name, *with_shell, f"{_SCRIPT}; echo ready; sleep 1000")
        while "ready" not in tiffin("logs", name):
            pass
    else:
        tiffin("run", "--name", name, *with_shell, _SCRIPT)
    yield name
    tiffin("rm", "-f", name)
    tiffin("volume", "rm", name)


def _tree(folder: Path) -> dict[str, str]:
    """Return what lies in a folder: texts of files, targets of links, `/` for folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = (
            f"-> {path.readlink()}" if path.is_symlink() else "/" if path.is_dir() else path.read_text()
        )
    return found


_D = {"a": "a\n", "link": "-> a", "sub": "/", "sub/b": "b\n"}


def _in(folder: str, tree: dict[str, str]) -> dict[str, str]:
    return {folder: "/", **{f"{folder}/{name}": text for name, text in tree.items()}}


@pytest.mark.parametrize(
    "case",
    [
        ("/f", "there", {"there": "f\n"}),
        ("f", "old", {"old": "f\n"}),
        ("/f", "dir", _in("dir", {"f": "f\n"})),
        ("/f", "dir/", _in("dir", {"f": "f\n"})),
        ("/f", "dir/.", _in("dir", {"f": "f\n"})),
        ("/f", "tolink", {"tolink": "-> old", "old": "f\n"}),
        ("/d", "new", _in("new", _D)),
        ("/d/", "new/", _in("new", _D)),
        ("/d/.", "new", _in("new", _D)),
        ("/d", "dir", {"dir": "/", **{f"dir/{k}": v for k, v in _in("d", _D).items()}}),
        ("/d/.", "dir", _in("dir", _D)),
        ("/dlink", "got", {"got": "-> /d"}),
        ("/dlink/", "new", _in("new", _D)),
        ("/dlink/.", "new", _in("new", _D)),
        ("/d/s*", "dir", _in("dir", {"sub": "/", "sub/b": "b\n"})),
    ],
)
def test_out(tiffin: Tiffin, box: str, tmp_path: Path, case: tuple[str, str, dict[str, str]]) -> None:
    """Each kind of path on either end leads where docker's manual says."""
    source, target, tree = case
    (tmp_path / "old").write_text("old")
    (tmp_path / "dir").mkdir()
    (tmp_path / "tolink").symlink_to("old")
    before = _tree(tmp_path)
    tiffin("cp", f"{box}:{source}", f"{tmp_path}/{target}")
    assert _tree(tmp_path) == before | tree


@pytest.mark.parametrize(
    "case",
    [
        ("/f", "new/", "no such directory"),
        ("/d", "old", "cannot copy directory"),
        ("/nope", "new", "Could not find the file /nope in container"),
        ("/f/x", "new", "Could not find the file /f/x in container"),
        ("/n*", "dir", "Could not find the file /n* in container"),
        ("/d/*", "new", 'new" must be a directory'),
        ("/f", "no/such", 'no" does not exist'),
        ("/dlink/", "dir/keep", "cannot copy directory"),
    ],
)
def test_what_cannot_come_out(tiffin: Tiffin, box: str, tmp_path: Path, case: tuple[str, str, str]) -> None:
    """What docker refuses is refused with its sentence, and nothing is made."""
    source, target, sentence = case
    (tmp_path / "old").write_text("old")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "keep").write_text("")
    before = _tree(tmp_path)
    assert sentence in tiffin.wrong("cp", f"{box}:{source}", f"{tmp_path}/{target}")
    assert _tree(tmp_path) == before


def _listing(tiffin: Tiffin, box: str, path: str) -> dict[str, tuple[str, int, int, int]]:
    """Return what lies at a path of a container, from its archive: text, uid, gid, mode."""
    archive = tiffin.run("cp", f"{box}:{path}", "-").stdout
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as entries:
        for entry in entries:
            stream = entries.extractfile(entry) if entry.isreg() else None
            text = stream.read().decode() if stream else f"-> {entry.linkname}" if entry.issym() else "/"
            found[entry.name] = (text, entry.uid, entry.gid, entry.mode)
    return found


@needs_root
def test_into(tiffin: Tiffin, box: str, tmp_path: Path) -> None:
    """A file, a folder, its content and a link go where they should; root gets them unless -a says else."""
    folder = tmp_path / "src"
    (folder / "deep").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "deep" / "two").write_text("2")
    (folder / "ln").symlink_to("one")
    os.chown(folder / "one", 7, 8)
    (folder / "one").chmod(0o604)
    tiffin("cp", str(folder / "one"), f"{box}:/into-file")
    assert _listing(tiffin, box, "/into-file") == {"into-file": ("1", 0, 0, 0o604)}
    tiffin("cp", "-a", str(folder / "one"), f"{box}:/into-file")
    assert _listing(tiffin, box, "/into-file")["into-file"] == ("1", 7, 8, 0o604)
    tiffin("cp", "-L", "-q", str(folder / "ln"), f"{box}:/e/")
    assert _listing(tiffin, box, "/e/ln")["ln"][0] == "1"
    tiffin("cp", str(folder / "ln"), f"{box}:e")
    assert _listing(tiffin, box, "/e/ln")["ln"][0] == "-> one"
    tiffin("cp", str(folder), f"{box}:/fresh")
    assert sorted(_listing(tiffin, box, "/fresh")) == [
        "fresh", "fresh/deep", "fresh/deep/two", "fresh/ln", "fresh/one"
    ]  # fmt: skip
    tiffin("cp", str(folder), f"{box}:/fresh")
    assert "fresh/src/deep/two" in _listing(tiffin, box, "/fresh")
    tiffin("cp", f"{folder}/.", f"{box}:/v")
    assert sorted(_listing(tiffin, box, "/v/.")) == [".", "./deep", "./deep/two", "./ln", "./one"]
    volume = tiffin("volume", "inspect", "-f", "{{.Mountpoint}}", box).strip()
    assert os.path.exists(f"{volume}/deep/two"), "what is copied to a volume is in the volume"
    tiffin("cp", str(folder / "one"), f"{box}:/dlink/through")
    assert "d/through" in _listing(tiffin, box, "/d")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        entry = tarfile.TarInfo("streamed")
        entry.uid = 77
        archive.addfile(entry)
    tiffin("cp", "-", f"{box}:/e", stdin=data.getvalue())
    assert _listing(tiffin, box, "/e/streamed")["streamed"][1] == 77


def test_what_cannot_go_in(tiffin: Tiffin, box: str, tmp_path: Path) -> None:
    """A folder never replaces a file nor the other way round, and every sentence is docker's."""
    (tmp_path / "d" / "f").mkdir(parents=True)
    (tmp_path / "f").write_text("x")
    (tmp_path / "sub").write_text("x")
    wrong = tiffin.wrong
    assert "cannot copy directory" in wrong("cp", f"{tmp_path}/d", f"{box}:/f")
    assert "no such directory" in wrong("cp", f"{tmp_path}/f", f"{box}:/newdir/")
    assert f"Could not find the file /no/such in container {box}" in wrong(
        "cp", f"{tmp_path}/f", f"{box}:/no/such/f"
    )
    said = wrong("cp", f"{tmp_path}/sub", f"{box}:/d")
    assert 'cannot overwrite directory "/d/sub" with non-directory "/d"' in said
    said = wrong("cp", f"{tmp_path}/d/.", f"{box}:/")
    assert 'cannot overwrite non-directory "/f" with directory "/"' in said
    assert f"lstat {tmp_path}/nope: no such file or directory" in wrong("cp", f"{tmp_path}/nope", f"{box}:/")
    assert f'destination "{box}:/f" must be a directory' in wrong("cp", "-", f"{box}:/f")
    assert "copying between containers is not supported" in wrong("cp", f"{box}:/f", f"{box}:/g")
    assert "must specify at least one container source" in wrong("cp", "./a:b", "/x")
    assert "No such container: nobody" in wrong("cp", "nobody:/f", str(tmp_path))
    assert "No such container: nobody" in wrong("cp", f"{tmp_path}/f", "nobody:/f")
    assert "source can not be empty" in wrong("cp", "", f"{box}:/")


def test_memory_and_binds_of_a_running_container(tiffin: Tiffin, tmp_path: Path) -> None:
    """A running container is copied as it sees itself: a tmpfs and a folder of the host included."""
    (tmp_path / "host").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "f").write_text("x")
    binds = ("-v", f"{tmp_path}/host:/host", "-v", f"{tmp_path}/ro:/ro:ro", "--tmpfs", "/mem")
    tiffin("run", "-d", "--read-only", "--name", "seen", *binds, "box:1", "sleep", "1000")
    tiffin("cp", f"{tmp_path}/f", "seen:/mem/f")
    assert tiffin("exec", "seen", "cat", "/mem/f") == "x"
    tiffin("cp", "seen:/mem/f", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "x"
    tiffin("cp", f"{tmp_path}/f", "seen:/host/")
    assert (tmp_path / "host" / "f").read_text() == "x"
    for _ in range(2):
        assert "container rootfs is marked read-only" in tiffin.wrong("cp", f"{tmp_path}/f", "seen:/etc/f")
        assert "mounted volume is marked read-only" in tiffin.wrong("cp", f"{tmp_path}/f", "seen:/ro/f")
        tiffin("cp", f"{tmp_path}/f", "seen:/host/g")
        tiffin("stop", "-t", "0", "seen")
    tiffin("rm", "-f", "seen")


@needs_root
def test_owners_on_the_way_out(tiffin: Tiffin, tmp_path: Path) -> None:
    """What comes out belongs to whoever asked, and with -a to whom it belonged inside."""
    tiffin(
        "run", "--name", "owned", "box:1", "sh", "-c", "echo x > /x; busybox chown 7:8 /x; ls / > /dev/null"
    )
    tiffin("cp", "owned:/x", f"{tmp_path}/plain")
    tiffin("cp", "-a", "owned:/x", f"{tmp_path}/kept")
    assert (os.stat(tmp_path / "plain").st_uid, os.stat(tmp_path / "kept").st_uid) == (0, 7)
    tiffin("rm", "owned")


def test_links_are_followed_when_asked(tiffin: Tiffin, box: str, tmp_path: Path) -> None:
    """With -L the link's name gets what it leads to."""
    tiffin("cp", "-L", f"{box}:/dlink", str(tmp_path))
    assert _tree(tmp_path).items() >= _in("dlink", {"a": "a\n"}).items()
    tiffin("cp", "-L", f"{box}:/d/link", f"{tmp_path}/copy")
    assert (tmp_path / "copy").read_text() == "a\n"
