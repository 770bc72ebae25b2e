"""Upload sessions: go on after a pause, one writer at a time, gone when forgotten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import Conflict, Corrupt, NotFound
from tiffin.settings import ROOT, Settings
from tiffin.spec import digest as digests
from tiffin.store.store import Store
from tiffin.store.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def uploads(tmp_path: object) -> Iterator[Uploads]:
    """The sessions of a store of its own."""
    with Store(Settings(root=f"{tmp_path}/root", run=f"{tmp_path}/run", privilege=ROOT)) as store:
        yield Uploads(store.layout.uploads, store.content)


def nothing() -> None:
    """Do nothing in the transaction."""


@pytest.mark.parametrize("remembered", [True, False])
def test_a_session_goes_on(uploads: Uploads, *, remembered: bool) -> None:
    """What one request wrote the next one continues, also when the hash so far was lost with a process."""
    session = uploads.begin("shop")
    for part in (b"one ", b"two ", b"three"):
        with uploads.open("shop", session) as upload:
            upload.write(part)
        if not remembered:
            uploads.hashes.clear()
    assert uploads.offset("shop", session) == 13
    digest = digests.of(b"one two three")
    with uploads.open("shop", session) as upload:
        upload.commit(digest, nothing)
    assert uploads.content.read(digest) == b"one two three"
    with pytest.raises(NotFound):
        uploads.offset("shop", session)


def test_one_request_at_a_time(uploads: Uploads) -> None:
    """A second writer is refused while the first is at it."""
    session = uploads.begin("shop")
    with uploads.open("shop", session), pytest.raises(Conflict), uploads.open("shop", session):
        pass


def test_a_finished_session_is_gone_for_whoever_waited(uploads: Uploads) -> None:
    """Wrong bytes end a session, and the same bytes twice are one blob."""
    session = uploads.begin("shop")
    with uploads.open("shop", session) as upload, pytest.raises(Corrupt):
        upload.commit(digests.of(b"x"), nothing)
    with pytest.raises(NotFound):
        uploads.open("shop", session)
    for _ in range(2):
        session = uploads.begin("shop")
        with uploads.open("shop", session) as upload:
            upload.write(b"same")
            upload.commit(digests.of(b"same"), nothing)
    assert os.listdir(uploads.folder) == []


def test_what_goes_with_a_blob_goes_together(uploads: Uploads) -> None:
    """Where the other half of the transaction fails, there is no blob either."""
    session = uploads.begin("shop")

    def fail() -> None:
        raise RuntimeError("no")

    with uploads.open("shop", session) as upload:
        upload.write(b"half")
        with pytest.raises(RuntimeError):
            upload.commit(digests.of(b"half"), fail)
    assert not uploads.content.has(digests.of(b"half"))


def test_forgotten_sessions_are_swept(uploads: Uploads) -> None:
    """Old ones and those of another boot go; young ones and those being written stay."""
    old, young, busy = (uploads.begin("shop") for _ in range(3))
    for session in (old, busy):
        os.utime(uploads.path("shop", session), (1, 1))
    other_boot = uploads.path("shop", uploads.begin("shop"))
    os.rename(other_boot, other_boot[:-8] + "00000000")
    with uploads.open("shop", busy):
        assert uploads.sweep(3600) == 2
    assert sorted(os.listdir(uploads.folder)) == sorted(
        os.path.basename(uploads.path("shop", s)) for s in (young, busy)
    )
