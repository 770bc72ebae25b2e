"""Egress lists as they are written, and what answers of name servers say."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.network import egress, names


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("Example.ORG.", "example.org"),
        ("example.org:443", "example.org:443/tcp"),
        ("*.example.org:53/udp", "*.example.org:53/udp"),
        ("db", "db"),
        ("10.0.0.7/8", "10.0.0.0/8"),
        ("10.0.0.0/8:443", "10.0.0.0/8:443/tcp"),
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "fd00::1"),
        ("[fd00::/8]:443/udp", "[fd00::/8]:443/udp"),
        ("[fd00::1]", "fd00::1"),
        ("::/0", "::/0"),
        ("10.0.0.1:5060/sctp", "10.0.0.1:5060/sctp"),
    ],
)
def test_entries(text: str, usual: str) -> None:
    """An entry is read, and its usual form is the same entry."""
    entry = egress.parse(text)
    assert str(entry) == usual
    assert egress.parse(usual) == entry


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":443",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "a/tcp",
            "a:1/icmp",
            "a b",
            "a..b",
            "-/8",
            "10.0.0.0/33",
        ),
        *(
            "1.2.3",
            "1.2.3.4.5",
            "[fd00::1]443",
            "[a",
            "fd00::1:443:",
            "*.*",
            "x*.y",
            "*",
            "a" * 64,
            "a,b",
            '"',
        ),
    ],
)
def test_what_is_no_entry(text: str) -> None:
    """What cannot be read is refused, and told how entries look."""
    with pytest.raises(InvalidArgument) as caught:
        egress.parse(text)
    assert "example.org:443" in caught.value.hint


@given(st.text(max_size=30))
def test_no_text_becomes_rules_of_its_own(text: str) -> None:
    """Whatever is read, nothing but letters, digits and the signs of entries gets into rules."""
    with contextlib.suppress(InvalidArgument):
        assert set(str(egress.parse(text))) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_:/[]*")


def test_a_wildcard_is_about_what_is_below() -> None:
    """`*.a.b` means names below a.b, not a.b itself, and not those that only end alike."""
    entry = egress.parse("*.a.b")
    assert [entry.is_about(n) for n in ("x.a.b", "y.x.a.b", "a.b", "xa.b")] == [True, True, False, False]


def _question(name: str, kind: int = names.A) -> names.Question:
    labels = b"".join(bytes((len(p),)) + p.encode() for p in name.split("."))
    head = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0)
    return names.question(head + labels + b"\0" + struct.pack(">HH", kind, 1))


def _answer(asked: names.Question, *records: bytes) -> bytes:
    return struct.pack(">HHHHHH", 7, 0x8180, 1, len(records), 0, 0) + asked.raw + b"".join(records)


def _record(owner: bytes, kind: int, data: bytes, seconds: int = 60) -> bytes:
    return owner + struct.pack(">HHIH", kind, 1, seconds, len(data)) + data


def test_addresses_of_an_answer_follow_aliases_from_the_question() -> None:
    """What counts are addresses of the name asked for, and of those that it is said to stand for."""
    asked = _question("a.test")
    far, other = b"\3far\4test\0", b"\5other\4test\0"
    packet = _answer(
        asked,
        _record(b"\xc0\x0c", 5, far),
        _record(far, 1, bytes((192, 0, 2, 1)), 5),
        _record(other, 1, bytes((192, 0, 2, 2))),
        _record(far, 28, bytes(15) + b"\1"),
        _record(far, 1, b"\1\2\3"),
    )
    assert names.addresses(packet, asked) == [("192.0.2.1", 5), ("::1", 60)]


@given(st.binary(max_size=300), st.integers(0, 9))
def test_no_answer_hangs_or_breaks_the_reader(data: bytes, count: int) -> None:
    """Records of any bytes are addresses, or refused: pointers that lead in circles too."""
    asked = _question("a.test")
    packet = struct.pack(">HHHHHH", 7, 0x8180, 1, count, 0, 0) + asked.raw + data
    with contextlib.suppress(Corrupt, struct.error):
        assert all(seconds >= 0 for _, seconds in names.addresses(packet, asked))


def test_a_question_of_our_own_has_nothing_of_the_askers() -> None:
    """Case, extensions and further bytes of a question do not reach a server."""
    packet = struct.pack(">HHHHHH", 7, 0x130, 1, 0, 0, 1) + b"\1A\4tEsT\0" + struct.pack(">HH", 1, 1)
    packet += b"\0\0\x29\x10\0\0\0\0\0\0\6\0\1\0\2hi" + b"secret"
    plain = names.plain(names.question(packet))
    assert plain[12:24] == b"\1a\4test\0\0\1\0\1"
    assert plain[:12] == struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 1)
    assert len(plain) == 24 + 11


def test_names_may_not_stand_for_the_host_or_groups() -> None:
    """A name that leads to loopbacks, link-local addresses or groups opens nothing."""
    nowhere = (
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
    )
    assert not any(map(egress.may_stand_for, (*nowhere, "ff02::1")))
    assert all(map(egress.may_stand_for, ("10.0.0.1", "192.0.2.1", "2001:db8::1")))
