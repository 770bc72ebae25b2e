"""A tar becomes a directory: what every kind of entry turns into, next to GNU tar's own opinion."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import struct
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.layer.trees import (
    facts,
    folder,
    gnu_tar,
    hardlink,
    member,
    raw_header,
    symlink,
    tar_of,
    unpack,
)
from tiffin.layer import whiteout
from tiffin.layer.apply import Extraction, MissingTarget, apply, apply_stream
from tiffin.layer.compression import Compressor

if TYPE_CHECKING:
    from pathlib import Path

END = bytes(1024)
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # net_raw, permitted and effective
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, perm, who)
    for tag, perm, who in (
        (1, 6, 0xFFFFFFFF), (2, 7, 1234), (4, 4, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF),
    )
)  # fmt: skip


def garden(root: Path) -> None:
    """Plant one of everything."""
    (root / "etc/deep/er").mkdir(parents=True)
    (root / "etc/passwd").write_bytes(b"root:x:0:0\n" * 700)
    (root / "etc/empty").touch()
    (root / "etc/exact").write_bytes(b"x" * 512)
    os.link(root / "etc/passwd", root / "etc/deep/passwd")
    (root / "link").symlink_to("/etc/passwd")
    (root / "dangling").symlink_to("nowhere/" + "n" * 150)
    os.link(root / "link", root / "zlink", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "disk", 0o60660, os.makedev(259, 70000))
    os.mkdir(root / "sgid")
    (root / "sgid/plain").touch()
    os.chown(root / "sgid", 0, 50)
    os.chmod(root / "sgid", 0o2775)  # noqa: S103 - what an image may say
    os.mkdir(root / "sticky", 0o777)
    os.chmod(root / "sticky", 0o1777)  # noqa: S103 - what an image may say
    (root / "su").write_bytes(b"#!")
    os.chown(root / "su", 5_000_000, 4_294_967_294)
    os.chmod(root / "su", 0o6755)  # noqa: S103 - what an image may say
    os.setxattr(root / "su", "security.capability", CAPABILITY)
    os.setxattr(root / "etc/empty", "user.mime=type", b"text/\0plain\n")
    os.setxattr(root / "etc/exact", "system.posix_acl_access", ACL)
    os.setxattr(root / "etc/deep", "system.posix_acl_default", ACL)
    os.chown(root / "link", 7, 8, follow_symlinks=False)
    long = root / ("l" * 99) / ("m" * 200)
    long.mkdir(parents=True)
    (long / ("n" * 255)).write_bytes(b"far")
    (root / os.fsdecode(b"caf\xe9\xff")).write_bytes(b"latin")
    (root / "naïve ☃").write_bytes(b"utf-8")
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        when = 1_600_000_000_123_456_789 + number * 1_000_000_007
        os.utime(path, ns=(when, when), follow_symlinks=False)
    os.utime(root / "null", ns=(0, 0))
    os.utime(root / "fifo", ns=(-5_500_000_000, -5_500_000_000))


@pytest.mark.parametrize("kind", ["", "gzip", "zstd", "xz", "bzip2"])
def test_a_tree_comes_out_as_it_went_in(tmp_path: Path, kind: str) -> None:
    """GNU tar packs one of everything; every fact of the tree survives, under every compression."""
    source = tmp_path / "source"
    garden(source)
    data = gnu_tar(source, "--format=pax", "--pax-option=delete=atime,delete=ctime")
    packer = Compressor(kind)
    packed = packer.feed(data) + packer.finish()
    applied = unpack(packed, tmp_path / "out")
    assert facts(tmp_path / "out") == facts(source)
    assert applied.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert applied.digest == "sha256:" + hashlib.sha256(packed).hexdigest()
    assert (applied.tar_size, applied.compressed_size) == (len(data), len(packed))
    assert applied.compression == kind
    assert applied.implied == ()
    assert applied.size == 7700 + 512 + 2 + 3 + 5 + 5
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert applied.entries == len(archive.getmembers())


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "ustar", "v7"])
def test_older_formats_come_out_as_gnu_tar_reads_them(tmp_path: Path, form: str) -> None:
    """For each format, our tree is the one that GNU tar makes of the same bytes."""
    source = tmp_path / "source"
    garden(source)
    if form in {"ustar", "v7"}:  # which have no room for these
        os.chown(source / "su", 1000, 1000)
        os.utime(source / "fifo", (0, 0))
        subprocess.run(["rm", "-r", source / ("l" * 99), source / "dangling"], check=True)
    if form == "v7":
        for name in ("null", "disk", "fifo"):
            os.unlink(source / name)
    command = ["tar", "-C", source, f"--format={form}", "--numeric-owner", "-cf", "-", "."]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    judge = tmp_path / "judge"
    judge.mkdir()
    subprocess.run(["tar", "-C", judge, "-xpf", "-", "--numeric-owner"], input=data, check=True)
    unpack(data, tmp_path / "out")
    assert facts(tmp_path / "out") == facts(judge)


def test_pythons_formats_come_out(tmp_path: Path) -> None:
    """Names and links beyond 100 bytes, big owners and odd times, as Python's tarfile writes them."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name, target = "d/" + "n" * 180, "t" * 300
        data = tar_of(
            folder("d"),
            member(name, b"content", uid=2**31, gid=2_097_152, mtime=2**33),
            symlink("s", target),
            form=form,
        )
        out = tmp_path / str(form)
        unpack(data, out)
        info = (out / name).stat()
        assert (info.st_uid, info.st_gid, info.st_mtime) == (2**31, 2_097_152, 2**33)
        assert os.readlink(out / "s") == target


