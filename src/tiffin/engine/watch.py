"""Watch: a file that another process appends to and rotates, followed by inotify(7)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_IN_MODIFY = 0x2
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_EVENT = struct.Struct("iIII")


class _Bell:
    """The process's one inotify instance: a user may have only 128, a server has more watches.

    Its thread, which begins with the first watch, rings those of the folder where something happened.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inotify = -1
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watches: dict[int, set[int]] = {}

    def add(self, folder: str) -> tuple[int, int]:
        """Return a folder's number and a descriptor that is readable after something happened in it."""
        with self._lock:
            if self._inotify < 0:
                self._inotify = self._number(self._libc.inotify_init1(os.O_CLOEXEC), folder)
                threading.Thread(target=self._run, daemon=True).start()
            wanted = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
            made = self._libc.inotify_add_watch(self._inotify, os.fsencode(folder), wanted)
            number = self._number(made, folder)
            descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._watches.setdefault(number, set()).add(descriptor)
            return number, descriptor

    def remove(self, number: int, descriptor: int) -> None:
        """Give a watch back; the folder is not watched any more when it was the last."""
        with self._lock:
            os.close(descriptor)
            self._watches[number].remove(descriptor)
            if not self._watches[number]:
                del self._watches[number]
                self._libc.inotify_rm_watch(self._inotify, number)  # fails where the folder is gone

    @staticmethod
    def _number(made: int, folder: str) -> int:
        if made < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)
        return made

    def _run(self) -> None:
        while True:
            data = os.read(self._inotify, 1 << 16)
            numbers, position = set(), 0
            while position < len(data):
                number, _, _, length = _EVENT.unpack_from(data, position)
                numbers.add(number)
                position += _EVENT.size + length
            with self._lock:
                for number in self._watches if -1 in numbers else numbers:  # -1: some were lost
                    for descriptor in self._watches.get(number, ()):
                        os.eventfd_write(descriptor, 1)


_BELL = _Bell()


class Watch:
    """Becomes readable (`fileno`) when the file grows or is replaced. A context manager."""

    def __init__(self, path: str) -> None:
        """Watch the file's folder, so that a rotated log's successor is seen as well."""
        self._path = path
        self._number, self._descriptor = _BELL.add(os.path.dirname(path))

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._descriptor

    def drain(self) -> None:
        """Forget what happened so far."""
        with contextlib.suppress(BlockingIOError):  # nothing did
            os.eventfd_read(self._descriptor)

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
        _BELL.remove(self._number, self._descriptor)
