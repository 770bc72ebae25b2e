"""Which snapshotter the tests' stores are to have: `pytest --snapshotter=copy` chooses one."""

from __future__ import annotations

import os


def chosen() -> dict[str, str]:
    """Return the variable that chooses it, for an environment; nothing where none was chosen."""
    name = os.environ.get("TIFFIN_SNAPSHOTTER")
    return {"TIFFIN_SNAPSHOTTER": name} if name else {}