def test_nothing_at_all_is_an_empty_layer(tmp_path: Path) -> None:
    """No bytes, two blocks of zeros, one block of zeros: layers without entries, digested all the same."""
    for number, data in enumerate((b"", END, bytes(512), bytes(10240), gzip.compress(END))):
        applied = unpack(data, tmp_path / str(number))
        assert (applied.entries, applied.size) == (0, 0)
        assert applied.digest == "sha256:" + hashlib.sha256(data).hexdigest()


def test_an_archive_may_end_without_zeros(tmp_path: Path) -> None:
    """Docker reads archives that stop behind the last entry, so do we."""
    data = raw_header({"size": b"00000000003"}) + b"abc".ljust(512, b"\0")
    assert unpack(data, tmp_path / "out").entries == 1
    assert (tmp_path / "out/file").read_bytes() == b"abc"


def test_bytes_behind_the_end_count(tmp_path: Path) -> None:
    """What stands behind the end is ignored but belongs to the digests."""
    data = tar_of(member("a")) + b"and more" * 100000
    applied = unpack(data, tmp_path / "out")
    assert applied.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()


def test_file_and_pipe_are_the_same(tmp_path: Path) -> None:
    """A source may be a file, read from where it stands; it stays the caller's to close."""
    data = tar_of(member("a", b"1"))
    (tmp_path / "layer").write_bytes(b"skipped" + data)
    (tmp_path / "out").mkdir()
    with open(tmp_path / "layer", "rb") as stream:
        os.lseek(stream.fileno(), 7, os.SEEK_SET)
        applied = apply(stream.fileno(), str(tmp_path / "out"), xattr="trusted.")
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == 7 + len(data)
    assert applied == unpack(data, tmp_path / "other")


