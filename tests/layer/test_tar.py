"""Headers and extensions as bytes, with Python's tarfile as the independent reader."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layer.trees import folder, hardlink, member, raw_header, symlink, tar_of
from tiffin.errors import Corrupt
from tiffin.layer import tar
from tiffin.layer.reader import TarReader
from tiffin.layer.tar import Entry

names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
ids = st.integers(0, 2**32 - 2)
times = st.integers(-(2**40), 2**33 * 10**9 * 4)


def reader_of(data: bytes, size: int = 1000) -> TarReader:
    stream = io.BytesIO(data)
    return TarReader(lambda: stream.read(size))


@given(path=paths, mode=st.integers(0, 0o7777), uid=ids, gid=ids, mtime=times, link=paths, value=st.binary())
def test_headers_say_the_same_to_everyone(  # noqa: PLR0917 - a header's fields
    path: str, mode: int, uid: int, gid: int, mtime: int, link: str, value: bytes
) -> None:
    """What is encoded is read alike by tarfile and by our reader: names, owners, times, attributes."""
    entry = Entry(path.encode(), tar.SYMLINK, mode=mode, uid=uid, gid=gid, mtime=mtime, link=link.encode())
    entry.xattrs = {b"user.x": value}
    data = tar.encode(entry) + tar.END
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        info = archive.next()
    assert info is not None
    assert (info.name, info.linkname) == (path, link)
    assert (info.mode, info.uid, info.gid) == (mode, uid, gid)
    assert abs(float(info.mtime) - mtime / 10**9) < 0.001
    ours = reader_of(data).next()
    assert ours is not None
    assert (ours.name, ours.link, ours.mtime) == (path.encode(), link.encode(), mtime)
    assert (ours.mode, ours.uid, ours.gid, ours.xattrs) == (mode, uid, gid, {b"user.x": value})


@given(
    path=paths, content=st.binary(max_size=3000), cut=st.integers(1, 4000), form=st.sampled_from([0, 1, 2])
)
def test_what_tarfile_writes_is_read(path: str, content: bytes, cut: int, form: int) -> None:
    """Each of tarfile's formats, cut anyhow, gives names and content back; unread content is skipped."""
    if form == tarfile.USTAR_FORMAT:
        path = "plain"
    data = tar_of(member("first", b"1" * 700), member(path, content), folder("d"), form=form)
    reader = reader_of(data, cut)
    assert reader.next().path == b"first"
    entry = reader.next()
    assert (entry.name.decode(), reader.read()) == (path, content)
    assert reader.next().kind == tar.FOLDER
    assert reader.next() is None
    assert reader.next() is None


def test_kinds_have_their_fields() -> None:
    """Each kind of entry is told apart, with link, device and clean path."""
    data = tar_of(
        folder("./d/"), symlink("d/s", "../x"), hardlink("d/h", "./d/s"),
        member("c", type=tarfile.CHRTYPE, devmajor=5, devminor=260), member("f", type=tarfile.FIFOTYPE),
        member("cont", b"abc", type=tarfile.CONTTYPE), form=tarfile.GNU_FORMAT,
    )  # fmt: skip
    found = [(e.path, e.kind, e.link, e.major, e.minor, e.size) for e in reader_of(data)]
    assert found == [
        (b"d", tar.FOLDER, b"", 0, 0, 0),
        (b"d/s", tar.SYMLINK, b"../x", 0, 0, 0),
        (b"d/h", tar.LINK, b"./d/s", 0, 0, 0),
        (b"c", tar.CHARACTER, b"", 5, 260, 0),
        (b"f", tar.FIFO, b"", 0, 0, 0),
        (b"cont", tar.REGULAR, b"", 0, 0, 3),
    ]


def test_old_archives_mark_folders_with_a_slash() -> None:
    """Before ustar a folder was a file whose name ends in a slash; it has no content."""
    data = raw_header({"name": b"dir/", "kind": b"\0", "magic": b""}) + raw_header() + tar.END
    assert [(e.path, e.kind) for e in reader_of(data)] == [(b"dir", tar.FOLDER), (b"file", tar.REGULAR)]


def test_links_have_no_content_whatever_they_claim() -> None:
    """Hard links with the size of their file, as some tars write them, are followed by the next header."""
    data = (
        raw_header({"kind": b"1", "link": b"x", "size": b"00000005000"})
        + raw_header({"name": b"n"})
        + tar.END
    )
    assert [(e.path, e.size) for e in reader_of(data)] == [(b"file", 0), (b"n", 0)]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        (b"a", b"a"), (b"./a/", b"a"), (b"/a//b/", b"a/b"), (b".", b""), (b"./", b""), (b"/", b""),
        (b"..a/.b", b"..a/.b"),
        (b"a/../b", b"b"), (b"a/./b/..", b"a"), (b"././a", b"a"), (b".hidden", b".hidden"), (b"./.", b""),
        (b"a/..", b""), (b".//a", b"a"), (b"a/...", b"a/..."),
    ],
)  # fmt: skip
def test_names_are_cleaned_as_docker_does(name: bytes, clean: bytes) -> None:
    """Relative to the top, without empty and dot parts."""
    assert tar.clean(name) == clean


