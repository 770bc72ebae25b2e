"""The layers below, as far as extraction needs them: finding the target of a hard link.

Folders are opened before the process confines itself and walked by descriptors, never through a
symbolic link, so a layer's content cannot lead anywhere else.
"""

from __future__ import annotations

import os
import stat

from tiffin.layer import whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Lower:
    """Committed layers, topmost first."""

    def __init__(self, folders: Sequence[str], xattr: str) -> None:
        """Open them; `xattr` is the prefix of overlay's marks."""
        self._roots = [os.open(folder, _FOLDER) for folder in folders]
        self._xattr = xattr

    def find(self, path: bytes) -> tuple[int, bytes, os.stat_result] | None:
        """Return (descriptor of the folder, name in it, status) of what a path is there, or None.

        The caller closes the descriptor.
        """
        for root in self._roots:
            folder = os.dup(root)
            found, hidden = self._walk(folder, path.split(b"/"))
            if found or hidden:
                return found
        return None

    def _walk(self, folder: int, parts: list[bytes]) -> tuple[tuple[int, bytes, os.stat_result] | None, bool]:
        """Look into one layer; the second result tells whether it hides the layers below."""
        hidden = False
        for part in parts[:-1]:
            following = -1
            try:
                hidden = hidden or whiteout.is_opaque(folder, self._xattr)
                following = os.open(part, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                return None, hidden
            except OSError:  # a whiteout, a file or a symbolic link: all of them hide what is below
                return None, True
            finally:
                os.close(folder)
            folder = following
        try:
            status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            hidden = hidden or whiteout.is_opaque(folder, self._xattr)
            os.close(folder)
            return None, hidden
        if whiteout.is_whiteout(status) or stat.S_ISDIR(status.st_mode):
            os.close(folder)
            return None, True
        return (folder, parts[-1], status), True
