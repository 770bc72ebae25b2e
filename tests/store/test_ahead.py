"""Syncing ahead: what it must not swallow, and what it must not touch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import NotFound
from tiffin.store import ahead
from tiffin.store.ahead import SyncAhead

if TYPE_CHECKING:
    from pathlib import Path


def _wait_for(syncing: SyncAhead) -> None:
    syncing._thread.join(60)
    assert not syncing._thread.is_alive()


def test_a_sync_that_failed_fails_the_block(tmp_path: Path) -> None:
    """The kernel tells of a lost write once: who was told passes it on."""
    with pytest.raises(NotFound, match="sync"), SyncAhead(f"{tmp_path}/none", wanted=True) as syncing:
        _wait_for(syncing)


def test_a_blocks_own_error_stays(tmp_path: Path) -> None:
    """A sync that failed is not told in place of what ended the block."""
    with (  # noqa: PT012 - the block is what is looked at
        pytest.raises(KeyError),
        SyncAhead(f"{tmp_path}/none", wanted=True) as syncing,
    ):
        _wait_for(syncing)
        raise KeyError


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_goes_on_behind_the_block(tmp_path: Path, *, wanted: bool) -> None:
    """Its thread has ended, and its folder is let go of, when the block is left."""
    before = threading.active_count()
    with SyncAhead(str(tmp_path), wanted=wanted) as syncing:
        assert threading.active_count() == before + wanted
        syncing._ending.wait(2 * ahead._PAUSE_SECONDS)
    assert threading.active_count() == before
