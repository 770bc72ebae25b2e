"""A directory becomes a tar: always the same one, read alike by everyone, and by ourselves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.layer.test_apply import garden
from tests.layer.trees import facts, unpack
from tiffin.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tiffin.layer import whiteout
from tiffin.layer.compression import Compressor
from tiffin.layer.diff import SERIALIZER, Measured, measure, write_tar

if TYPE_CHECKING:
    from pathlib import Path

# Never change these: layers were stored under the digests of version 1. A new format is a new version,
# beside the old one.
GOLDEN_GARDEN = Measured(
    diff_id="sha256:1d3bca248c1bdb70e96a5a6698c2595b4b02e176527fc3a6159907f4b7804a6e",
    size=8227,
    tar_size=45056,
)
GOLDEN_EMPTY = Measured(
    diff_id="sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", size=0, tar_size=1024
)
GOLDEN_MARKS = Measured(
    diff_id="sha256:e462c514321745ea8a919f75a50bf7939602a40ee26a3cfb590c250b20500a41", size=34, tar_size=27648
)


def serialized(root: Path | str, *, xattr: str = "trusted.") -> bytes:
    out = io.BytesIO()
    write_tar(str(root), out.write, xattr=xattr)
    return out.getvalue()


def marked(root: Path) -> None:
    """Plant an overlay's upper directory: deletions, opaque folders, odd names, boundaries of ustar."""
    for name in ("d/sub", "op", "zz", "#first", "opaque-x"):
        (root / name).mkdir(parents=True)
    for name in ("gone", "d/-old", "d/sub/all"):
        whiteout.make_whiteout(str(root / name), "trusted.")
    os.link(root / "gone", root / "shared-whiteout")  # newer kernels share one inode among all of them
    whiteout.make_opaque(str(root / "op"), "trusted.")
    os.setxattr(root / "opaque-x", "trusted.overlay.opaque", b"x")  # says "look for marks", not "opaque"
    os.setxattr(root / "op", "trusted.overlay.origin", b"not ours")
    os.setxattr(root / "op", "user.overlay.opaque", b"y")
    for name in ("d/+plus", "d/!bang", "d/.hidden", "#first/file"):
        (root / name).write_bytes(name.encode())
    for length in (99, 100, 101):
        (root / ("n" * length)).touch()
        (root / "zz" / ("p" * length)).touch()
        (root / f"link{length}").symlink_to("t" * length)
    (root / "zz" / ("q" * 150)).mkdir()
    (root / "zz" / ("q" * 150) / ("r" * 100)).touch()
    (root / "zz" / ("q" * 153)).mkdir()
    (root / "zz" / ("q" * 153) / "s").touch()
    for name, owner in (("d/+plus", 2_097_151), ("d/!bang", 2_097_152)):
        os.chown(root / name, owner, owner)
    times = {"n" * 99: 8**11 * 10**9 - 1, "n" * 100: 8**11 * 10**9, "n" * 101: -1, "d/.hidden": 10**9 + 10**8}
    for path in sorted(root.rglob("*"), reverse=True):
        when = times.get(str(path.relative_to(root)), 1_700_000_000_000_000_000)
        os.utime(path, ns=(when, when), follow_symlinks=False)


def test_golden_digests(tmp_path: Path) -> None:
    """Version 1 of the format, for ever: an empty layer, one of everything, and an upper directory."""
    assert SERIALIZER == 1
    for name in ("empty", "garden", "marks"):
        (tmp_path / name).mkdir()
    garden(tmp_path / "garden")
    marked(tmp_path / "marks")
    assert measure(str(tmp_path / "empty"), xattr="trusted.") == GOLDEN_EMPTY
    assert measure(str(tmp_path / "garden"), xattr="trusted.") == GOLDEN_GARDEN
    assert measure(str(tmp_path / "marks"), xattr="trusted.") == GOLDEN_MARKS


def test_the_file_system_does_not_matter(tmp_path: Path) -> None:
    """The same tree on tmpfs, whose listing has another order, gives the same bytes."""
    garden(tmp_path / "garden")
    os.removexattr(tmp_path / "garden/etc/empty", "user.mime=type")  # tmpfs may not have user.*
    other = tmp_path / "memory"
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tiffin-test", other], check=True)
    try:
        subprocess.run(["cp", "-a", tmp_path / "garden", other / "a"], check=True)
        assert serialized(other / "a") == serialized(tmp_path / "garden")
    finally:
        subprocess.run(["umount", other], check=True)


def test_measuring_is_writing(tmp_path: Path) -> None:
    """`measure` tells the digest and sizes of exactly what `write_tar` writes."""
    garden(tmp_path / "g")
    data = serialized(tmp_path / "g")
    measured = measure(str(tmp_path / "g"), xattr="trusted.")
    assert measured.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert measured.tar_size == len(data)
    applied = unpack(data, tmp_path / "out")
    assert (applied.diff_id, applied.size) == (measured.diff_id, measured.size)


