"""What the tests of this room share: facts of a tree, tars made by hand, extraction into a folder."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING

from tiffin.layer.apply import Applied, apply_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = ("user.", "security.capability", "system.posix_acl", "trusted.overlay.opaque")


def facts(root: str, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """Return path -> everything that a layer must keep of it; `.` is the root, without its times."""
    found: dict[str, tuple[object, ...]] = {}
    groups: dict[tuple[int, int], str] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in [".", *sorted(folders + names)] if folder == root else sorted(folders + names):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = _fact(path, groups, times=times and name != ".")
    return found


def _fact(path: str, groups: dict[tuple[int, int], str], *, times: bool) -> tuple[object, ...]:
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    whiteout = kind == stat.S_IFCHR and info.st_rdev == 0
    what: object = ""
    if kind == stat.S_IFREG:
        with open(path, "rb") as stream:
            what = info.st_size, hashlib.file_digest(stream, "sha256").hexdigest()
    elif kind == stat.S_IFLNK:
        what = os.readlink(path)
    elif kind in {stat.S_IFCHR, stat.S_IFBLK}:
        what = os.major(info.st_rdev), os.minor(info.st_rdev)
    if whiteout:
        return ("whiteout",)
    first = path if kind == stat.S_IFDIR else groups.setdefault((info.st_dev, info.st_ino), path)
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith(KEPT)
    }
    mtime = info.st_mtime_ns if times else 0
    link = os.path.basename(first) if info.st_nlink > 1 and kind != stat.S_IFDIR else ""
    return oct(info.st_mode), info.st_uid, info.st_gid, mtime, what, link, tuple(sorted(attributes.items()))


def unpack(data: bytes, folder: object, **options: object) -> Applied:
    """Apply a tar's bytes to a folder, which is made if need be."""
    os.makedirs(str(folder), exist_ok=True)
    xattr = "user." if os.geteuid() else "trusted."
    return apply_stream(io.BytesIO(data).read, str(folder), **{"xattr": xattr, **options})


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Describe a member with the fields of tarfile.TarInfo."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def folder(name: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Describe a folder, 0755."""
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Describe a symbolic link."""
    return member(name, type=tarfile.SYMTYPE, linkname=target, **fields)


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """Describe a hard link."""
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Write members with Python's tarfile, in the order given, whatever they say."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def raw_header(fields: Mapping[str, bytes] | None = None, *, checksum: bool = True) -> bytes:
    """Return a ustar header with some fields replaced by raw bytes; the checksum is right unless unwanted."""
    places = {
        "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12),
        "mtime": (136, 12), "kind": (156, 1), "link": (157, 100), "magic": (257, 8), "major": (329, 8),
        "minor": (337, 8), "prefix": (345, 155),
    }  # fmt: skip
    block = bytearray(512)
    usual = {
        "name": b"file", "mode": b"0000644", "uid": b"0000000", "gid": b"0000000", "size": b"00000000000",
        "mtime": b"00000000000", "kind": b"0", "magic": b"ustar\x0000",
    }  # fmt: skip
    for key, value in {**usual, **(fields or {})}.items():
        start, length = places[key]
        assert len(value) <= length
        block[start : start + length] = value.ljust(length, b"\0")
    block[148:156] = b" " * 8
    if checksum:
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def gnu_tar(source: object, *options: str) -> bytes:
    """Return the tar that GNU tar makes of a folder's contents."""
    command = ["tar", "-C", str(source), "--xattrs", "--xattrs-include=*", "--numeric-owner", *options]
    return subprocess.run([*command, "-cf", "-", "."], check=True, capture_output=True).stdout
