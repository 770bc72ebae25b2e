"""Two stacks of layers side by side, and one path down through the layers of a stack.

What both stacks have from the same layers is the same without a look: a comparison costs what differs.
"""

from __future__ import annotations

import os
import posix
import stat

from tiffin.layer import attributes, whiteout
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.store.overlay import Node, Stack

_READ = 1 << 20


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


def differences(left: Stack, right: Stack) -> Iterator[Difference]:
    """Yield what is different on the right, by path; everything in a folder that came or went is told.

    Changed is what has another kind, mode, owner, attributes, link text or content; times do not count.
    """
    todo: list[tuple[str, Node | None, Node | None]] = [("/", left.root(), right.root())]
    while todo:
        path, old, new = todo.pop()
        if old and new and old.places == new.places:
            continue
        if old is None or new is None:
            yield Difference(change="A" if new else "D", path=path, before=_size(old), after=_size(new))
        elif not _is_same(left, right, old, new):
            yield Difference(change="C", path=path, before=_size(old), after=_size(new))
        prefix = path.rstrip("/")
        names = {*_names(left, old), *_names(right, new)}
        todo += [
            (f"{prefix}/{name}", _child(left, old, name), _child(right, new, name))
            for name in sorted(names, reverse=True)
        ]


def _size(node: Node | None) -> int:
    return node.info.st_size if node and stat.S_ISREG(node.info.st_mode) else 0


def _names(stack: Stack, node: Node | None) -> list[str]:
    return stack.names(node) if node and node.is_folder else []


def _child(stack: Stack, node: Node | None, name: str) -> Node | None:
    return stack.child(node, name) if node and node.is_folder else None


def _is_same(left: Stack, right: Stack, old: Node, new: Node) -> bool:
    a, b = old.info, new.info
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
        return False
    if _attributes(old.places[0]) != _attributes(new.places[0]):
        return False
    if stat.S_ISLNK(a.st_mode):
        return posix.readlink(old.places[0]) == posix.readlink(new.places[0])
    if not stat.S_ISREG(a.st_mode):
        return True
    return a.st_size == b.st_size and _has_same_content(left, right, old, new)


def _attributes(place: str) -> dict[str, bytes]:
    names = os.listxattr(place, follow_symlinks=False)
    belonging = (name for name in names if attributes.belongs(os.fsencode(name)))
    return {name: os.getxattr(place, name, follow_symlinks=False) for name in belonging}


def _has_same_content(left: Stack, right: Stack, old: Node, new: Node) -> bool:
    one, other = left.open_place(old.places[0]), right.open_place(new.places[0])
    try:
        if one is None or other is None:
            return False
        while True:
            data = posix.read(one, _READ)
            if data != posix.read(other, _READ):
                return False
            if not data:
                return True
    finally:
        for descriptor in (one, other):
            if descriptor is not None:
                posix.close(descriptor)


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
