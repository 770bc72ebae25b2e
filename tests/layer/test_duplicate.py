"""Copies of layers: the same tar comes of them, and whatever a tar does not tell is kept as well."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_root
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.layer import whiteout
from tiffin.layer.diff import measure
from tiffin.layer.duplicate import duplicate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """An empty folder, beside an empty one for its copy."""
    for name in ("upper", "copy"):
        (tmp_path / name).mkdir()
    return tmp_path / "upper"


def copied(upper: Path, xattr: str) -> Path:
    """Copy a folder; both make the same tar."""
    copy = upper.parent / "copy"
    duplicate(str(upper), str(copy), xattr=xattr)
    assert measure(str(copy), xattr=xattr) == measure(str(upper), xattr=xattr)
    return copy


def furnish(upper: Path, xattr: str) -> None:
    """Put one of everything into a folder that any user can make."""
    (upper / "a/b").mkdir(parents=True)
    (upper / "a/file").write_bytes(os.urandom(300_000))
    (upper / "a/file").chmod(0o4751)
    os.link(upper / "a/file", upper / "a/b/again")
    (upper / "empty").touch(0o600)
    os.symlink("../nowhere", upper / "a/link")
    os.mkfifo(upper / "pipe", 0o640)
    os.mknod(upper / "socket", stat.S_IFSOCK | 0o700)
    with open(upper / "holes", "wb") as stream:
        for at in (1 << 20, 5 << 20):
            stream.seek(at)
            stream.write(b"x" * 5000)
        stream.truncate(1 << 26)
    os.setxattr(upper / "a/file", "user.note", b"\0value")
    whiteout.make_whiteout(str(upper / "a/gone"), xattr)
    whiteout.make_opaque(str(upper / "a/b"), xattr)
    os.utime(upper / "a/link", ns=(1, 1_500_000_000_123_456_789), follow_symlinks=False)
    os.utime(upper / "a", ns=(1, 1_500_000_000_123_456_789))
    (upper / "a").chmod(0o2711)


@pytest.mark.parametrize("xattr", ["user.", "user.tiffin.", *(["trusted."] if not os.geteuid() else [])])
def test_everything_arrives(upper: Path, xattr: str) -> None:
    """Kinds, modes, links, attributes, marks and times are as they were; holes stay holes."""
    furnish(upper, xattr)
    copy = copied(upper, xattr)
    assert (copy / "a/file").stat().st_ino == (copy / "a/b/again").stat().st_ino
    assert whiteout.is_whiteout((copy / "a/gone").lstat())
    assert whiteout.is_opaque(str(copy / "a/b"), xattr)
    assert (copy / "holes").stat().st_blocks * 512 < 1 << 20
    assert not (copy / "socket").exists()
    for name in ("a", "a/file", "a/link", "pipe", "empty"):
        looks = [(i.st_mode, i.st_mtime_ns, i.st_uid) for i in ((p / name).lstat() for p in (upper, copy))]
        assert looks[0] == looks[1], name


@needs_root
def test_owners_devices_and_capabilities_arrive(upper: Path) -> None:
    """What only root can make is made; overlayfs's own notes of where a file came from are not copied."""
    (upper / "f").write_bytes(b"f")
    os.chown(upper / "f", 7, 8)
    (upper / "f").chmod(0o6755)
    os.setxattr(upper / "f", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.setxattr(upper / "f", "trusted.overlay.origin", b"x")
    os.mknod(upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.symlink("f", upper / "link")
    os.lchown(upper / "link", 7, 8)
    os.chown(upper, 9, 9)
    upper.chmod(0o1777)
    copy = copied(upper, "trusted.")
    assert (copy / "null").lstat().st_rdev == os.makedev(1, 3)
    assert (copy / "f").stat().st_mode & 0o7777 == 0o6755
    assert os.listxattr(copy / "f") == ["security.capability"]
    assert (copy.stat().st_uid, copy.stat().st_mode & 0o7777) == (9, 0o1777)


def test_a_deep_tree(upper: Path) -> None:
    """A tree may be deeper than folders are kept open, and its paths nearly as long as the kernel takes."""
    top = os.open(upper, os.O_RDONLY)
    name = "d" * 30
    folder = os.dup(top)
    for _ in range(130):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    os.close(top)
    before = len(os.listdir("/proc/self/fd"))
    copied(upper, "user.")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_no_layer_can_hold_is_refused(upper: Path) -> None:
    """A folder that is not there, a reference to other layers, the name of a mark."""
    with pytest.raises(NotFound, match="no such layer directory"):
        duplicate(f"{upper}/none", str(upper.parent / "copy"), xattr="user.")
    (upper / "file").touch()
    os.setxattr(upper / "file", "user.overlay.metacopy", b"")
    with pytest.raises(Unsupported, match="refers to the layers below"):
        copied(upper, "user.")
    (upper / "file").rename(upper / ".wh.file")
    with pytest.raises(InvalidArgument, match="mark deletions"):
        copied(upper, "user.")
