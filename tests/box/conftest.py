"""A registry in a thread, for each test its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.box.parts import Api, Box

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def box(tmp_path: object) -> Iterator[Box]:
    """An empty registry that lets everybody in."""
    made = Box(str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def api(box: Box) -> Api:
    """A client of it."""
    return box.api
