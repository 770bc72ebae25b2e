"""A fresh store for each test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.parts import settings_for
from tiffin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a store in the test's own folder."""
    return settings_for(str(tmp_path))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open, empty store."""
    with Store(settings) as opened:
        yield opened
