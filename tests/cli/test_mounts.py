"""Mounts as a container sees them from inside, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.rungs import PRIVILEGE, needs_ids, needs_root, outside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Tiffin


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[str]:
    """A folder of the host with a file system mounted below it."""
    inner = tmp_path / "top" / "inner"
    inner.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "nested", str(inner)], check=True)
    yield str(tmp_path / "top")
    subprocess.run(["umount", "-l", str(inner)], check=True)


def _writable(tiffin: Tiffin, *options: str) -> str:
    script = "for f in /b /b/inner; do echo x > $f/x 2> /dev/null && echo $f; done; true"
    return " ".join(tiffin("run", "--rm", *options, "box:1", "sh", "-c", script).split())


@needs_root
def test_read_only_is_recursive_unless_told_otherwise(tiffin: Tiffin, nested: str) -> None:
    """What is mounted below a read-only bind is read-only too, or not, or not there."""
    bind = f"type=bind,src={nested},dst=/b"
    assert _writable(tiffin, "--mount", bind) == "/b /b/inner"
    assert _writable(tiffin, "--mount", f"{bind},readonly") == ""
    assert _writable(tiffin, "-v", f"{nested}:/b:ro") == ""
    assert _writable(tiffin, "--mount", f"{bind},ro,bind-recursive=writable") == "/b/inner"
    forced = f"{bind},ro,bind-recursive=readonly,bind-propagation=rprivate"
    assert _writable(tiffin, "--mount", forced) == ""
    alone = ("run", "--rm", "--mount", f"{bind},bind-recursive=disabled", "box:1")
    assert "nested" not in tiffin(*alone, "cat", "/proc/mounts")


@needs_root
def test_mounts_of_the_host_arrive_where_that_was_asked_for(tiffin: Tiffin, tmp_path: Path) -> None:
    """With rslave what the host mounts later is seen inside; without it is not."""
    subprocess.run(["mount", "--bind", str(tmp_path), str(tmp_path)], check=True)
    subprocess.run(["mount", "--make-shared", str(tmp_path)], check=True)
    try:
        (tmp_path / "later").mkdir()
        tiffin("run", "-d", "--name", "slave", "-v", f"{tmp_path}:/b:rslave", "box:1", "sleep", "1000")
        tiffin("run", "-d", "--name", "private", "-v", f"{tmp_path}:/b", "box:1", "sleep", "1000")
        subprocess.run(["mount", "-t", "tmpfs", "arrived", str(tmp_path / "later")], check=True)
        assert "arrived /b/later" in tiffin("exec", "slave", "cat", "/proc/mounts")
        assert "arrived /b/later" not in tiffin("exec", "private", "cat", "/proc/mounts")
        subprocess.run(["umount", str(tmp_path / "later")], check=True)
        tiffin("rm", "-f", "slave", "private")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_volumes_of_another_container(tiffin: Tiffin, tmp_path: Path) -> None:
    """--volumes-from brings volumes and binds, read-only where that is said; own mounts win."""
    (tmp_path / "f").write_text("f")
    first = ("-v", "named:/n", "-v", "/anonymous", "-v", f"{tmp_path}:/host:ro")
    tiffin("run", "--name", "giver", *first, "box:1", "sh", "-c", "echo 1 > /n/x; echo 2 > /anonymous/x")
    read = "cat /n/x /anonymous/x /host/f; echo w > /n/w && echo w > /anonymous/w"
    assert tiffin("run", "--rm", "--volumes-from", "giver", "box:1", "sh", "-c", read) == "1\n2\nf"
    said = tiffin.run("run", "--rm", "--volumes-from", "giver:ro", "box:1", "sh", "-c", "echo x > /n/y")
    assert b"Read-only" in said.stderr
    over = ("--volumes-from", "giver", "--tmpfs", "/t", "-v", "other:/n")
    assert tiffin("run", "--rm", *over, "box:1", "ls", "/n") == ""
    assert "No such container: none" in tiffin.wrong("run", "--volumes-from", "none", "box:1", code=125)
    assert "invalid mode: rx" in tiffin.wrong("run", "--volumes-from", "giver:rx", "box:1", code=125)
    tiffin("create", "--name", "taker", "--volumes-from", "giver", "box:1")
    shown = json.loads(tiffin("inspect", "-f", "{{json .Mounts}}", "giver"))
    anonymous = next(mount["Name"] for mount in shown if mount["Destination"] == "/anonymous")
    tiffin("rm", "-v", "giver")
    assert anonymous in tiffin("volume", "ls", "-q"), "somebody has it still"
    tiffin("rm", "-v", "taker")
    assert anonymous not in tiffin("volume", "ls", "-q")
    tiffin("volume", "rm", "named", "other")


def test_an_image_is_mounted(tiffin: Tiffin) -> None:
    """The files of an image, or a part of them, read-only; its layers stay as long as the container."""
    tiffin("run", "--name", "writer", "box:1", "sh", "-c", "mkdir -p /data/sub; echo 1 > /data/sub/x")
    tiffin("commit", "writer", "files:1")
    tiffin("rm", "writer")
    whole = "type=image,src=files:1,dst=/img"
    assert tiffin("run", "--rm", "--mount", whole, "box:1", "cat", "/img/data/sub/x") == "1\n"
    part = f"{whole},image-subpath=data/sub"
    assert tiffin("run", "--rm", "--mount", part, "box:1", "ls", "/img") == "x\n"
    one = f"{whole},image-subpath=data/sub/x"
    assert tiffin("run", "--rm", "--mount", one, "box:1", "cat", "/img") == "1\n"
    said = tiffin.run("run", "--rm", "--mount", whole, "box:1", "sh", "-c", "echo x > /img/y").stderr
    assert b"Read-only" in said
    assert "No such image" in tiffin.wrong("run", "--mount", "type=image,src=no:1,dst=/i", "box:1", code=125)
    missing = f"{whole},image-subpath=nope"
    assert "cannot access path nope" in tiffin.wrong("run", "--mount", missing, "box:1", code=125)
    tiffin("create", "--name", "keeps", "--mount", part, "box:1", "cat", "/img/x")
    tiffin("rmi", "-f", "files:1")
    tiffin("image", "prune", "-f")
    assert tiffin("start", "-a", "keeps") == "1\n"
    assert "1\n" in tiffin("cp", "keeps:/img/x", "-")
    tiffin("rm", "keeps")


def test_a_part_of_a_volume(tiffin: Tiffin) -> None:
    """A folder or a file of a volume is mounted; a link in the volume leads to nothing outside."""
    script = "mkdir -p /v/a/b; echo 1 > /v/a/b/x; ln -s /etc /v/out; ln -s ../a/b /v/a/in"
    tiffin("run", "--rm", "-v", "parts:/v", "box:1", "sh", "-c", script)
    mount = "type=volume,src=parts,dst=/p,volume-subpath="
    assert tiffin("run", "--rm", "--mount", f"{mount}a/b", "box:1", "cat", "/p/x") == "1\n"
    assert tiffin("run", "--rm", "--mount", f"{mount}a/b/x", "box:1", "cat", "/p") == "1\n"
    assert tiffin("run", "--rm", "--mount", f"{mount}a/in", "box:1", "ls", "/p") == "x\n"
    for path in ("out", "nope"):
        said = tiffin.wrong("run", "--rm", "--mount", f"{mount}{path}", "box:1", "ls", code=125)
        assert "cannot access path" in said
        assert "no such file or directory" in said
    for path in ("../a", "/a"):
        said = tiffin.wrong("run", "--rm", "--mount", f"{mount}{path}", "box:1", "ls", code=125)
        assert "subpath must be a relative path within the volume" in said
    names = tiffin("ps", "-aq").split()
    tiffin("rm", "-f", *names) if names else None
    tiffin("volume", "rm", "parts")


def test_memory_with_its_options(tiffin: Tiffin) -> None:
    """Size, mode and flags of a tmpfs, by either flag, also in a container that is read-only else."""

    def options(*words: str) -> str:
        shown = tiffin("run", "--rm", *words, "box:1", "busybox", "grep", " /t ", "/proc/mounts")
        return shown.split()[3]

    default = options("--tmpfs", "/t")
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(default.split(","))
    uid = 0 if PRIVILEGE.rung == "single" else 7
    owner = {f"uid={outside(uid)}"} - {"uid=0"}  # as the host sees them; its root is not told
    assert {"size=2048k", "mode=750", *owner, "nosuid"} <= set(
        options("--tmpfs", f"/t:size=2m,mode=750,uid={uid},exec").split(",")
    )
    assert "noexec" not in options("--tmpfs", "/t:size=2m,exec")
    assert {"size=1024k", "mode=700"} <= set(
        options("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700").split(",")
    )
    script = "echo x > /t/x && echo y > /y"
    done = tiffin.run("run", "--rm", "--read-only", "--tmpfs", "/t", "box:1", "sh", "-c", script)
    assert b"/y: Read-only file system" in done.stderr


@needs_ids
def test_the_owner_of_a_source_is_changed_when_asked(tiffin: Tiffin, tmp_path: Path) -> None:
    """U gives a volume or a folder to the container's user; z and Z mean nothing without SELinux."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_text("")
    os.symlink("/etc/passwd", tmp_path / "link")
    script = "echo x > /b/sub/new && echo y > /v/new && id -u"
    words = ("-u", "bob", "-v", f"{tmp_path}:/b:U,z", "-v", "owned:/v:U", "box:1", "sh", "-c", script)
    assert tiffin("run", "--rm", *words) == "7\n"
    look = ("busybox", "stat", "-c", "%u", "/b/sub/f")  # the folder is no longer the caller's
    assert tiffin("run", "--rm", "-v", f"{tmp_path}:/b", "box:1", *look) == "7\n"
    assert os.stat("/etc/passwd").st_uid == 0
    tiffin("volume", "rm", "owned")


