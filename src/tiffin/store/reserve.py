"""Room for removing: a file that is given up when the disk is full, because a removal writes before it frees.

SQLite appends to its WAL before a row is gone, and makes that file anew where nobody has the database open.
So the root has a file of a few megabytes. Whoever is about to remove something and finds less than that
removes the file first; the next removal that finds room again makes it anew.
"""

from __future__ import annotations

import os
import posix

from tiffin.store import atomic
from tiffin.store.database import RESERVE_SIZE

_PLENTY = 3 * RESERVE_SIZE


def settle(path: str) -> bool:
    """Give the file up where there is no more room than it has, or make it where there is plenty.

    Returns whether the disk is as good as full.
    """
    try:
        info = posix.statvfs(os.path.dirname(path))
        free = info.f_bavail * info.f_frsize
        if free < RESERVE_SIZE:
            atomic.remove_file(path)
            return True
        if free > _PLENTY and not os.path.exists(path):
            _make(path)
    except OSError:
        pass  # a folder that cannot be written says so itself, where it matters
    return False


def _make(path: str) -> None:
    temporary = atomic.temporary_name(path)
    descriptor = posix.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        posix.posix_fallocate(descriptor, 0, RESERVE_SIZE)
        atomic.replace(temporary, path)
    except OSError:
        atomic.remove_file(temporary)
        raise
    finally:
        posix.close(descriptor)