class TestHardLinks:
    """A hard link finds its target wherever that is."""

    def test_before_its_target(self, tmp_path: Path) -> None:
        """Links, and links to links, may stand before what they name."""
        data = tar_of(hardlink("c", "b"), hardlink("d/b", "./c"), hardlink("b", "/a"), member("a", b"text"))
        unpack(data, tmp_path / "out")
        inodes = {(tmp_path / "out" / name).stat().st_ino for name in ("a", "b", "c", "d/b")}
        assert len(inodes) == 1
        assert (tmp_path / "out/a").stat().st_nlink == 4

    def test_to_a_symbolic_link_and_a_device(self, tmp_path: Path) -> None:
        """The link itself is linked, not what it points to."""
        data = tar_of(
            symlink("s", "/etc/hostname"),
            hardlink("t", "s"),
            member("p", type=tarfile.FIFOTYPE),
            hardlink("q", "p"),
        )
        unpack(data, tmp_path / "out")
        assert os.readlink(tmp_path / "out/t") == "/etc/hostname"
        assert stat.S_ISFIFO(os.lstat(tmp_path / "out/q").st_mode)

    def test_to_itself_and_again(self, tmp_path: Path) -> None:
        """A link to itself, or one that exists already, loses nothing."""
        data = tar_of(member("a", b"text"), hardlink("a", "a"), hardlink("b", "a"), hardlink("b", "a"))
        unpack(data, tmp_path / "out")
        assert (tmp_path / "out/a").read_bytes() == b"text"
        assert (tmp_path / "out/a").stat().st_nlink == 2

    def test_into_a_lower_layer(self, tmp_path: Path) -> None:
        """With the layers below at hand the target is brought up with all it has; without, it is named."""
        bottom, top, out = tmp_path / "bottom", tmp_path / "top", tmp_path / "out"
        garden(bottom)
        (top / "etc").mkdir(parents=True)
        (top / "etc/other").touch()
        data = tar_of(
            hardlink("bin/su", "su"),
            hardlink("copy", "etc/passwd"),
            hardlink("s", "link"),
            hardlink("n", "null"),
        )
        with pytest.raises(MissingTarget, match=r"'bin/su'.*'su'"):
            unpack(data, tmp_path / "failed")
        applied = unpack(data, out, lower=[str(top), str(bottom)])
        ours, theirs = facts(str(out)), facts(str(bottom))
        assert set(ours) == {
            ".",
            "bin",
            "bin/su",
            "su",
            "copy",
            "etc",
            "etc/passwd",
            "s",
            "link",
            "n",
            "null",
        }
        for name in ("su", "etc/passwd", "link", "null"):
            assert ours[name][:5] == theirs[name][:5]
            assert ours[name][6] == theirs[name][6]
        assert (out / "su").stat().st_ino == (out / "bin/su").stat().st_ino
        assert applied.implied == ("", "bin", "etc")

    @pytest.mark.parametrize("hide", ["whiteout", "opaque", "file", "symlink", "folder whiteout"])
    def test_not_to_what_is_hidden_below(self, tmp_path: Path, hide: str) -> None:
        """What the layers between delete or replace is no target."""
        bottom, top = tmp_path / "bottom", tmp_path / "top"
        (bottom / "d").mkdir(parents=True)
        (bottom / "d/f").write_bytes(b"old")
        top.mkdir()
        if hide == "whiteout":
            (top / "d").mkdir()
            whiteout.make_whiteout(str(top / "d/f"), "trusted.")
        elif hide == "opaque":
            (top / "d").mkdir()
            whiteout.make_opaque(str(top / "d"), "trusted.")
        elif hide == "folder whiteout":
            whiteout.make_whiteout(str(top / "d"), "trusted.")
        elif hide == "file":
            (top / "d").touch()
        else:
            (top / "d").symlink_to("/")
        with pytest.raises(MissingTarget):
            unpack(tar_of(hardlink("x", "d/f")), tmp_path / "out", lower=[str(top), str(bottom)])