def test_sources_that_are_missing(tiffin: Tiffin, tmp_path: Path) -> None:
    """What -v makes, --mount refuses."""
    made = tmp_path / "made" / "here"
    tiffin("run", "--rm", "-v", f"{made}:/b", "box:1", "true")
    assert made.is_dir()
    said = tiffin.wrong("run", "--mount", f"type=bind,src={tmp_path}/no,dst=/b", "box:1", code=125)
    assert f'type "bind": bind source path does not exist: {tmp_path}/no' in said


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [
        ("type=bind,dst=/b", "field Source must not be empty"),
        ("type=bind,src=rel,dst=/b", "invalid mount path: 'rel' mount path must be absolute"),
        ("type=bind,src=/etc", "target is required"),
        ("type=,dst=/b", "type is required"),
        ("type=volume,dst=b", "invalid mount path: 'b' mount path must be absolute"),
        ("type=volume,dst=/", "invalid specification: destination can't be '/'"),
        ("type=volume,dst=/b,readonly", "must not set ReadOnly mode when using anonymous volumes"),
        ("type=volume,dst=/b,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
        ("type=tmpfs,src=x,dst=/b", "field Source must not be specified"),
        ("type=npipe,src=x,dst=/b", 'invalid mount config for type "npipe": mount type unknown'),
        ("type=tmpfs,dst=/b,tmpfs-size=big", "invalid value for tmpfs-size: big"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=tmpfs,dst=/b,bind-propagation=shared", "cannot mix 'bind-*' options with mount type 'tmpfs'"),
        ("type=bind,src=/etc,dst=/b,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("type=bind,src=/etc,dst=/b,image-subpath=x", "cannot mix 'image-*' options with mount type 'bind'"),
        ("type=bind,src=/etc,dst=/b,bind-recursive=x", 'bind-recursive: x (must be "enabled", "disabled"'),
        ("type=bind,src=/etc,dst=/b,bind-recursive=writable", "requires 'readonly' to be specified"),
        ("type=bind,src=/etc,dst=/b,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
        ("type=bind,src=/etc,dst=/b,readonly=maybe", "invalid value for readonly: maybe"),
        ("type=bind,src=/etc,dst=/b,color=red", "unexpected key 'color' in 'color=red'"),
        ("type=bind,src=/etc,dst=/b,shared", "invalid field 'shared' must be a key=value pair"),
    ],
)  # fmt: skip
def test_what_no_mount_can_be(tiffin: Tiffin, mount: str, sentence: str) -> None:
    """Each is refused before anything is made, in docker's words."""
    assert sentence in tiffin.wrong("create", "--mount", mount, "box:1", code=125)


def test_names_that_two_want_at_once(tiffin: Tiffin) -> None:
    """Two clones to one name: one is made, the other says that the name is taken."""
    tiffin("volume", "create", "origin")
    running = [subprocess.Popen(tiffin.argv("volume", "clone", "origin", "twin"), stderr=subprocess.PIPE)
               for _ in range(4)]  # fmt: skip
    said = [process.communicate()[1].decode() for process in running]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    assert sum("a volume named twin already exists" in text for text in said) == 3
    made = [subprocess.Popen(tiffin.argv("volume", "create", "same"), stdout=subprocess.PIPE)
            for _ in range(4)]  # fmt: skip
    assert [process.communicate()[0] for process in made] == [b"same\n"] * 4
    tiffin("volume", "rm", "origin", "twin", "same")
