"""Maps of sparse files: where a file's data lies among its holes. GNU tar manual, "Sparse Formats".

A map is a list of (offset, length) pairs in ascending order, as the archive gives it; `check` says
whether it fits the file.
"""

from __future__ import annotations

from tiffin.errors import Corrupt
from tiffin.layer import tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Extents = list[tuple[int, int]]

_LIMIT = 1 << 20  # extents of one file


def gnu_extents(tail: bytes, more: Callable[[], bytes]) -> tuple[Extents, int]:
    """Return the map and the real size of an old GNU sparse file; `more` returns the next block.

    `tail` is what stands in the header from byte 345 on, where ustar has its prefix.
    """
    size = tar.number(tail[138:150])
    extents = _slots(tail, 41, 4)
    extended = tail[137]
    while extended:
        block = more()
        if len(block) < tar.BLOCK or len(extents) > _LIMIT:
            raise Corrupt("tar: a sparse file's map without an end")
        extents += _slots(block, 0, 21)
        extended = block[504]
    return extents, size


def _slots(block: bytes, start: int, count: int) -> Extents:
    found = []
    for at in range(start, start + 24 * count, 24):
        offset, length = block[at : at + 12], block[at + 12 : at + 24]
        if not offset.strip(b"\0 ") and not length.strip(b"\0 "):
            break
        found.append((tar.number(offset), tar.number(length)))
    return found


def pax_extents(text: bytes) -> Extents:
    """Return the map of PAX format 0.1: offset,length,offset,length..."""
    numbers = text.split(b",")
    if len(numbers) % 2:
        raise Corrupt("tar: a sparse file's map with an odd number of numbers")
    values = [tar.pax_number(value, "GNU.sparse.map") for value in numbers]
    return list(zip(values[::2], values[1::2], strict=True))


def pax_extents_in_data(more: Callable[[], bytes]) -> Extents:
    """Return the map of PAX format 1.0: lines of numbers in the content's first blocks, the count first."""
    lines: list[bytes] = []
    rest = b""
    wanted = 1
    while len(lines) < wanted:
        block = more()
        if len(block) < tar.BLOCK:
            raise Corrupt("tar: a sparse file's map without an end")
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > tar.BLOCK + 20:
            raise Corrupt("tar: a sparse file's map without numbers")
        lines += whole
        if lines and wanted == 1:
            count = tar.pax_number(lines[0], "sparse map")
            if count > _LIMIT:
                raise Corrupt(f"tar: a sparse file with {count} pieces")
            wanted = 1 + 2 * count
    values = [tar.pax_number(value, "sparse map") for value in lines[1:wanted]]
    return list(zip(values[::2], values[1::2], strict=True))


def check(extents: Extents, *, size: int, stored: int) -> None:
    """Raise Corrupt unless the pieces ascend, lie inside the file and add up to what is stored."""
    end = total = 0
    for offset, length in extents:
        if offset < end or length < 0:
            raise Corrupt("its map of holes is out of order")
        end = offset + length
        total += length
    if end > size or total != stored:
        raise Corrupt("its map of holes does not fit its size")