@given(st.lists(st.sampled_from([b"a", b"b", b".", b"..", b""]), min_size=1, max_size=8).map(b"/".join))
def test_clean_names_never_climb(name: bytes) -> None:
    """A clean name has no dots and no slash at either end, or there is none."""
    try:
        clean = tar.clean(name)
    except Corrupt:
        return
    assert not {b".", b".."} & set(clean.split(b"/"))
    assert clean == clean.strip(b"/")
    assert b"//" not in clean


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644), (b"   644 \0", 0o644), (b"644     ", 0o644), (b"\0" * 8, 0), (b"        ", 0),
        (b"77777777", 8**8 - 1),
        (b"\x80" + b"\0" * 6 + b"\x07", 7), (b"\xff" * 8, -1),
        (b"\xff" * 7 + b"\xfe", -2),
        (b"\x80" + bytes(3) + b"\xff\xff\xff\xfe", 2**32 - 2), (b"-0000001", -1),
        (b"644\0junk", 0o644),
    ],
)  # fmt: skip
def test_numbers(field: bytes, value: int) -> None:
    """Octal with any padding, and GNU's base-256, negative ones included."""
    assert tar.number(field) == value


@pytest.mark.parametrize("field", [b"8       ", b"0x10    ", b"1 1     ", b"a", b"1_0     "])
def test_what_is_no_number(field: bytes) -> None:
    """Garbage in a number's place is Corrupt."""
    with pytest.raises(Corrupt):
        tar.number(field)


@given(st.integers(-(2**62), 2**62))
def test_times_survive_to_the_nanosecond(when: int) -> None:
    """A PAX time is the shortest decimal, and read back exactly."""
    text = tar.format_time(when)
    assert tar.pax_time(text) == when
    assert not text.endswith(b"0") or b"." not in text


@given(st.binary(max_size=512).map(lambda data: data.ljust(512, b"\xff")))
def test_the_quick_checksum_is_the_sum(block: bytes) -> None:
    """adler32 in halves gives the plain sum of the bytes."""
    assert tar.checksum(block) == sum(block[:148]) + 8 * 32 + sum(block[156:])


# A sparse file's map in PAX format 0.0 comes as repeated records and is read as one.
_KEYS = st.binary(min_size=1, max_size=30).filter(
    lambda k: b"=" not in k and not k.startswith(b"GNU.sparse.")
)


@given(st.dictionaries(_KEYS, st.binary(max_size=300)))
def test_records_say_their_own_length(records: dict[bytes, bytes]) -> None:
    """PAX records of any length, around every power of ten, are read back."""
    assert tar.pax_records(tar.pax_body(records.items())) == records


@given(st.binary(min_size=1, max_size=40))
def test_attribute_names_survive(name: bytes) -> None:
    """Also those with the signs that a PAX key cannot hold."""
    assert tar.xattr_name(tar.xattr_key(name)) == name
    assert b"=" not in tar.xattr_key(name)


@pytest.mark.parametrize("length", [*range(99, 103), *range(154, 160), *range(250, 260), 1000])
@pytest.mark.parametrize("shape", ["flat", "one slash", "deep"])
def test_names_are_split_where_ustar_can(length: int, shape: str) -> None:
    """A name that fits prefix and name needs no PAX record; both ways it is read back."""
    step = {"flat": length + 1, "one slash": 150, "deep": 10}[shape]
    name = "".join("/" if index % step == step - 1 else "n" for index in range(length)).strip("/").encode()
    data = tar.encode(Entry(name)) + tar.END
    split = tar.split_name(name)
    assert (len(data) == 512 + 1024) == (split is not None)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [name.decode()]
    entry = reader_of(data).next()
    assert entry is not None
    assert entry.name == name


def test_sizes_beyond_octal() -> None:
    """A file of 8 GiB and more has its size in a PAX record."""
    data = tar.encode(Entry(b"big", size=8**11))
    info = tarfile.TarFile(fileobj=io.BytesIO(data)).next()
    assert info is not None
    assert info.size == 8**11


def test_skipping_without_reading() -> None:
    """A source that can seek passes over content that nobody wants, and offsets stay right."""
    data = tar_of(member("a", b"1" * 100_000), member("b", b"2" * 10))
    stream = io.BytesIO(data)
    reader = TarReader(lambda: stream.read(1024), skip=lambda size: stream.seek(size, 1))
    found = {entry.path: reader.offset for entry in reader}
    assert data[found[b"b"] :][:10] == b"2" * 10
