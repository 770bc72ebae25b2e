"""JSON text: the `json` module judges our shortcut to its C parts."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiffin.errors import Corrupt
from tiffin.spec import jsontext

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    scalars | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_writing_is_jsons_compact_form(value: object) -> None:
    """The text is byte for byte that of json.dumps without spaces and without escapes of letters."""
    assert jsontext.dumps(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@given(documents, st.sampled_from([None, 2]))
def test_reading_is_jsons(value: object, indent: int | None) -> None:
    """Any document reads as json.loads reads it, from text and from bytes."""
    text = json.dumps(value, indent=indent)
    assert jsontext.loads(text) == jsontext.loads(text.encode()) == value


@given(
    st.text('[]{}",:0123456789.eE+-truefalsn\\u ', max_size=30)
    | st.text(max_size=30)
    | st.binary(max_size=30)
)
@example("NaN")
@example("[-Infinity]")
@example("[" * 100_000)
@example("1" * 5000)
@example('{"a": 1} x')
@example('"\t"')
@example(b"\xff")
@example('{"a":1}'.encode("utf-16"))
@example("\ufeff{}")
def test_junk_is_corrupt_and_nothing_else_is_raised(text: str | bytes) -> None:
    """What json.loads refuses is refused with Corrupt; what it takes (constants aside) reads the same."""
    try:
        found = jsontext.loads(text)
    except Corrupt:
        return
    assert found == json.loads(text)


@given(st.text(st.characters(exclude_categories=[]), max_size=10))
@example("\ud800")
def test_any_text_can_be_written_as_bytes(text: str) -> None:
    """A lone surrogate (from hostile JSON or from an argument that is no UTF-8) is written as U+FFFD."""
    written = jsontext.dumps_bytes([text]).decode()
    clean = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert jsontext.loads(written) == [clean]


def test_what_has_no_json_is_a_programming_error() -> None:
    """A value that JSON does not have raises TypeError when written."""
    with pytest.raises(TypeError):
        jsontext.dumps({"a": object()})
    with pytest.raises(Corrupt, match="not an object"):
        jsontext.load_object("[]")
