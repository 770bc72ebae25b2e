"""Where `-o FILE` commands write: a file that is whole or as it was before, a device, or stdout."""

from __future__ import annotations

import os
import sys

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


def write(path: str, doing: str, produce: Callable[[BinaryIO], object]) -> None:
    """Let `produce` write to `path`, or to stdout if that is "" and no terminal.

    `doing` is the verb of docker's errors: `save image`, `export container`.
    """
    if not path:
        if os.isatty(1):
            raise InvalidArgument("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        produce(sys.stdout.buffer)
    elif os.path.isdir(path):
        raise InvalidArgument(f"failed to {doing}: invalid output path: {path} is a directory")
    elif os.path.lexists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:  # a device or a pipe
            produce(stream)
    else:
        _write_whole(os.path.realpath(path), doing, produce)


def _write_whole(path: str, doing: str, produce: Callable[[BinaryIO], object]) -> None:
    from tiffin.store import atomic

    temporary = atomic.temporary_name(path)
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
            produce(stream)
        atomic.replace(temporary, path)
    except BaseException as error:
        atomic.remove_file(temporary)
        folder = os.path.dirname(path)
        if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
            message = f'failed to {doing}: invalid output path: directory "{folder}" does not exist'
            raise InvalidArgument(message) from error
        raise
