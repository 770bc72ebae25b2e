"""What an extraction may cost, and what it found: the values on both sides of the worker."""

from __future__ import annotations

from tiffin.errors import Corrupt
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.settings import Settings


RATIO_FROM = 1 << 34
"""Bytes from which on an archive's growth is looked at: a smaller one does no harm."""
CHANGE = "tiffin.toml can raise max_entries, max_name_length, max_unpacked_bytes and max_ratio"
"""What to do about an honest archive beyond a limit."""


class Limits(Value):
    """Bounds of one archive; beyond them it is taken for an attack and refused.

    `unpacked_bytes` bounds the tar and, apart from it, the files in it (sparse ones at their full length).
    `ratio` is unpacked to packed bytes, looked at above `RATIO_FROM` only: an honest gzip stays below 1032.
    """

    entries: int = 2_000_000
    name_length: int = 4096
    unpacked_bytes: int = 1 << 40
    ratio: int = 10_000

    def check(self, unpacked: int, packed: int) -> None:
        """Raise Corrupt if so many bytes, unpacked from so many, are too many."""
        if unpacked > self.unpacked_bytes:
            message = f"the archive unpacks to more than {self.unpacked_bytes} bytes"
            raise Corrupt(message, hint=CHANGE)
        if unpacked > RATIO_FROM and unpacked > self.ratio * packed:
            message = f"the archive unpacks to more than {self.ratio} times its size"
            raise Corrupt(message, hint=CHANGE)

    @staticmethod
    def of(settings: Settings) -> Limits:
        """Return what the settings say."""
        return Limits(
            entries=settings.max_entries,
            name_length=settings.max_name_length,
            unpacked_bytes=settings.max_unpacked_bytes,
            ratio=settings.max_ratio,
        )


class Applied(Value):
    """One archive, unpacked. `digest` ("" if its file grew) and `compressed_size` are of the bytes as read,
    `diff_id` and `tar_size` of the tar inside; `size` is the sum of its files' bytes, `compression` what was
    recognised.

    `implied` are folders (relative paths, "" is the top) that no entry described, made because something lies
    in them: root's, 0755, time 0. A store gives them the attributes that the layers below have.
    """  # noqa: D205 - the first sentence needs two lines

    diff_id: str
    size: int
    entries: int
    digest: str
    compressed_size: int
    tar_size: int
    compression: str
    implied: tuple[str, ...] = ()
