"""What the upper folder of an overlay changes of the layers below it, as `diff` tells it."""

from __future__ import annotations

import os

from tiffin.store.overlay import Stack, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANGED, ADDED, DELETED = "C", "A", "D"


def of_upper(upper: str, lower: Sequence[str], xattr: str) -> list[tuple[str, str]]:
    """Return (path, letter) of all changes, sorted by path; `lower` is topmost first."""
    if not os.path.isdir(upper):
        return []
    return sorted(_walk(upper, "", Stack(lower, xattr), Stack([upper, *lower], xattr)))


def together(
    last: list[tuple[str, str]], merged: Stack, uppers: Sequence[str], lower: Sequence[str], xattr: str
) -> list[tuple[str, str]]:
    """Return what several folders on top of each other change of those below, as if they were one.

    `last` are the changes over `uppers` (topmost first), and `merged` shows what came of them all.
    """
    below = Stack(lower, xattr)
    touched: set[str] = set()
    each = (of_upper(upper, [*uppers[n:], *lower], xattr) for n, upper in enumerate(uppers, 1))
    for found in (last, *each):
        touched.update(path for path, _ in found)
        for path, kind in found:
            if kind == DELETED:  # what is there again hides what it had from below
                touched.update(_lost(below, merged, path))
    kinds = {(True, True): CHANGED, (False, True): ADDED, (True, False): DELETED}
    changes: dict[str, str] = {}
    for path in sorted(touched):
        kind = kinds.get((_there(below, path), _there(merged, path)), "")
        if kind and not (kind == DELETED and changes.get(path.rpartition("/")[0]) == DELETED):
            changes[path] = kind
    return sorted(changes.items())


def _lost(below: Stack, merged: Stack, path: str) -> Iterator[str]:
    """Yield what a folder that was deleted, and made again, has no more."""
    for name in _names(below, path) if _there(merged, path) else ():
        yield f"{path}/{name}"
        yield from _lost(below, merged, f"{path}/{name}")


def _walk(folder: str, prefix: str, below: Stack, merged: Stack) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        names = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    for name, info in names.items():
        path = f"{prefix}/{name}"
        known = _there(below, path)
        if is_whiteout(info):
            if known:
                yield path, DELETED
            continue
        yield path, CHANGED if known else ADDED
        if os.path.isdir(f"{folder}/{name}") and not os.path.islink(f"{folder}/{name}"):
            yield from _walk(f"{folder}/{name}", path, below, merged)
    # What an opaque folder hides has no mark of its own.
    for name in _names(below, prefix):
        path = f"{prefix}/{name}"
        if name not in names and not _there(merged, path):
            yield path, DELETED


def _there(stack: Stack, path: str) -> bool:
    """Tell whether exactly this path is there: no symlink on the way counts."""
    canonical, node = stack.find(path, follow_last=False)
    return node is not None and canonical == path


def _names(stack: Stack, path: str) -> list[str]:
    canonical, node = stack.find(path or "/", follow_last=False)
    return stack.names(node) if node and node.is_folder and canonical == (path or "/") else []
