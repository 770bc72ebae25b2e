"""Archives made to hurt: nothing leaves the directory, and every refusal names what it refuses."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import struct
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layer.trees import facts, folder, hardlink, member, raw_header, symlink, tar_of, unpack
from tiffin.errors import Corrupt, StorageFull, TiffinError, Unsupported
from tiffin.layer.apply import Limits
from tiffin.layer.limits import RATIO_FROM
from tiffin.layer.reader import TarReader
from tiffin.store.atomic import delete_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIMBING = (
    "../evil", "a/../../evil", "/../evil", "./../evil", "a/b/../../../evil", "..",
    "/".join([".."] * 40) + "/evil",
)  # fmt: skip
_NOBODY = 65534
OUTSIDE = {"secret": b"keep out"}


BY_ANYBODY = pytest.mark.parametrize("jail", ["root", "nobody"], indirect=True)
"""Once for root, whose workers make the folder their root, and once for somebody without any privilege."""


@pytest.fixture
def jail(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Yield a folder to unpack into; what lies beside it must stay as it is."""
    around = Path(tempfile.mkdtemp(prefix="tiffin-jail-"))  # pytest's own folders are root's alone
    try:
        (around / "outside").mkdir()
        (around / "outside/secret").write_bytes(OUTSIDE["secret"])
        (around / "jail").mkdir()
        with as_nobody(around) if getattr(request, "param", "") == "nobody" else nullcontext():
            yield around / "jail"
    finally:
        shutil.rmtree(around)


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give a tree to nobody and be nobody for the length of a block."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def untouched(jail: Path) -> bool:
    """Tell whether nothing happened beside the jail."""
    outside = jail.parent / "outside"
    return (
        sorted(os.listdir(jail.parent)) == ["jail", "outside"]
        and os.listdir(outside) == ["secret"]
        and (outside / "secret").read_bytes() == OUTSIDE["secret"]
        and (outside / "secret").stat().st_nlink == 1
    )


@BY_ANYBODY
@pytest.mark.parametrize("name", CLIMBING)
def test_a_name_that_leads_out_is_refused(jail: Path, name: str) -> None:
    """Names that climb above the top are refused for every kind, and named; nothing is made."""
    for hostile in (member(name, b"x"), folder(name), symlink(name, "/etc"), hardlink("x", name)):
        with pytest.raises(Corrupt, match="leads out of the archive"):
            unpack(tar_of(hostile), jail)
    assert untouched(jail)
    assert os.listdir(jail) == []


@BY_ANYBODY
def test_absolute_names_and_inner_dots_stay_inside(jail: Path) -> None:
    """Absolute names are below the top; dots that stay inside are resolved as docker does."""
    unpack(
        tar_of(member("/etc/passwd", b"x"), member("//a//b"), member("./c/./../d"), member("e/../f")), jail
    )
    assert {name for name in facts(str(jail)) if name != "."} == {"etc", "etc/passwd", "a", "a/b", "d", "f"}
    assert untouched(jail)


@BY_ANYBODY
def test_links_lead_nowhere_but_inside(jail: Path) -> None:
    """Writing through symbolic links, absolute, relative, chained or dangling, ends inside the top folder."""
    outside = jail.parent / "outside"
    up = "../" * 30 + str(outside).lstrip("/")
    data = tar_of(
        symlink("abs", str(outside)),
        member("abs/file1", b"x"),
        folder("abs"),
        symlink("rel", up),
        member("rel/file2", b"x"),
        symlink("a", "b"),
        symlink("b", "/c"),
        member("a/file3", b"x"),
        symlink("file", str(outside / "secret")),
        member("file", b"overwritten"),
        symlink("rel/secret", str(outside / "secret")),
        symlink("d", str(outside)),
        folder("d/sub", mode=0o777),
        hardlink("d/hard", "file"),
        member("d/.wh.secret"),
        member("d/fifo", type=tarfile.FIFOTYPE),
    )
    unpack(data, jail)
    assert untouched(jail)
    assert (jail / "file").read_bytes() == b"overwritten"
    assert (jail / "c/file3").is_file()
    assert (jail / str(outside).lstrip("/") / "file1").is_file()


