"""A layer's directory is copied through its own tar: what can be kept in a layer, and nothing else, arrives.

The one that is copied may belong to a running container, so it is read as `diff` reads it: no symbolic link
is followed, and what changes under the reader ends the copy. The copy's digest comes along for free.
"""

from __future__ import annotations

import os
from contextlib import suppress

from tiffin.errors import TiffinError
from tiffin.layer.apply import Extraction
from tiffin.layer.diff import write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.layer.limits import Applied


def duplicate(source: str, destination: str, *, xattr: str) -> Applied:
    """Copy the upper directory of an overlay into an empty directory; `diff_id` is what `measure` would say.

    Deletions and opaque folders stay what they are. Raises Conflict if something changes meanwhile,
    InvalidArgument for what no layer can hold, StorageFull.
    """
    reading, writing = os.pipe()
    try:
        extraction = Extraction.start(reading, destination, xattr=xattr)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        write_tar(source, lambda data: _write(writing, data), xattr=xattr)
    except BrokenPipeError:
        pass  # the worker has met an error and will say so
    except BaseException:
        extraction.abort()
        os.close(writing)
        with suppress(TiffinError):
            extraction.wait()
        raise
    os.close(writing)
    return extraction.wait()


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]
