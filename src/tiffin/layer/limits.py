"""What an extraction may cost, and what it found: the values on both sides of the worker."""

from __future__ import annotations

from tiffin.spec.value import Value


class Limits(Value):
    """Bounds of one archive; beyond them it is taken for an attack and refused.

    `unpacked_bytes` bounds the tar and, apart from it, the files in it (sparse ones at their full length).
    `ratio` is unpacked to packed bytes, looked at above 16 GiB only: an honest gzip stays below 1032.
    """

    entries: int = 2_000_000
    name_length: int = 4096
    unpacked_bytes: int = 1 << 40
    ratio: int = 10_000


class Applied(Value):
    """One archive, unpacked. `digest` and `compressed_size` are of the bytes as read, `diff_id` and
    `tar_size` of the tar inside; `size` is the sum of its files' bytes, `compression` what was recognised.

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
