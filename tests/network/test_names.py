"""DNS packets: what a container may send, and what it gets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt
from tiffin.network import names


def packet(
    name: str, kind: int = names.A, *, number: int = 7, questions: int = 1, more: bytes = b""
) -> bytes:
    """Return a question as a client makes it."""
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split(".")) + b"\0"
    head = struct.pack(">HHHHHH", number, 0x0100, questions, 0, 0, 1 if more else 0)
    return head + labels + struct.pack(">HH", kind, 1) + more


@given(st.binary(max_size=600))
def test_any_bytes_are_a_question_or_corrupt(data: bytes) -> None:
    """Hostile bytes end in our error, and in at most twelve bytes of an answer."""
    try:
        asked = names.question(data)
    except Corrupt:
        assert len(names.malformed(data)) in {0, 12}
    else:
        assert len(asked.name) <= 255


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet("web")[:11],
        packet("web")[:-1],
        packet("web", questions=2),
        packet("web")[:12] + b"\xc0\x0c\0\1\0\1",  # a name that points at itself
        packet("web")[:12] + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
        packet(".".join(["a" * 63] * 5)),
        b"\0\7\x81\x80" + packet("web")[4:],  # an answer
    ],
)
def test_cut_looped_and_oversized_questions_are_refused(data: bytes) -> None:
    """What is not one whole question is Corrupt."""
    with pytest.raises(Corrupt):
        names.question(data)


def test_an_answer_to_an_answer_is_none() -> None:
    """Two resolvers never talk to each other for ever."""
    assert names.malformed(b"\0\7\x81\x80" + bytes(8)) == b""


def book() -> names.Book:
    """Return the names of two containers on a network."""
    made = names.Book()
    made.add("net", ["web", "www", "0123456789ab"], ["10.0.0.2/24", "fd00::2/64"], {"linked": "web"})
    made.add("net", ["two", "www"], ["10.0.0.3/24"], {"linked": "web"})
    return made


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("web", names.A, ["10.0.0.2"]),
        ("WEB", names.A, ["10.0.0.2"]),
        ("web.net", names.A, ["10.0.0.2"]),
        ("0123456789ab", names.A, ["10.0.0.2"]),
        ("linked", names.A, ["10.0.0.2"]),
        ("web", names.AAAA, ["fd00::2"]),
        ("two", names.AAAA, []),
        ("two", 15, []),
        ("nobody", names.A, None),
        ("2.0.0.10.in-addr.arpa", names.PTR, ["web.net"]),
        ("9.0.0.10.in-addr.arpa", names.PTR, None),
        ("300.0.0.10.in-addr.arpa", names.PTR, None),
        (".".join("2" + "0" * 27 + "00df") + ".ip6.arpa", names.PTR, ["web.net"]),
    ],
)
def test_who_is_known(name: str, kind: int, found: list[str] | None) -> None:
    """Names, aliases, ids, links and addresses lead to each other; a name without such a record has none."""
    assert book().find(names.question(packet(name, kind))) == found


def test_shared_names_take_turns() -> None:
    """Whoever asks again gets the addresses in another order."""
    asked = names.question(packet("www"))
    made = book()
    assert {tuple(made.find(asked) or ()) for _ in range(4)} == {
        ("10.0.0.2", "10.0.0.3"),
        ("10.0.0.3", "10.0.0.2"),
    }


def test_an_answer_is_read_by_its_own_rules() -> None:
    """Number, question and record of an answer are where RFC 1035 has them."""
    asked = names.question(packet("web", number=513))
    data = names.answer(asked, ["10.0.0.2"])
    assert struct.unpack(">HHHHHH", data[:12]) == (513, 0x8580, 1, 1, 0, 0)
    assert data[12 : 12 + len(asked.raw)] == asked.raw
    assert data[-4:] == bytes((10, 0, 0, 2))
    assert data[-16:-4] == b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, names.SECONDS, 4)


def test_what_is_too_long_for_udp_is_cut_and_says_so() -> None:
    """A client that takes 512 bytes gets an empty answer with the bit that sends it to TCP."""
    asked = names.question(packet("many"))
    data = names.answer(asked, [f"10.0.0.{n}" for n in range(100)])
    cut = names.fit(data, asked)
    assert len(cut) <= 512
    assert int.from_bytes(cut[2:4], "big") & 0x0200
    wide = names.question(packet("many", more=b"\0\0\x29\x10\0\0\0\0\0\0\0"))
    assert names.fit(data, wide) == data
