"""What the registry's tests share: small blobs, short patience, and the type of the `serve` fixture."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tiffin.registry.transport import Limits
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Asked, LoggedRegistry, Reply, ScriptedServer
    from tiffin.registry.client import Repository
    from tiffin.spec.blob import BlobReader

    AnyRegistry = LoggedRegistry
    Script = Callable[[Asked], Reply]
    Serve = Callable[[Script], tuple[Repository, ScriptedServer]]

QUICK = Limits(
    attempts=3, pause=0.01, longest_pause=0.02, patience=1, silence=0.3, commit=0.3, connect=2, window=0.2
)
"""For servers that fail on purpose."""
PATIENT = Limits(attempts=3, pause=0.01, connect=10, silence=20)
"""For real servers."""


def described(data: bytes, media_type: str = mediatype.OCI_LAYER) -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(media_type=media_type, digest=digests.of(data), size=len(data))


def read_all(reader: BlobReader) -> bytes:
    """Read to the verified end."""
    return b"".join(iter(functools.partial(reader.read, 64 << 10), b""))


def no_progress(_count: int) -> None:
    """Take no notice."""
