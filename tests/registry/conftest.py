"""A registry for everybody, and one with a password; settings that touch nothing of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import DockerRegistry
from tiffin.settings import ROOT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Run a registry that lets everybody in."""
    with DockerRegistry(str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Run a registry for user `ann` with password `se:cret`."""
    folder = str(tmp_path_factory.mktemp("private"))
    with DockerRegistry(folder, users={"ann": "se:cret"}) as running:
        yield running


@pytest.fixture
def settings(tmp_path: object) -> Settings:
    """Return settings whose every folder is the test's own."""
    return Settings(
        root=f"{tmp_path}/root",
        run=f"{tmp_path}/run",
        privilege=ROOT,
        docker_config=f"{tmp_path}/docker",
        environment={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
    )
