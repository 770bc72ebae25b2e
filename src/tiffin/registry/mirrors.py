"""A repository read through the mirrors that the settings name for its registry; the registry itself is last.

Whatever is wrong with a mirror, the next one is asked, and what is told in the end is what the registry said.
Nothing is ever written to a mirror.
"""

from __future__ import annotations

from tiffin.errors import Interrupted, TiffinError
from tiffin.registry.client import Repository
from tiffin.settings import RegistrySettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeVar

    from tiffin.registry.session import RateLimit
    from tiffin.registry.transport import Limits
    from tiffin.settings import Settings
    from tiffin.spec.blob import BlobReader
    from tiffin.spec.descriptor import Descriptor
    from tiffin.spec.reference import Reference

    Answer = TypeVar("Answer")


class Mirrored:
    """One repository as it is pulled from. Thread-safe; close it, or use it as a context."""

    def __init__(self, reference: Reference, settings: Settings, *, limits: Limits | None = None) -> None:
        """Prepare; nothing is asked yet."""
        self.reference = reference
        said = settings.registries.get(reference.domain, RegistrySettings())
        places = [reference.replace(domain=mirror) for mirror in said.mirrors] + [reference]
        self._places = [Repository(place, settings, limits=limits) for place in places]
        self._first = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        for place in self._places:
            place.close()

    def stop(self) -> None:
        """Have transfers of other threads end where they would be tried again (Interrupted)."""
        for place in self._places:
            place.stop()

    def resolve(self, wanted: str = "") -> tuple[Descriptor, bytes]:
        """See `Repository.resolve`."""
        return self._ask(lambda place: place.resolve(wanted))

    def head(self, wanted: str = "") -> Descriptor | None:
        """See `Repository.head`."""
        return self._ask(lambda place: place.head(wanted))

    def tags(self) -> list[str]:
        """Return every tag, as the registry itself knows them."""
        return self._places[-1].tags()

    def open_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open a blob; the reader verifies it."""
        return self._ask(lambda place: place.open_blob(descriptor))

    def fetch_blob(self, descriptor: Descriptor, offset: int = 0) -> Relay:
        """Open a blob (not a manifest) from an offset on, for somebody who verifies its digest himself."""
        return Relay(self._places, self._first, descriptor, offset)

    def distrust(self, reader: Relay) -> bool:
        """Leave out the mirror that gave wrong bytes; False when it was the registry itself."""
        if reader.place + 1 == len(self._places):
            return False
        self._first = max(self._first, reader.place + 1)
        return True

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the registry (or the mirror) announced last of how often it may be asked."""
        return next((p.session.rate_limit for p in self._places if p.session.rate_limit), None)

    def _ask(self, question: Callable[[Repository], Answer]) -> Answer:
        """Return the first answer; the place that gave it is the first to be asked from now on."""
        for position in range(self._first, len(self._places)):
            try:
                answer = question(self._places[position])
            except Interrupted:
                raise
            except TiffinError:
                if position + 1 == len(self._places):
                    raise
            else:
                self._first = max(self._first, position)
                return answer
        raise AssertionError


class Relay:
    """One blob's bytes from wherever they come: what breaks off at a mirror is gone on with at the next."""

    def __init__(self, places: list[Repository], first: int, descriptor: Descriptor, offset: int) -> None:
        """Prepare; the first read opens it."""
        self.place = first
        self._places = places
        self._descriptor = descriptor
        self._offset = offset
        self._reader: BlobReader | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end; raises what the registry itself says."""
        while True:
            try:
                if self._reader is None:
                    self._reader = self._places[self.place].fetch_blob(self._descriptor, self._offset)
                piece = self._reader.read(size)
            except Interrupted:
                raise
            except TiffinError:
                if self.place + 1 == len(self._places):
                    raise
                self.close()
                self.place += 1
            else:
                self._offset += len(piece)
                return piece

    def close(self) -> None:
        """Give the connection back; a half-read one is dropped."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