class TestWhiteouts:
    """Deletions become overlayfs's marks."""

    def test_marks(self, tmp_path: Path) -> None:
        """A name is deleted by a 0:0 device, a folder's old content by an attribute, in any order."""
        data = tar_of(
            folder("d"), member("d/.wh.gone"), member("d/.wh..wh..opq"), member(".wh.top"),
            member("new/.wh.x"), member("op/.wh..wh..opq"),
        )  # fmt: skip
        applied = unpack(data, tmp_path / "out")
        for name in ("d/gone", "top", "new/x"):
            assert whiteout.is_whiteout(os.lstat(tmp_path / "out" / name))
        assert whiteout.is_opaque(str(tmp_path / "out/d"), "trusted.")
        assert whiteout.is_opaque(str(tmp_path / "out/op"), "trusted.")
        assert not whiteout.is_opaque(str(tmp_path / "out/new"), "trusted.")
        assert applied.implied == ("", "new", "op")

    def test_the_prefix_of_the_mark_is_the_callers(self, tmp_path: Path) -> None:
        """An ordinary user's store marks with user.overlay.opaque."""
        unpack(tar_of(member("d/.wh..wh..opq"), member(".wh..wh..opq")), tmp_path / "out", xattr="user.")
        assert os.getxattr(tmp_path / "out/d", "user.overlay.opaque") == b"y"
        assert os.getxattr(tmp_path / "out", "user.overlay.opaque") == b"y"

    def test_deleted_and_new_in_one_layer(self, tmp_path: Path) -> None:
        """A deletion hides only what is below: a name that the same layer has stays, in either order."""
        for number, data in enumerate(
            (
                tar_of(member(".wh.d"), folder("d"), member("d/f"), member(".wh.a"), member("a", b"new")),
                tar_of(folder("d"), member("d/f"), member(".wh.d"), member("a", b"new"), member(".wh.a")),
                tar_of(member(".wh.d"), member("d/f"), folder("d"), member(".wh.a"), member("a", b"new")),
            )
        ):
            out = tmp_path / str(number)
            applied = unpack(data, out)
            assert whiteout.is_opaque(str(out / "d"), "trusted."), number
            assert (out / "d/f").is_file()
            assert (out / "a").read_bytes() == b"new"
            assert applied.implied == ("",)

    def test_below_a_deleted_name(self, tmp_path: Path) -> None:
        """A file in a folder that was deleted below makes the folder anew, opaque."""
        applied = unpack(tar_of(member(".wh.d"), member("d/e/f")), tmp_path / "out")
        assert whiteout.is_opaque(str(tmp_path / "out/d"), "trusted.")
        assert applied.implied == ("", "d", "d/e")

    def test_names_are_names_outside_layers(self, tmp_path: Path) -> None:
        """In an archive that is no layer, `.wh.` means nothing."""
        unpack(tar_of(member("d/.wh.gone", b"x"), member(".wh..wh..opq")), tmp_path / "out", whiteouts=False)
        assert (tmp_path / "out/d/.wh.gone").read_bytes() == b"x"
        assert (tmp_path / "out/.wh..wh..opq").is_file()

    def test_aufs_bookkeeping(self, tmp_path: Path) -> None:
        """Very old images: aufs's files vanish, but hard links into its folder of links work."""
        data = tar_of(
            folder(".wh..wh.plnk"), member(".wh..wh.plnk/12.34", b"shared"), member(".wh..wh.aufs"),
            folder(".wh..wh.orph"), member(".wh..wh.orph/x"), hardlink("a", ".wh..wh.plnk/12.34"),
        )  # fmt: skip
        unpack(data, tmp_path / "out")
        assert os.listdir(tmp_path / "out") == ["a"]
        assert (tmp_path / "out/a").read_bytes() == b"shared"


KINDS = {
    "file": lambda name: [member(name, b"file")],
    "folder": lambda name: [folder(name), member(name + "/inner", b"i")],
    "symlink": lambda name: [symlink(name, "/outside")],
    "fifo": lambda name: [member(name, type=tarfile.FIFOTYPE)],
    "hardlink": lambda name: [hardlink(name, "base")],
    "whiteout": lambda name: [member(".wh." + name)],
}


class TestReplacing:
    """The later entry wins, as image-spec's "Changeset over existing files" says."""

    @pytest.mark.parametrize("first", KINDS)
    @pytest.mark.parametrize("second", KINDS)
    def test_anything_by_anything(self, tmp_path: Path, first: str, second: str) -> None:
        """Every kind replaces every kind; only folders merge; a deletion never removes what the layer has."""
        before, after = KINDS[first]("x"), KINDS[second]("x")
        unpack(tar_of(member("base", b"base"), *before, *after), tmp_path / "out")
        unpack(
            tar_of(member("base", b"base"), *(before if second == "whiteout" else after)), tmp_path / "alone"
        )
        ours, expected = facts(str(tmp_path / "out")), facts(str(tmp_path / "alone"))
        if {first, second} == {"folder", "whiteout"}:
            assert whiteout.is_opaque(str(tmp_path / "out/x"), "trusted.")
            os.removexattr(tmp_path / "out/x", "trusted.overlay.opaque")
            ours = facts(str(tmp_path / "out"))
        assert ours == expected

    def test_folders_merge(self, tmp_path: Path) -> None:
        """A folder that comes again gets the new attributes and keeps its content."""
        data = tar_of(folder("d", mode=0o700, uid=5), member("d/f"), folder("d", mode=0o2711, gid=6, mtime=9))
        unpack(data, tmp_path / "out")
        info = (tmp_path / "out/d").stat()
        assert (info.st_mode, info.st_uid, info.st_gid, info.st_mtime) == (0o42711, 0, 6, 9)
        assert (tmp_path / "out/d/f").is_file()

    def test_times_do_not_reach_what_replaced_a_folder(self, tmp_path: Path) -> None:
        """A folder's attributes are not given to a symbolic link that took its place, nor through it."""
        data = tar_of(
            folder("t", mode=0o755, mtime=5),
            folder("d", mode=0o777, uid=3, mtime=7),
            folder("d/sub", mode=0o777, uid=3, mtime=7),
            symlink("d", "t", mtime=11),
        )
        unpack(data, tmp_path / "out")
        assert (tmp_path / "out/t").stat().st_mtime == 5
        assert (tmp_path / "out/t").stat().st_uid == 0
        assert (tmp_path / "out/d").lstat().st_mtime == 11
        assert os.listdir(tmp_path / "out/t") == []