@BY_ANYBODY
def test_what_comes_last_is_looked_for_anew(jail: Path) -> None:
    """A folder's looks and a late hard link, done at the end, go nowhere by a link that came meanwhile."""
    outside = jail.parent / "outside"
    (outside / "sub").mkdir(mode=0o700)
    data = tar_of(
        folder("d"),
        folder("d/sub", mode=0o777, mtime=5),
        member("e/implied/x"),
        hardlink("late", "d/secret"),
        symlink("d", str(outside)),
        symlink("e", str(outside)),
    )
    with pytest.raises(Corrupt, match="hard link to 'd/secret'"):
        unpack(data, jail)
    data = tar_of(folder("d"), folder("d/sub", mode=0o777, mtime=5), symlink("d", str(outside)))
    unpack(data, jail)
    info = (outside / "sub").stat()
    assert info.st_mode & 0o7777 == 0o700
    assert info.st_mtime != 5
    (outside / "sub").rmdir()
    assert untouched(jail)


@BY_ANYBODY
def test_folders_that_nobody_may_enter(jail: Path) -> None:
    """Folders and files without permissions are filled first and then closed, whoever unpacks."""
    data = tar_of(
        folder("closed", mode=0), member("closed/file", b"x", mode=0), folder("closed/in", mode=0o100),
        member("closed/in/file", b"x", mode=0o444, pax_headers={"SCHILY.xattr.user.a": "1"}),
        folder("./", mode=0o555),
    )  # fmt: skip
    unpack(data, jail)
    assert jail.stat().st_mode & 0o7777 == 0o555
    assert (jail / "closed").stat().st_mode & 0o7777 == 0
    (jail / "closed").chmod(0o700)
    (jail / "closed/in").chmod(0o700)
    assert os.getxattr(jail / "closed/in/file", "user.a") == b"1"
    (jail / "closed/in").chmod(0)
    delete_tree(str(jail))
    assert not jail.exists()


@BY_ANYBODY
def test_a_hard_link_to_the_host_finds_nothing(jail: Path) -> None:
    """A hard link's target is looked for in the directory alone, also through symbolic links."""
    outside = jail.parent / "outside"
    for target in (str(outside / "secret"), "/etc/passwd", "l/secret"):
        with pytest.raises(Corrupt, match="entry 'x': hard link to"):
            unpack(tar_of(symlink("l", str(outside)), hardlink("x", target)), jail)
    assert untouched(jail)


@BY_ANYBODY
def test_a_loop_of_links_is_named(jail: Path) -> None:
    """Names through a loop are Corrupt, not an endless walk."""
    data = tar_of(symlink("a", "b"), symlink("b", "a"), member("a/f"))
    with pytest.raises(Corrupt, match="entry 'a/f'"):
        unpack(data, jail)


