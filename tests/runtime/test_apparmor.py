"""AppArmor where there is none; what it does where it is on is seen in scripts/test-host."""

from __future__ import annotations

import os

import pytest

from tiffin.errors import TiffinError
from tiffin.runtime import apparmor
from tiffin.settings import ROOT


@pytest.mark.parametrize("wanted", ["", apparmor.UNCONFINED])
def test_nothing_is_asked_of_a_host_without_it(wanted: str) -> None:
    """Who asks for no profile gets none where there is no AppArmor, and ours where there is."""
    assert apparmor.prepare(wanted, ROOT) == (apparmor.DEFAULT if apparmor.is_on() and not wanted else "")


def test_a_profile_that_cannot_be_applied_is_refused() -> None:
    """A profile is never left out silently: not by a host without AppArmor, nor for an ordinary user."""
    for privilege in (ROOT, ROOT.replace(rung="subids")):
        with pytest.raises(TiffinError, match="apparmor"):
            apparmor.prepare("nobody-has-it", privilege)


def test_both_profiles_are_shipped() -> None:
    """The files that doctor and the engine name are in the package."""
    folder = os.path.dirname(apparmor.__file__)
    for name in ("tiffin.apparmor", "tiffin-default.apparmor"):
        with open(f"{folder}/{name}", encoding="ascii") as stream:
            assert f"profile {name.removesuffix('.apparmor')} " in stream.read()