class TestFolders:
    """What a tar says and leaves out about folders."""

    def test_parents_are_made(self, tmp_path: Path) -> None:
        """Folders that no entry describes are root's, 0755, time 0, and are reported."""
        data = tar_of(member("a/b/c/f"), folder("a/b", mode=0o700, mtime=3), member("x/y"))
        applied = unpack(data, tmp_path / "out")
        assert applied.implied == ("", "a", "a/b/c", "x")
        info = (tmp_path / "out/a").stat()
        assert (info.st_mode, info.st_uid, info.st_mtime_ns) == (0o40755, 0, 0)
        assert (tmp_path / "out/a/b").stat().st_mode == 0o40700

    def test_times_come_last(self, tmp_path: Path) -> None:
        """Files that come after their folder do not touch its time."""
        unpack(tar_of(folder("d", mtime=77), member("d/a"), member("d/b")), tmp_path / "out")
        assert (tmp_path / "out/d").stat().st_mtime == 77

    def test_the_root(self, tmp_path: Path) -> None:
        """A layer may describe its root or imply it; an archive that is added somewhere leaves it alone."""
        data = tar_of(folder("./", mode=0o750, uid=9, mtime=5), member("./f"))
        assert unpack(data, tmp_path / "layer").implied == ()
        assert unpack(tar_of(member("f")), tmp_path / "other").implied == ("",)
        info = (tmp_path / "layer").stat()
        assert (info.st_mode, info.st_uid, info.st_mtime) == (0o40750, 9, 5)
        assert unpack(data, tmp_path / "added", whiteouts=False).implied == ()
        assert (tmp_path / "added").stat().st_uid == 0

    def test_a_groups_bit_is_not_inherited(self, tmp_path: Path) -> None:
        """Files get the owner and mode of their entry even in an existing folder that hands out its group."""
        out = tmp_path / "out"
        out.mkdir()
        os.chown(out, 0, 50)
        os.chmod(out, 0o2777)  # noqa: S103 - what an image may say
        unpack(
            tar_of(
                member("f", mode=0o604), folder("d"), symlink("s", "t"), member("p", type=tarfile.FIFOTYPE)
            ),
            out,
            whiteouts=False,
        )
        for name in ("f", "d", "s", "p"):
            assert (out / name).lstat().st_gid == 0, name
        assert (out / "f").stat().st_mode & 0o7777 == 0o604
        assert (out / "d").stat().st_mode & 0o7777 == 0o755


class TestInside:
    """An archive may be unpacked below a folder of a tree whose links it must not leave."""

    def test_links_are_resolved_in_the_tree(self, tmp_path: Path) -> None:
        """Absolute links on the way lead to the tree's own root."""
        root = tmp_path / "root"
        (root / "real").mkdir(parents=True)
        (root / "app").symlink_to("/real")
        data = tar_of(member("f", b"x"), member("abs/g"), symlink("l", "/real"), member("l/h"))
        applied = unpack(data, root, whiteouts=False, inside="app/new")
        assert (root / "real/new/f").read_bytes() == b"x"
        assert (root / "real/h").is_file()
        assert applied.implied == ("real/new", "real/new/abs")

    def test_names_cannot_climb_out(self, tmp_path: Path) -> None:
        """`inside` is the top for names with dots."""
        unpack(tar_of(member("x/../y")), tmp_path / "root", inside="in")
        assert os.listdir(tmp_path / "root/in") == ["y"]


