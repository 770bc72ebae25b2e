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
    from typing import Protocol

    from tests.servers import Asked, LoggedRegistry, Reply, ScriptedServer
    from tiffin.registry.client import Repository
    from tiffin.spec.blob import BlobReader

    AnyRegistry = LoggedRegistry
    Script = Callable[[Asked], Reply]

    class Serve(Protocol):
        """The `serve` fixture: starts a scripted registry, returns a client of it, and it."""

        def __call__(self, script: Script, limits: Limits = ...) -> tuple[Repository, ScriptedServer]:
            """Start it; both end with the test."""


QUICK = Limits(attempts=3, pause=0.01, longest_pause=0.02, patience=1)
"""Tries again at once, and waits as long as users do: the machine may be slow, and a test that wants short
patience shortens the one limit that it is about."""


def described(data: bytes, media_type: str = mediatype.OCI_LAYER) -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(media_type=media_type, digest=digests.of(data), size=len(data))


def read_all(reader: BlobReader) -> bytes:
    """Read to the verified end."""
    return b"".join(iter(functools.partial(reader.read, 64 << 10), b""))


def no_progress(_count: int) -> None:
    """Take no notice."""
