"""Digests and chain ids."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.spec import digest

digests = st.binary(max_size=8).map(digest.of)


@given(st.binary(max_size=64))
def test_a_digest_is_sha256_in_hex(data: bytes) -> None:
    """The digest of bytes is hashlib's, is valid, and is shown by its first twelve digits."""
    found = digest.of(data)
    assert found == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert digest.check(found) == found
    assert digest.short(found) == digest.hex_of(found)[:12]


@given(st.text(max_size=80) | st.none() | st.integers())
def test_all_else_is_refused(text: object) -> None:
    """Hostile text never becomes part of a path."""
    with pytest.raises(InvalidArgument):
        digest.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 63 + "\n",
        "md5:" + "a" * 32,
        "sha256:../" + "a" * 61,
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    """Upper case, a wrong length, another algorithm and path characters are no digest."""
    assert not digest.valid(text)


def test_the_empty_digest_is_that_of_nothing() -> None:
    """The constant is what it says."""
    assert digest.of(b"") == digest.EMPTY_SHA256


@given(st.lists(digests, max_size=5))
def test_chain_ids_follow_the_specification(diff_ids: list[str]) -> None:
    """ChainID(L0) = DiffID(L0); ChainID(L0|...|Ln) = digest of "ChainID(L0|...|Ln-1) DiffID(Ln)"."""
    chain = digest.chain_ids(diff_ids)
    assert len(chain) == len(diff_ids)
    for number, diff_id in enumerate(diff_ids):
        expected = digest.of(f"{chain[number - 1]} {diff_id}".encode()) if number else diff_id
        assert chain[number] == expected