@pytest.mark.parametrize("plant", [garden, marked])
def test_apply_and_diff_are_inverse(tmp_path: Path, plant: object) -> None:
    """Applied and written again, a layer is the same tree and the same bytes."""
    (tmp_path / "in").mkdir()
    plant(tmp_path / "in")
    data = serialized(tmp_path / "in")
    applied = unpack(data, tmp_path / "out")
    assert serialized(tmp_path / "out") == data
    before, after = facts(tmp_path / "in"), facts(tmp_path / "out")
    for tree in (before, after):
        tree.pop("opaque-x", None)  # its mark is the kernel's business and does not travel
    assert {k: v[:6] for k, v in after.items()} == {k: v[:6] for k, v in before.items()}
    assert applied.implied == ("",)


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    """GNU tar makes the same tree of it, extended attributes, owners and nanoseconds included."""
    garden(tmp_path / "in")
    (tmp_path / "out").mkdir()
    result = subprocess.run(
        ["tar", "-C", tmp_path / "out", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-"],
        input=serialized(tmp_path / "in"),
        capture_output=True,
        check=True,
    )
    assert b"fifo: implausibly old time stamp" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert facts(tmp_path / "out") == facts(tmp_path / "in")


def test_python_reads_it(tmp_path: Path) -> None:
    """Python's tarfile sees every name, kind and owner, in the order of the format."""
    garden(tmp_path / "in")
    with tarfile.open(fileobj=io.BytesIO(serialized(tmp_path / "in"))) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert set(names) == set(facts(tmp_path / "in")) - {"."}
    by_name = {member.name: member for member in members}
    assert (by_name["su"].uid, by_name["su"].gid, by_name["su"].mode) == (5_000_000, 4_294_967_294, 0o6755)
    assert by_name["etc/passwd"].linkname == "etc/deep/passwd"
    assert (by_name["disk"].devmajor, by_name["disk"].devminor) == (259, 70000)
    folders = [name.rpartition("/")[0] for name in names]
    assert all(folder in names[:number] for number, folder in enumerate(folders) if folder)


@pytest.mark.skipif(not (shutil.which("umoci") and shutil.which("skopeo")), reason="needs umoci and skopeo")
def test_umoci_and_skopeo_read_it(tmp_path: Path) -> None:
    """As the layer of an OCI image it passes skopeo's checks, and umoci unpacks the same tree."""
    garden(tmp_path / "in")
    os.removexattr(tmp_path / "in/etc/empty", "user.mime=type")  # Go's tar has no way to write this name
    data = serialized(tmp_path / "in")
    packer = Compressor("gzip")
    layout = tmp_path / "layout"
    image_of(layout, data, packer.feed(data) + packer.finish())
    subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:x", f"dir:{tmp_path}/dir"], check=True)
    unpacked = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:x", unpacked], check=True, capture_output=True)
    assert facts(unpacked / "rootfs") == facts(tmp_path / "in")


def image_of(layout: Path, tar: bytes, packed: bytes) -> None:
    """Write an OCI layout with one image `x` of one layer."""
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    layer = put(packed, "application/vnd.oci.image.layer.v1.tar+gzip")
    diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [layer],
    }
    top = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    top["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an empty folder, 0755 as a layer's is."""
    (tmp_path / "root").mkdir(mode=0o755)
    return tmp_path / "root"


class TestMarks:
    """overlayfs's marks become the tar's names, first in their folder."""

    def test_order_and_names(self, root: Path) -> None:
        """Opaque first, deletions next, the rest by the bytes of their names, whatever these are."""
        marked(root)
        with tarfile.open(fileobj=io.BytesIO(serialized(root))) as archive:
            members = archive.getmembers()
        names = [member.name for member in members]
        assert [name for name in names if name.startswith("d")] == [
            "d", "d/.wh.-old", "d/!bang", "d/+plus", "d/.hidden", "d/sub", "d/sub/.wh.all",
        ]  # fmt: skip
        assert names[:3] == [".wh.gone", ".wh.shared-whiteout", "#first"]
        assert names[names.index("op") + 1] == "op/.wh..wh..opq"
        assert "opaque-x/.wh..wh..opq" not in names
        marks = [member for member in members if "/.wh." in "/" + member.name]
        assert {(m.type, m.mode, m.uid, m.gid, m.mtime, m.size) for m in marks} == {(b"0", 0o600, 0, 0, 0, 0)}

    def test_the_prefix_decides(self, root: Path) -> None:
        """Only the store's own prefix counts: user.overlay.opaque is a mark for an ordinary user's store."""
        marked(root)
        with tarfile.open(fileobj=io.BytesIO(serialized(root, xattr="user."))) as archive:
            assert "op/.wh..wh..opq" in archive.getnames()
        whiteout.make_opaque(str(root / "zz"), "user.")
        with tarfile.open(fileobj=io.BytesIO(serialized(root))) as archive:
            assert "zz/.wh..wh..opq" not in archive.getnames()

    def test_an_overlays_upper_directory(self, tmp_path: Path) -> None:
        """What a real overlay leaves in its upper directory says what was done, no more."""
        for name in ("lower/keep", "lower/empty", "lower/dir", "upper", "work", "merged"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "lower/keep/a").write_bytes(b"a")
        (tmp_path / "lower/keep/b").write_bytes(b"b")
        (tmp_path / "lower/dir/c").write_bytes(b"c")
        merged = tmp_path / "merged"
        options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        options += ",index=off,redirect_dir=off,metacopy=off"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", merged], check=True)
        try:
            (merged / "keep/a").unlink()
            (merged / "keep/b").chmod(0o600)
            (merged / "empty").rmdir()
            shutil.rmtree(merged / "dir")
            (merged / "dir").mkdir()
            (merged / "dir/new").write_bytes(b"n")
        finally:
            subprocess.run(["umount", merged], check=True)
        with tarfile.open(fileobj=io.BytesIO(serialized(tmp_path / "upper"))) as archive:
            names = archive.getnames()
        assert names == [".wh.empty", "dir", "dir/.wh..wh..opq", "dir/new", "keep", "keep/.wh.a", "keep/b"]

    def test_the_root(self, root: Path) -> None:
        """The top folder is written only where it is not root's and 0755, and always without its time."""
        assert len(serialized(root)) == 1024
        root.chmod(0o700)
        whiteout.make_opaque(str(root), "trusted.")
        with tarfile.open(fileobj=io.BytesIO(serialized(root))) as archive:
            (top, mark) = archive.getmembers()
        assert (top.name, top.mode, top.mtime) == (".", 0o700, 0)
        assert mark.name == ".wh..wh..opq"


class TestRefusals:
    """What no layer can hold is named."""

    def test_names_that_mark_deletions(self, root: Path) -> None:
        """A real file called .wh.x would delete x when it is applied."""
        (root / "d").mkdir()
        (root / "d/.wh.x").touch()
        with pytest.raises(InvalidArgument, match=r"'d/.wh.x' cannot be kept in a layer"):
            serialized(root)

    def test_references_into_other_layers(self, root: Path) -> None:
        """A folder renamed by redirect, or a file whose data is elsewhere, is no content."""
        for name in ("redirect", "metacopy"):
            folder = root / name / "moved"
            folder.mkdir(parents=True)
            os.setxattr(folder, f"trusted.overlay.{name}", b"/old")
            with pytest.raises(Unsupported, match="'moved"):
                serialized(root / name)

    def test_a_missing_directory(self, root: Path) -> None:
        """There is nothing to write."""
        with pytest.raises(NotFound):
            serialized(root / "nothing")

    def test_names_beyond_the_kernels(self, root: Path) -> None:
        """A tree deeper than a path can name is refused, not cut; 700 folders deep works."""
        deep = os.open(root, os.O_RDONLY)
        for _ in range(2060):
            os.mkdir("d", dir_fd=deep)
            inner = os.open("d", os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = inner
        os.close(deep)
        with pytest.raises(InvalidArgument, match="too long"):
            serialized(root)
        subprocess.run(["rm", "-r", root / "d"], check=True)
        os.makedirs(root / "/".join(["d"] * 700))
        (root / "/".join(["d"] * 700) / "f").touch()
        (root / "d/e").touch()
        with tarfile.open(fileobj=io.BytesIO(serialized(root))) as archive:
            names = archive.getnames()
        assert names[-1] == "d/e"
        assert len(names) == 702

    def test_sockets_are_left_out(self, root: Path) -> None:
        """A socket's name is of no use to anyone else."""
        here = os.open(root, os.O_RDONLY)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"/proc/self/fd/{here}/sock")
        listener.close()
        os.close(here)
        assert len(serialized(root)) == 1024


class TestMeanwhile:
    """A directory that changes while it is read."""

    def test_a_file_that_shrinks(self, root: Path) -> None:
        """A file cut short between two reads is a Conflict, not a broken tar."""
        (root / "f").write_bytes(b"x" * 3_000_000)

        def write(_data: bytes) -> None:
            os.truncate(root / "f", 1000)

        with pytest.raises(Conflict, match="'f' became shorter"):
            write_tar(str(root), write, xattr="trusted.")

    def test_a_folder_that_becomes_a_link(self, root: Path) -> None:
        """What a live container swaps for a symbolic link is never followed."""
        (root / "a").write_bytes(b"x" * 3_000_000)
        (root / "b").mkdir()
        out = bytearray()

        def write(data: bytes) -> None:
            out.extend(data)
            if not (root / "b").is_symlink():
                (root / "b").rmdir()
                (root / "b").symlink_to("/etc")

        write_tar(str(root), write, xattr="trusted.")
        with tarfile.open(fileobj=io.BytesIO(bytes(out))) as archive:
            assert archive.getmember("b").linkname == "/etc"
            assert len(archive.getnames()) == 2

    def test_errors_of_the_writer_pass(self, root: Path) -> None:
        """What `write` raises reaches the caller as it is, and no descriptor stays open."""
        (root / "d/e").mkdir(parents=True)
        (root / "d/e/f").write_bytes(b"x" * 3_000_000)
        before = len(os.listdir("/proc/self/fd"))

        def write(_data: bytes) -> None:
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            write_tar(str(root), write, xattr="trusted.")
        assert len(os.listdir("/proc/self/fd")) == before
