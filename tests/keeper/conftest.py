"""Fixtures: boxes under each runtime, which leave nothing behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.keeper.parts import Box, make_rootfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a root file system that every box shares."""
    return make_rootfs(str(tmp_path_factory.mktemp("rootfs") / "root"))


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Return each runtime's name."""
    return str(request.param)


@pytest.fixture
def make_box(tmp_path: object, rootfs: str) -> Iterator[Callable[[str], Box]]:
    """Return a maker of boxes; all that are still living are killed at the end."""
    boxes: list[Box] = []

    def make(runtime: str) -> Box:
        name = f"{os.path.basename(str(tmp_path))}-{os.urandom(6).hex()}{len(boxes)}"
        box = Box(str(tmp_path), rootfs, runtime, name)
        boxes.append(box)
        return box

    yield make
    for box in boxes:
        box.end()


@pytest.fixture
def box(make_box: Callable[[str], Box], runtime: str) -> Box:
    """Return one box, under each runtime."""
    return make_box(runtime)


@pytest.fixture
def crun_box(make_box: Callable[[str], Box]) -> Box:
    """Return one box under crun, for what does not depend on the runtime."""
    return make_box("crun")
