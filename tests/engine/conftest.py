"""A store with one small image, for tests that run real containers."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.snapshotter import chosen
from tiffin.engine.engine import Engine
from tiffin.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSYBOX = "/bin/busybox"
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc
RUN mkdir -p /data /tmp && chmod 1777 /tmp && echo seed > /data/seed && chown 7:8 /data
ENV PATH=/bin
CMD ["sh"]
"""


def make_engine(folder: Path) -> Engine:
    """Open an engine over a new store; nothing of the caller's environment matters."""
    settings = Settings.from_environment(
        {"HOME": str(folder), "PATH": os.environ["PATH"], "TIFFIN_DURABLE": "0", **chosen()},
        root=str(folder / "root"),
        run=str(folder / "run"),
    )
    return Engine(settings)


def base_context(folder: Path) -> str:
    """Make the folder that the base image is built from."""
    (folder / "etc").mkdir(parents=True)
    shutil.copy(BUSYBOX, folder / "busybox")
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nweb:x:8:\nmail:x:9:web\n")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return str(folder)


@pytest.fixture(scope="session")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose store has `base:1`; tests leave it as they found it."""
    folder = tmp_path_factory.mktemp("engine")
    with make_engine(folder) as engine:
        engine.images.build(base_context(folder / "context"), tags=["base:1"])
        yield engine


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """The shared engine; whatever containers a test leaves are removed after it."""
    yield shared_engine
    for view in shared_engine.containers.list(all=True):
        shared_engine.containers.remove(view.id, force=True, volumes=True)


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine over a store of the test's own, with `base:1`."""
    with make_engine(tmp_path) as engine:
        engine.images.build(base_context(tmp_path / "context"), tags=["base:1"])
        yield engine
        for view in engine.containers.list(all=True):
            engine.containers.remove(view.id, force=True, volumes=True)
