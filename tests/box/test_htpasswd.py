"""Passwords: right ones, wrong ones, schemes that are not taken, a file that changes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from tests.box.parts import Box
from tests.servers import htpasswd_line
from tiffin.box.htpasswd import Htpasswd
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def users(tmp_path: Path) -> Htpasswd:
    """Ann has the password `se:cret`."""
    path = tmp_path / "htpasswd"
    path.write_text("# a comment\n\n" + htpasswd_line("ann", "se:cret"))
    return Htpasswd(str(path))


def test_only_the_right_password_opens(users: Htpasswd) -> None:
    """Name and password must both be right, now and the next time."""
    for _ in range(2):
        assert users.admits(basic("ann", "se:cret"))
        assert not users.admits(basic("ann", "se:cre"))
        assert not users.admits(basic("bob", "se:cret"))
        assert not users.admits(basic("ann", ""))


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Basic YW5u", "Bearer YW5uOnNlOmNyZXQ=", "Basic /w=="]
)
def test_other_headers_open_nothing(users: Htpasswd, header: str) -> None:
    """What is no Basic header with a colon in it is refused."""
    assert not users.admits(header)


def test_a_changed_file_counts_at_once(users: Htpasswd, tmp_path: Path) -> None:
    """A new password replaces the old one; a broken file leaves things as they were."""
    assert users.admits(basic("ann", "se:cret"))
    path = tmp_path / "htpasswd"
    path.write_text(htpasswd_line("ann", "new") + htpasswd_line("bob", "b"))
    assert not users.admits(basic("ann", "se:cret"))
    assert users.admits(basic("ann", "new"))
    path.write_text("broken")
    assert users.admits(basic("bob", "b"))


@pytest.mark.parametrize(
    ("hashed", "scheme"),
    [
        ("$apr1$x$y", "MD5 \\(apr1\\)"),
        ("{SHA}x", "SHA-1"),
        ("$6$x$y", "SHA-512"),
        ("plain", "unknown"),
        ("$2y$05$short", "unknown"),
    ],
)
def test_other_schemes_are_refused_by_name(tmp_path: Path, hashed: str, scheme: str) -> None:
    """A hash that is not bcrypt is said, with its line and how to make a better one."""
    (tmp_path / "htpasswd").write_text(f"ann:{hashed}\n")
    with pytest.raises(InvalidArgument, match=f":1: the password of ann is hashed by {scheme}") as caught:
        Htpasswd(f"{tmp_path}/htpasswd")
    assert "htpasswd -B" in caught.value.hint


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """No file, no registry."""
    with pytest.raises(InvalidArgument, match="no such file"):
        Htpasswd(f"{tmp_path}/none")


def test_nothing_is_answered_without_a_password(users: Htpasswd, tmp_path: Path) -> None:
    """Every path asks for it, also those that are no part of the API."""
    box = Box(str(tmp_path), users=users)
    for path in ("/v2/", "/v2/_catalog", "/other", "/v2/A/tags/list"):
        answer = box.api("GET", path)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert box.api("GET", path, Authorization=basic("ann", "se:cret")).status != 401
    box.close()
