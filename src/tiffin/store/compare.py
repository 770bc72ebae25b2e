"""Two stacks of layers side by side, by their indexes, and one path down through the layers of a stack."""

from __future__ import annotations

import posix
import stat

from tiffin.layer import whiteout
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from tiffin.store.indexes import Entry, Merged


class Difference(Value):
    """One path that is not the same. `change` is A (added), C (changed) or D (removed), docker's letters.

    Sizes are the bytes of a regular file before and after, 0 for what is none.
    """

    change: str
    path: str
    before: int = 0
    after: int = 0


class Touch(Value):
    """What one layer did to a path: added, changed or deleted; `size` is the file's then."""

    layer: int
    action: str
    size: int = 0


def differences(left: Merged, right: Merged) -> list[Difference]:
    """Return what is different on the right, by path; everything in a folder that came or went is told.

    Changed is what has another kind, mode, owner, attributes, link text or content; times do not count.
    """
    old, new = left.entries, right.entries
    found = [path for path in old.keys() | new.keys() if _other(old.get(path), new.get(path))]
    found.sort(key=lambda path: path.split("/"))
    return [
        Difference(
            change="A" if path not in old else "C" if path in new else "D",
            path=f"/{path}",
            before=_size(old.get(path)),
            after=_size(new.get(path)),
        )
        for path in found
    ]


def _other(one: Entry | None, other: Entry | None) -> bool:
    return one is None or other is None or one[0] != other[0]


def _size(entry: Entry | None) -> int:
    return entry[0][5] if entry else 0


def touches(layers: Sequence[str], path: str, xattr: str) -> list[Touch]:
    """Return what each layer (host folders, bottom first) did to a canonical path, oldest first.

    A layer that only has the folder again, because it wrote something in it, did not touch it.
    """
    parts = [part for part in path.split("/") if part]
    found: list[Touch] = []
    before: os.stat_result | None = None
    for number, layer in enumerate(layers):
        hidden, info = _look(layer, parts, xattr)
        if info is None:
            if hidden and before is not None:
                found.append(Touch(layer=number, action="deleted"))
                before = None
            continue
        if before is None or hidden or not _is_same_folder(before, info):
            size = info.st_size if stat.S_ISREG(info.st_mode) else 0
            action = "added" if before is None else "changed"
            found.append(Touch(layer=number, action=action, size=size))
        before = info
    return found


def _is_same_folder(before: os.stat_result, now: os.stat_result) -> bool:
    looks = [(info.st_mode, info.st_uid, info.st_gid) for info in (before, now)]
    return stat.S_ISDIR(now.st_mode) and looks[0] == looks[1]


def _look(layer: str, parts: Sequence[str], xattr: str) -> tuple[bool, os.stat_result | None]:
    """Return whether a layer hides what is below at a path, and what it has there itself."""
    here, hidden = layer, whiteout.is_opaque(layer, xattr)
    info = posix.lstat(layer)
    for number, part in enumerate(parts):
        here = f"{here}/{part}"
        try:
            info = posix.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            return hidden, None
        if whiteout.is_whiteout(info):
            return True, None
        if not stat.S_ISDIR(info.st_mode):
            # In the middle of the path it takes the place of the folder that was below.
            return True, info if number == len(parts) - 1 else None
        hidden = hidden or whiteout.is_opaque(here, xattr)
    return hidden, info
