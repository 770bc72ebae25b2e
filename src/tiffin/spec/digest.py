"""Digests: `sha256:` and 64 lower-case hex digits, kept as plain strings (OCI image-spec, descriptor.md)."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEX = frozenset("0123456789abcdef")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
EMPTY_SHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def valid(text: str) -> bool:
    """Tell whether this is a digest of a registered algorithm."""
    algorithm, _, encoded = text.partition(":")
    return _LENGTHS.get(algorithm) == len(encoded) and _HEX.issuperset(encoded)


def check(text: object) -> str:
    """Return the digest, or raise InvalidArgument for anything that is none."""
    if not isinstance(text, str) or not valid(text):
        message = f"invalid digest {text!r}: must be sha256: and 64 hex digits"
        raise InvalidArgument(message)
    return text


def of(data: bytes) -> str:
    """Return the sha256 digest of some bytes."""
    import hashlib

    return "sha256:" + hashlib.sha256(data).hexdigest()


def hex_of(digest: str) -> str:
    """Return what stands behind the algorithm."""
    return digest.partition(":")[2]


def short(digest: str) -> str:
    """Return the twelve characters that docker shows."""
    return hex_of(digest)[:12]


def chain_id(parent: str, diff_id: str) -> str:
    """Return the chain id of a layer over `parent` (the chain id below, or "" at the bottom).

    Source: OCI image-spec config.md, "Layer ChainID".
    """
    return of(f"{parent} {diff_id}".encode()) if parent else diff_id


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the chain id of every layer, bottom first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(chain_id(chain[-1] if chain else "", diff_id))
    return tuple(chain)
