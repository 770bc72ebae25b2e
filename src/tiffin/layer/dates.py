"""Times of a reproducible layer: nothing in it is younger than one moment."""

from __future__ import annotations

import os


def clamp(directory: str, latest_ns: int) -> None:
    """Give everything below a directory that changed after a moment (ns since 1970) that moment.

    Symbolic links are not followed; what is older keeps its time, as BuildKit's `rewrite-timestamp` has it.
    """
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as listing:
            for entry in listing:
                status = entry.stat(follow_symlinks=False)
                if status.st_mtime_ns > latest_ns:
                    os.utime(entry.path, ns=(latest_ns, latest_ns), follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
