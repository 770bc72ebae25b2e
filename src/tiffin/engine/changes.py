"""diff: what a container's own layer changes of its image."""

from __future__ import annotations

import os

from tiffin.spec.value import Value
from tiffin.store.overlay import Stack, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.engine.engine import Engine
    from tiffin.store.containers import ContainerRecord

CHANGED, ADDED, DELETED = "C", "A", "D"


class Change(Value):
    """One path and what happened to it: C, A or D."""

    path: str
    kind: str


def changes(engine: Engine, record: ContainerRecord) -> tuple[Change, ...]:
    """Return all changes, sorted by path. Mount points and what lies in mounts are none."""
    upper = f"{engine.store.layout.container(record.id)}/upper"
    if not os.path.isdir(upper):
        return ()
    mount = engine.store.snapshots.prepare(record.id, record.layers)
    # As it is mounted, so with the mount points that an image lacks.
    lower = [os.path.realpath(os.path.join(mount.base, name)) for name in mount.lower]
    xattr = engine.settings.privilege.xattr
    below, merged = Stack(lower, xattr), Stack([upper, *lower], xattr)
    return tuple(sorted(_walk(upper, "", below, merged), key=lambda change: change.path))


def _walk(folder: str, prefix: str, below: Stack, merged: Stack) -> Iterator[Change]:
    with os.scandir(folder) as entries:
        names = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    for name, info in names.items():
        path = f"{prefix}/{name}"
        known = _there(below, path)
        if is_whiteout(info):
            if known:
                yield Change(path=path, kind=DELETED)
            continue
        yield Change(path=path, kind=CHANGED if known else ADDED)
        if os.path.isdir(f"{folder}/{name}") and not os.path.islink(f"{folder}/{name}"):
            yield from _walk(f"{folder}/{name}", path, below, merged)
    # What an opaque folder hides has no mark of its own.
    for name in _names(below, prefix):
        path = f"{prefix}/{name}"
        if name not in names and not _there(merged, path):
            yield Change(path=path, kind=DELETED)


def _there(stack: Stack, path: str) -> bool:
    """Tell whether exactly this path is there: no symlink on the way counts."""
    canonical, node = stack.find(path, follow_last=False)
    return node is not None and canonical == path


def _names(stack: Stack, path: str) -> list[str]:
    canonical, node = stack.find(path or "/", follow_last=False)
    return stack.names(node) if node and node.is_folder and canonical == (path or "/") else []