@BY_ANYBODY
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("f"), member("f/below", b"x")], "entry 'f/below': .*'/f' is not a folder"),
        ([member("n" * 256)], "entry 'n+': file name too long"),
        ([member("/".join(["n" * 200] * 22))], "more than 4096 bytes"),
        ([symlink("s", "")], "entry 's': a symbolic link to nothing"),
        ([folder("d"), hardlink("x", "d")], "entry 'x': a hard link to the folder 'd'"),
        ([hardlink("x", "y"), hardlink("y", "x")], "entry 'x': hard link to 'y'"),
        ([hardlink("x", "")], "entry 'x'"),
        ([member(".", b"x")], "entry './': it would replace the top folder"),
        ([symlink("./", "/etc")], "replace the top folder"),
        ([member("c", type=tarfile.CHRTYPE)], "entry 'c': the character device 0:0"),
        ([member(".wh.")], "entry '.wh.': .*names nothing"),
        ([member("d/.wh..")], "names nothing"),
        ([member("d/.wh...")], "names nothing"),
        ([member(".wh.x/y")], "entry '.wh.x/y': it lies below a name that marks a deletion"),
        ([member("f", uid=2**32 - 1)], "entry 'f': no such owner: 4294967295:0"),
        ([member("f", gid=2**40)], "no such owner"),
        ([member("c", type=tarfile.CHRTYPE, devmajor=2**18, devminor=1)], "no such device"),
    ],
)
def test_nonsense_is_named(jail: Path, members: list[tuple[tarfile.TarInfo, bytes]], said: str) -> None:
    """What cannot be is Corrupt, with the entry's name in the message."""
    with pytest.raises(Corrupt, match=said):
        unpack(tar_of(*members), jail)
    assert untouched(jail)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"size": b"77777777777"}, "entry 'file': unexpected end"),
        ({"size": b"\x80" + b"\xff" * 11}, "files have more than 1099511627776 bytes"),
        ({"size": b"\xff" * 12}, "entry 'file': a size of -1 bytes"),
        ({"size": b"-0000000001"}, "a size of -1 bytes"),
        ({"size": b"12x45"}, "is no number"),
        ({"size": b"99999999999"}, "is no number"),
        ({"uid": b"\xff" * 8}, "no such owner"),
        ({"mtime": b"\x80" + b"\xff" * 11}, None),
        ({"kind": b"Z"}, "entries of type 'Z' are not known"),
        ({"kind": b"V"}, "entry 'file': tar entries of type 'V'"),
        ({"name": b""}, "an entry without a name"),
        ({"kind": b"x", "size": b"00010000000"}, "an extended header of 2097152 bytes"),
        ({"kind": b"L", "size": b"\xff" * 12}, "an extended header of -1 bytes"),
        ({"kind": b"x", "size": b"00000000010"}, "unexpected end after the beginning"),
        ({"kind": b"L"}, "unexpected end after the beginning"),
    ],
)
def test_absurd_headers_are_named(jail: Path, header: dict[str, bytes], said: str | None) -> None:
    """Sizes, owners, kinds and lengths beyond reason; a time beyond reason is only ignored."""
    data = raw_header(header) + bytes(1024 if not said or "of type" in said else 0)
    if said is None:
        unpack(data, jail)
        assert (jail / "file").stat().st_mtime == 0
        return
    with pytest.raises((Corrupt, Unsupported), match=said):
        unpack(data, jail)


@pytest.mark.parametrize(
    "body",
    [
        b"no length", b"0 a=b\n", b"99 a=b\n", b"7 path=\n", b"-9 a=bcd\n", b"8 path=x", b"9 path\x00ab\n",
        b"17 mtime=nan.0.0\n", b"10 uid=-1\n", b"12 size=1e9\n", b"6 a=b" + b"\xff" * 90,
    ],
)  # fmt: skip
def test_malformed_pax_records_are_refused(jail: Path, body: bytes) -> None:
    """A record that is not one, or says no number, is Corrupt."""
    data = raw_header({"kind": b"x", "size": b"%011o" % len(body)}) + body.ljust(512, b"\0") + raw_header()
    with pytest.raises(Corrupt, match="tar: "):
        unpack(data + bytes(1024), jail)


