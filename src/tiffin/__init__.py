"""Tiffin: a container engine as a library. `tiffin.Engine()` opens a store; `tiffin.run` runs one container.

Names are loaded when first used, so that `import tiffin` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.quick import Completed, run
    from tiffin.errors import (
        BuildFailed,
        Conflict,
        Corrupt,
        DockerfileError,
        Forbidden,
        Interrupted,
        InvalidArgument,
        NotFound,
        NotModified,
        StartFailed,
        StorageFull,
        TiffinError,
        Unauthorized,
        Unavailable,
        Unsupported,
    )
    from tiffin.settings import Settings

__version__ = "0.1.0"
__all__ = [
    "BuildFailed",
    "Completed",
    "Conflict",
    "Corrupt",
    "DockerfileError",
    "Engine",
    "Forbidden",
    "Interrupted",
    "InvalidArgument",
    "NotFound",
    "NotModified",
    "Settings",
    "StartFailed",
    "StorageFull",
    "TiffinError",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "run",
]

_HOMES = {"Engine": "tiffin.engine.engine", "Completed": "tiffin.engine.quick", "run": "tiffin.engine.quick"}
_HOMES["Settings"] = "tiffin.settings"


def __getattr__(name: str) -> object:
    """Import a public name's module when the name is first used."""
    if name not in __all__:
        message = f"module 'tiffin' has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "tiffin.errors")), name)
