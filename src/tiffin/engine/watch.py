"""Watch: a file that another process appends to and rotates, followed by inotify(7)."""

from __future__ import annotations

import ctypes
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_IN_MODIFY = 0x2
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


class Watch:
    """Becomes readable (`fileno`) when the file grows or is replaced. A context manager."""

    def __init__(self, path: str) -> None:
        """Watch the file's folder, so that a rotated log's successor is seen as well."""
        self._path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        folder = os.fsencode(os.path.dirname(path))
        if (
            self._fd < 0
            or libc.inotify_add_watch(self._fd, folder, _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE) < 0
        ):
            code = ctypes.get_errno()
            if self._fd >= 0:
                os.close(self._fd)
            raise OSError(code, os.strerror(code), path)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._fd

    def drain(self) -> None:
        """Forget the events seen so far."""
        try:
            while os.read(self._fd, 1 << 16):
                pass
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise

    def replaced(self, descriptor: int) -> bool:
        """Tell whether the path is another file now than the one that is open."""
        try:
            new = os.stat(self._path)
        except FileNotFoundError:
            return False
        old = os.fstat(descriptor)
        return (new.st_dev, new.st_ino) != (old.st_dev, old.st_ino)

    def __enter__(self) -> Self:
        """Return the watch."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        os.close(self._fd)