def sparse_header(body: bytes, size: int) -> bytes:
    """Return an entry whose PAX header says `body`."""
    return (
        raw_header({"kind": b"x", "size": b"%011o" % len(body)})
        + body.ljust(-(-len(body) // 512) * 512, b"\0")
        + raw_header({"size": b"%011o" % size})
    )


def pax(**records: str) -> bytes:
    """Write PAX records."""
    out = b""
    for key, value in records.items():
        rest = f" GNU.sparse.{key}={value}\n".encode()
        length = len(rest) + 2 if len(rest) < 97 else len(rest) + 3
        out += b"%d" % length + rest
    return out


@pytest.mark.parametrize(
    ("spots", "size", "said"),
    [
        ("0,5,3,5", "100", "out of order"),
        ("5,5,0,5", "100", "out of order"),
        ("0,5", "100", "does not fit"),
        ("0,10", "9", "does not fit"),
        ("0,99999999999999999999", "100", "does not fit"),
        ("0,5,7", "100", "odd number"),
        ("0,x", "100", "no number"),
        ("9223372036854775807,10", "9223372036854775817", "more than"),
    ],
)
def test_maps_of_holes_must_fit(jail: Path, spots: str, size: str, said: str) -> None:
    """A sparse file's map that overlaps, exceeds the file or disagrees with what is stored is Corrupt."""
    data = sparse_header(pax(size=size, map=spots), 10) + bytes(512) + bytes(1024)
    with pytest.raises(Corrupt, match=said):
        unpack(data, jail)


def test_a_map_in_the_data_must_end(jail: Path) -> None:
    """PAX format 1.0's map, cut short, endless or huge, is Corrupt."""
    head = pax(major="1", minor="0", realsize="100", name="holes")
    for content in (b"9\n1\n", b"1" * 2000, b"99999999\n", b"x\n", b"", b"1\n5\n"):
        data = sparse_header(head, len(content)) + content.ljust(2048, b"\0") + bytes(1024)
        with pytest.raises(Corrupt):
            unpack(data, jail)


def test_old_sparse_maps_must_end(jail: Path) -> None:
    """An old GNU map that goes on in blocks that never come is Corrupt."""
    block = bytearray(raw_header({"kind": b"S", "magic": b"ustar  \0"}))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(Corrupt, match="without an end"):
        unpack(bytes(block), jail)


def test_a_wrong_checksum_is_garbage(jail: Path) -> None:
    """The message names the last entry that was right."""
    with pytest.raises(Corrupt, match="garbage instead of a header after 'good'"):
        unpack(tar_of(member("good"))[:512] + raw_header(checksum=False), jail)
    with pytest.raises(Corrupt, match="garbage instead of a header after the beginning"):
        unpack(random.Random(1).randbytes(4096), jail)
    with pytest.raises(Corrupt, match="garbage after 'good'"):
        unpack(tar_of(member("good"))[:512] + bytes(512) + b"x" * 512, jail)


def test_a_signed_checksum_is_accepted(jail: Path) -> None:
    """Sums over signed bytes, as some old tars made them, are right as well."""
    block = bytearray(raw_header({"name": b"caf\xe9"}))
    block[148:156] = b"%06o\0 " % (int(block[148:154], 8) - 256)
    unpack(bytes(block) + bytes(1024), jail)
    assert os.listdir(os.fsencode(jail)) == [b"caf\xe9"]


@pytest.mark.parametrize("kind", ["", "gzip"])
def test_truncation_anywhere_is_corrupt(jail: Path, kind: str) -> None:
    """An archive that ends early is Corrupt wherever it is cut, and the entry is named where one is open."""
    data = tar_of(member("a", b"x" * 3000), member("l" * 150, b"y" * 700), folder("d"))
    if kind:
        data = gzip.compress(data)
        cuts = [1, 9, 20, len(data) // 2, len(data) - 9, len(data) - 1]
    else:
        cuts = [1, 511, 513, 512 + 3000, 512 + 3072 + 100, 512 + 3072 + 512, 512 + 3072 + 1024]
    for cut in cuts:
        with pytest.raises(Corrupt, match="unexpected end"):
            unpack(data[:cut], jail)
    if not kind:
        with pytest.raises(Corrupt, match="entry 'a': unexpected end"):
            unpack(data[:1000], jail)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(entries=2), "entry 'c': the archive has more than 2 entries"),
        (Limits(unpacked_bytes=4096), "the archive unpacks to more than 4096 bytes"),
        (Limits(name_length=10), "more than 10 bytes"),
    ],
)
def test_limits_hold(jail: Path, limits: Limits, said: str) -> None:
    """Entries, bytes and names have their bounds, which the message tells."""
    with pytest.raises(Corrupt, match=said):
        unpack(tar_of(member("a"), member("b"), member("c" * 1), member("n" * 20)), jail, limits=limits)


