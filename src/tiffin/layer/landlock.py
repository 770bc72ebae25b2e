"""Landlock: a process without privileges gives up all files but those below some folders (landlock(7)).

The second wall of an extraction that may not chroot: its first is that names are resolved by our own hand.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# The same numbers on every architecture but alpha: they came after the tables were made one.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38
_RIGHTS = {2: 1 << 14, 3: 1 << 15, 4: 1 << 15}
"""One more than the sum of the rights that a version knows; with 1 no hard link could cross folders."""
_NEWEST = 1 << 16
_READING = 1 << 2 | 1 << 3


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`, as far as files go."""

    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def confine(folder: str, reading: Sequence[str]) -> bool:
    """Give up all files but those below `folder`, and reading those below some more, for good.

    Tells whether the kernel does it. Only opening, making, removing and linking are held back; files that
    are open stay so.
    """
    library: Any = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < min(_RIGHTS):
        return False
    every = _RIGHTS.get(version, _NEWEST) - 1
    rules = _Ruleset(every)
    ruleset = library.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0)
    if ruleset < 0:
        return False
    try:
        for path, rights in ((folder, every), *((path, _READING) for path in reading)):
            _allow(library, ruleset, path, rights)
        done = library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or library.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return not done


def _allow(library: Any, ruleset: int, path: str, rights: int) -> None:
    below = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights, below)
        if library.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(below)