class TestSparse:
    """GNU tar's sparse files keep their content and their holes."""

    @pytest.mark.parametrize("form", ["gnu", "oldgnu", "0.0", "0.1", "1.0"])
    @pytest.mark.parametrize("pieces", [0, 1, 4, 5, 40])
    def test_every_format(self, tmp_path: Path, form: str, pieces: int) -> None:
        """Old GNU and the three PAX formats, with maps of every length."""
        source = tmp_path / "source"
        source.mkdir()
        with open(source / "holes", "wb") as stream:
            for number in range(pieces):
                stream.seek((number * 3 + 1) * 65536)
                stream.write(b"%d piece" % number * 500)
            stream.truncate((pieces + 1) * 4 * 65536 + 77)
        (source / "zafter").write_bytes(b"next")
        options = ["--format=pax", f"--sparse-version={form}"] if "." in form else [f"--format={form}"]
        command = ["tar", "-C", source, "--sparse", "--hole-detection=raw", *options, "-cf", "-", "."]
        data = subprocess.run(command, check=True, capture_output=True).stdout
        assert len(data) < 1 << 20
        unpack(data, tmp_path / "out")
        assert facts(tmp_path / "out", times=False) == facts(source, times=False)
        assert (tmp_path / "out/holes").stat().st_blocks <= (source / "holes").stat().st_blocks + 64


def test_foreign_attributes_stay_outside(tmp_path: Path) -> None:
    """Overlayfs's own marks, root's and the host's attributes are never taken from an archive."""
    info, _ = member("d")
    info.type = tarfile.DIRTYPE
    info.pax_headers = {
        f"SCHILY.xattr.{name}": "y"
        for name in (
            "trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "trusted.x",
            "security.selinux", "security.ima", "user.mine",
        )
    }  # fmt: skip
    unpack(tar_of((info, b"")), tmp_path / "out")
    assert os.listxattr(tmp_path / "out/d") == ["user.mine"]


def test_attributes_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    """user.* on a fifo does not exist; docker leaves it out, so do we."""
    info, _ = member("p", type=tarfile.FIFOTYPE)
    info.pax_headers = {"SCHILY.xattr.user.x": "y"}
    unpack(tar_of((info, b"")), tmp_path / "out")
    assert os.listxattr(tmp_path / "out/p", follow_symlinks=False) == []


def test_global_headers_mean_nothing(tmp_path: Path) -> None:
    """`git archive` writes one; what it says is not applied to the files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"comment": "abc", "uid": "77"}) as archive:
        archive.addfile(*[member("f")[0]])
    unpack(out.getvalue(), tmp_path / "out")
    assert (tmp_path / "out/f").stat().st_uid == 0


def test_extractions_run_side_by_side(tmp_path: Path) -> None:
    """Several at once, each from its own pipe, do not disturb one another."""
    running = []
    for number in range(4):
        out = tmp_path / str(number)
        out.mkdir()
        reading, writing = os.pipe()
        running.append((Extraction.start(reading, str(out), xattr="trusted."), writing, out))
        os.close(reading)
    for number, (extraction, writing, out) in enumerate(running):
        with open(writing, "wb") as pipe:
            pipe.write(tar_of(member("f", b"%d" % number * 100000)))
        assert extraction.wait().size == 100000
        assert (out / "f").read_bytes() == b"%d" % number * 100000


def test_errors_of_the_source_stop_it(tmp_path: Path) -> None:
    """When reading fails, the worker is stopped and the reader's own error is what the caller sees."""
    pieces = iter([tar_of(member("a", b"x" * 5000))[:2000]])

    def read(_size: int) -> bytes:
        try:
            return next(pieces)
        except StopIteration:
            raise ConnectionResetError("gone") from None

    (tmp_path / "out").mkdir()
    with pytest.raises(ConnectionResetError, match="gone"):
        apply_stream(read, str(tmp_path / "out"), xattr="trusted.")
