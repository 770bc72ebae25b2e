"""Compressed streams, judged by the tools that everyone else uses."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import struct
import subprocess

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.layer.compression import Compressor, Decompressor, sniff

KINDS = ("gzip", "zstd", "xz", "bzip2")
PACK = {
    "": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
TOOL = {"gzip": "gzip", "zstd": "zstd", "xz": "xz", "bzip2": "bzip2"}
TEXT = b"".join(b"%d lines of a layer\n" % number for number in range(40000))


def unpack(kind: str, *parts: bytes) -> bytes:
    decompressor = Decompressor(kind)
    out = b"".join(map(decompressor.feed, parts))
    decompressor.finish()
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_recognised_by_its_first_bytes(kind: str) -> None:
    """The magic of every kind is known; plain tar, short and empty input are none of them."""
    assert sniff(PACK[kind](b"x")[:6]) == kind
    assert sniff(b"") == sniff(b"\x1f") == sniff(b"etc/\0\0") == ""


def test_a_skippable_frame_in_front_is_zstd() -> None:
    """A stream that begins with a skippable frame is recognised, and the frames are skipped."""
    skip = struct.pack("<II", 0x184D2A53, 3) + b"abc"
    data = skip + PACK["zstd"](b"one") + skip + PACK["zstd"](b"two") + skip
    assert sniff(data) == "zstd"
    assert unpack("zstd", data) == b"onetwo"


@pytest.mark.parametrize("kind", ["", *KINDS])
@given(sizes=st.lists(st.integers(1, 4000), min_size=1), members=st.integers(1, 3))
def test_members_and_cuts_do_not_matter(kind: str, sizes: list[int], members: int) -> None:
    """However the input is cut and in however many members it comes, the whole comes out."""
    text = TEXT[:30000]
    data = PACK[kind](text) * members
    parts = []
    position = 0
    while position < len(data):
        size = sizes[len(parts) % len(sizes)]
        parts.append(data[position : position + size])
        position += size
    assert unpack(kind, *parts) == text * members


@pytest.mark.parametrize("kind", KINDS)
def test_byte_by_byte(kind: str) -> None:
    """Even one byte at a time, with a name in gzip's header."""
    data = PACK[kind](b"hello" * 100)
    if kind == "gzip":
        data = subprocess.run(["gzip", "-N"], input=b"hello" * 100, capture_output=True, check=True).stdout
    assert unpack(kind, *[data[i : i + 1] for i in range(len(data))]) == b"hello" * 100


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 4, 9, 30])
def test_truncation_is_found(kind: str, cut: int) -> None:
    """A stream that ends early is Corrupt, wherever it ends."""
    data = PACK[kind](TEXT)
    with pytest.raises(Corrupt, match=kind):
        unpack(kind, data[:-cut])
    with pytest.raises(Corrupt, match="unexpected end"):
        unpack(kind, data[:cut])


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_is_found(kind: str) -> None:
    """A flipped bit or rubbish behind the end is Corrupt; zeros behind the end are tape padding."""
    data = bytearray(PACK[kind](TEXT))
    assert unpack(kind, bytes(data) + bytes(700)) == TEXT
    for trailer in (b"garbage", bytes(3) + b"x"):
        with pytest.raises(Corrupt):
            unpack(kind, bytes(data) + trailer)
    if kind != "zstd":  # whose command-line default has no checksum
        for position in (len(data) // 2, len(data) - 6):
            broken = bytearray(data)
            broken[position] ^= 0x10
            with pytest.raises(Corrupt):
                unpack(kind, bytes(broken))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_comes_in_bounded_pieces(kind: str) -> None:
    """Of 120 MB of zeros, no more than 67 MB stand in memory at once."""
    zeros = bytes(1 << 20)
    packer = Compressor(kind, {"gzip": 3, "zstd": 19, "xz": 1, "bzip2": 9}[kind])
    data = b"".join([packer.feed(zeros) for _ in range(120)]) + packer.finish()
    pieces = [len(piece) for piece in Decompressor(kind).pieces(data)]
    assert sum(pieces) == 120 << 20
    assert max(pieces) <= 67 << 20


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_packed_is_read_by_the_common_tool(kind: str) -> None:
    """gzip, zstd, xz and bzip2 themselves accept it; twice the same is the same bytes."""
    noise = random.Random(kind).randbytes(100_000)

    def pack() -> bytes:
        packer = Compressor(kind)
        return packer.feed(TEXT) + packer.feed(b"") + packer.feed(noise) + packer.finish()

    data = pack()
    assert pack() == data
    assert sniff(data) == kind
    assert unpack(kind, data) == TEXT + noise
    judge = subprocess.run([TOOL[kind], "-dc"], input=data, capture_output=True, check=True)
    assert judge.stdout == TEXT + noise


def test_gzip_says_nothing_of_its_maker() -> None:
    """No time, no name, unknown system: the header is the same everywhere."""
    assert Compressor("gzip").feed(os.urandom(1 << 20))[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_plain_bytes_pass_through() -> None:
    """The kind "" changes nothing, and never ends too early."""
    packer = Compressor("")
    assert packer.feed(b"ab") + packer.finish() == b"ab"
    assert unpack("", b"ab", b"", b"c") == b"abc"


def test_unknown_kinds_are_refused() -> None:
    """A kind that is not known says which are."""
    for make in (Compressor, Decompressor):
        with pytest.raises(InvalidArgument) as error:
            make("lzip")
        assert "gzip" in error.value.hint
