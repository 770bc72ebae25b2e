"""Ordinary users push, pull, keep no blobs and pack as they like: the same images as root's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import BoxRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.accounts import User


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxRegistry]:
    """A registry that lets everybody in."""
    with BoxRegistry(str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


def test_an_image_goes_and_comes_back(user: User, registry: BoxRegistry) -> None:
    """What an ordinary user pushed is pulled again with its id; a second pull writes nothing new."""
    name = f"{registry.host}/mine/base:1"
    user.tiffin("tag", "base:1", name)
    user.tiffin("push", "-q", "--compression", "zstd", name)
    user.tiffin("rmi", name)
    assert "To fetch: " in user.tiffin("pull", "--plan", name)
    user.tiffin("pull", "-q", name)
    assert "Image is up to date" in user.tiffin("pull", name)
    ids = [user.tiffin("image", "inspect", "-f", "{{.Id}}", image) for image in ("base:1", name)]
    assert ids[0] == ids[1]
    user.tiffin("rmi", name)
