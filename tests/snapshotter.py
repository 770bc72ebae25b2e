"""Which snapshotter the tests' stores are to have: `pytest --snapshotter=copy` chooses one."""

from __future__ import annotations

import os


def chosen() -> dict[str, str]:
    """Return the variable that chooses it, for an environment; nothing where none was chosen."""
    name = os.environ.get("TIFFIN_SNAPSHOTTER")
    return {"TIFFIN_SNAPSHOTTER": name} if name else {}


def own_files(container: str) -> str:
    """Return the folder on the host where what a container writes appears, from its folder in the store."""
    upper = f"{container}/upper"
    return upper if os.path.isdir(upper) else f"{container}/rootfs"
