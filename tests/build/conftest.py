"""A fresh bench for each test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.build.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store, a context, and players of the roles; overlay mounts and mknod want root."""
    if os.geteuid() != 0:
        pytest.skip("layers are made as root here")
    made = Bench(str(tmp_path))
    yield made
    assert os.listdir(made.store.layout.drafts) == []
    made.store.close()
