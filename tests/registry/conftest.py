"""A registry for everybody, and one with a password; settings that touch nothing of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.registry.parts import QUICK
from tests.servers import REGISTRIES, Asked, Reply, ScriptedServer
from tiffin.registry.client import Repository
from tiffin.settings import ROOT, Settings
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.registry.parts import AnyRegistry, Script, Serve
    from tiffin.registry.transport import Limits


@pytest.fixture(scope="session", params=REGISTRIES)
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnyRegistry]:
    """Run a registry that lets everybody in: Debian's, then the one in the box."""
    with REGISTRIES[request.param](str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture(scope="session", params=REGISTRIES)
def private_registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnyRegistry]:
    """Run a registry for user `ann` with password `se:cret`: Debian's, then the one in the box."""
    folder = str(tmp_path_factory.mktemp("private"))
    with REGISTRIES[request.param](folder, users={"ann": "se:cret"}) as running:
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


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start a scripted registry; return a client of its repository `shop`, and it."""
    started: list[tuple[Repository, ScriptedServer]] = []

    def start(script: Script, limits: Limits = QUICK) -> tuple[Repository, ScriptedServer]:
        def answer(asked: Asked) -> Reply:
            return Reply(200) if asked.path == "/v2/" else script(asked)

        server = ScriptedServer(answer)
        client = Repository(Reference.parse(f"{server.host}/shop:1"), settings, limits=limits)
        started.append((client, server))
        return client, server

    yield start
    for client, server in started:
        client.close()
        server.close()
