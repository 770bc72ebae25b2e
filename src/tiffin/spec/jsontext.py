"""JSON text without importing `json` (which costs 7 ms of `re`): the same C scanner and encoder.

Used wherever JSON is on a path that starts a container. The results are those of `json.loads` and
of `json.dumps(..., separators=(",", ":"), ensure_ascii=False)`.
"""

from __future__ import annotations

import _json

from tiffin.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _ScannerContext:
    """What `_json.make_scanner` reads its settings from (see CPython's json/scanner.py)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - only the pure Python scanner uses it

    @staticmethod
    def parse_constant(name: str) -> float:
        """Refuse NaN and the infinities, which JSON does not have."""
        message = f"json: {name} is not JSON"
        raise Corrupt(message)


_scan: Any = _json.make_scanner(_ScannerContext())  # type: ignore[arg-type]
_WHITESPACE = " \t\n\r"


def loads(text: str | bytes) -> Any:
    """Parse one JSON document; raise Corrupt for anything else (also NaN, trailing text, deep nesting)."""
    try:
        if isinstance(text, bytes):
            text = text.decode()
        text = text.strip(_WHITESPACE)
        value, end = _scan(text, 0)
    except (StopIteration, ValueError, RecursionError, SystemError) as error:
        # The C scanner cannot raise its JSONDecodeError while `json.decoder` is not imported
        # (SystemError then): say "where" with the real module, off every hot path.
        raise Corrupt(f"json: {_explain(text, error)}") from error
    if end != len(text):
        message = f"json: text after the document at character {end}"
        raise Corrupt(message)
    return value


def _explain(text: str | bytes, error: BaseException) -> str:
    import json

    try:
        json.loads(text)
    except (ValueError, RecursionError) as precise:
        return str(precise)
    return str(error)


def load_object(text: str | bytes) -> dict[str, Any]:
    """Parse a document that must be an object."""
    value = loads(text)
    if not isinstance(value, dict):
        message = "json: not an object"
        raise Corrupt(message)
    return value


def _refuse(value: object) -> Any:
    message = f"json: cannot write a {type(value).__name__}"
    raise TypeError(message)


def dumps(value: object) -> str:
    """Write compact JSON, keys in the order of the mapping."""
    return "".join(_encode(value, 0))


def dumps_bytes(value: object) -> bytes:
    """Write compact JSON as UTF-8; a lone surrogate, which UTF-8 does not have, becomes U+FFFD."""
    text = dumps(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text).encode()


# (markers, default, encoder, indent, key separator, item separator, sort_keys, skipkeys, allow_nan)
_encode: Any = _json.make_encoder(
    *(None, _refuse, _json.encode_basestring, None, ":", ",", False, False, False)
)
