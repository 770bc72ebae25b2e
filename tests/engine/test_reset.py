"""system reset: a store goes with all that can be in one; anything else is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.engine.conftest import make_engine
from tiffin.store.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.settings import Settings


def reset(settings: Settings) -> str:
    """Run the command; return what it said."""
    command = [sys.executable, "-m", "tiffin", "--root", settings.root, "--run", settings.run]
    done = subprocess.run([*command, "system", "reset", "-f"], capture_output=True, check=False, text=True)
    return done.stdout + done.stderr


def test_all_that_a_store_can_have_goes(tmp_path: Path) -> None:
    """Every place that the layout has is known to be ours; a name that nobody knows keeps it all."""
    with make_engine(tmp_path) as engine:
        settings, layout = engine.settings, engine.store.layout
        places = [getattr(layout, name) for name, kind in vars(Layout).items() if isinstance(kind, property)]
    for place in (*places, os.path.dirname(layout.manifest_list("x"))):
        if os.path.dirname(place) == layout.root and not os.path.lexists(place):
            os.mkdir(place)
    stranger = f"{layout.root}/a-letter"
    os.mkdir(stranger)
    assert "is no store of tiffin" in reset(settings)
    os.rmdir(stranger)
    assert reset(settings).startswith(f"removed: {layout.root}\n")
    assert not os.path.lexists(layout.root)