def test_growth_is_bounded() -> None:
    """An archive that grows more than so many times is refused, once it is large enough to do harm."""
    limits = Limits(ratio=1000)
    limits.check(RATIO_FROM, 1)
    limits.check(RATIO_FROM + 1, RATIO_FROM // 1000 + 1)
    with pytest.raises(Corrupt, match="more than 1000 times") as refused:
        limits.check(RATIO_FROM + 1, RATIO_FROM // 1000)
    assert "max_ratio" in refused.value.hint


def test_a_sparse_giant_is_refused(jail: Path) -> None:
    """A few bytes that claim a file beyond the limit do not make one."""
    data = sparse_header(pax(size=str(1 << 42), map=f"{(1 << 42) - 1},1"), 1) + bytes(512) + bytes(1024)
    with pytest.raises(Corrupt, match="files have more than"):
        unpack(data, jail)
    assert os.listdir(jail) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """Mount a file system of 256 KiB and 40 inodes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = "size=256k,nr_inodes=40"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tiffin-test", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_not_the_archives_fault(small_disk: Path) -> None:
    """No space and no inodes are StorageFull, with the entry's name; so is a read-only file system."""
    (small_disk / "a").mkdir()
    with pytest.raises(StorageFull, match="entry 'big': no space left on device"):
        unpack(tar_of(member("big", b"x" * 600_000)), small_disk / "a")
    (small_disk / "a/big").unlink()
    with pytest.raises(StorageFull, match=r"entry 'f.*no space left"):
        unpack(tar_of(*[member(f"f{number}") for number in range(50)]), small_disk / "a")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageFull, match="entry 'x': read-only file system"):
        unpack(tar_of(member("x")), small_disk / "a")


def test_an_attribute_without_room_is_named(jail: Path) -> None:
    """An attribute that the file system cannot hold is told apart from a full disk."""
    info, _ = member("f")
    info.pax_headers = {"SCHILY.xattr.user.big": "x" * 65537}
    with pytest.raises(Unsupported, match=r"entry 'f': extended attribute 'user.big' of 65537 bytes"):
        unpack(tar_of((info, b"")), jail)


def test_names_are_shown_safely(jail: Path) -> None:
    """Control characters and broken UTF-8 in names do not reach the terminal as they are."""
    header = raw_header({"name": b"\x1b[31m\xff\n", "kind": b"Z"})
    with pytest.raises(Unsupported) as error:
        unpack(header + bytes(1024), jail)
    assert "\x1b" not in error.value.message
    assert "\\xff" in error.value.message


def test_deep_trees_are_replaced(jail: Path) -> None:
    """A folder as deep as a name can be is removed when a file takes its place."""
    deep = "/".join(["d"] * 2000)
    unpack(tar_of(member(deep), member("d", b"flat")), jail)
    assert (jail / "d").read_bytes() == b"flat"


MUTATED = tar_of(
    folder("d"), member("d/f", b"content" * 100), hardlink("h", "d/f"), symlink("s", "d"), member("l" * 120),
    member("d/.wh.x"), member("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3), member("u", uid=2**30),
)  # fmt: skip


@settings(max_examples=400)
@given(st.data())
def test_any_bytes_end_in_a_known_way(data: st.DataObject) -> None:
    """Whatever bytes of a tar are changed, reading it ends, or raises one of our errors."""
    archive = bytearray(MUTATED)
    for _ in range(data.draw(st.integers(1, 6))):
        block = data.draw(st.integers(0, len(archive) // 512 - 1)) * 512
        start = block + data.draw(st.sampled_from([0, 100, 108, 124, 136, 148, 156, 157, 257, 345, 482]))
        new = data.draw(st.binary(min_size=1, max_size=14))
        archive[start : start + len(new)] = new
        if data.draw(st.booleans()):  # with a right checksum the parser is reached
            header = archive[block : block + 512]
            header[148:156] = b" " * 8
            archive[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    size = data.draw(st.integers(100, 5000))
    stream = io.BytesIO(bytes(archive[: data.draw(st.integers(0, len(archive)))]))
    reader = TarReader(lambda: stream.read(size))
    try:
        for entry in reader:
            assert len(reader.read()) == entry.stored
    except TiffinError as error:
        assert error.message  # noqa: PT017 - both ends are right


def test_many_mutations_leave_nothing_outside(jail: Path) -> None:
    """Mutated archives are really unpacked: each ends in a known way, and nothing beside the jail changes."""
    chance = random.Random(20)
    for _ in range(25):
        archive = bytearray(MUTATED)
        for _ in range(chance.randrange(1, 5)):
            block = chance.randrange(len(archive) // 512) * 512
            start = block + chance.choice([0, 100, 124, 156, 157, 345])
            new = chance.choice(
                [b"../../outside/secret", b"/", b"..", b"1", b"2", b"d", b"d/f", struct.pack("<q", 9)]
            )
            archive[start : start + len(new)] = new
            header = archive[block : block + 512]
            header[148:156] = b" " * 8
            archive[block + 148 : block + 156] = b"%06o\0 " % sum(header)
        try:
            unpack(bytes(archive), jail)
        except TiffinError as error:
            assert error.message  # noqa: PT017 - both ends are right
        assert untouched(jail)
