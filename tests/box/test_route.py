"""Paths: what is part of the API, and what a hostile one becomes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.box.refused import Refused
from tiffin.box.route import Route, find
from tiffin.spec import digest as digests

DIGEST = digests.of(b"")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2", Route(kind="base")),
        ("/v2/", Route(kind="base")),
        ("/v2/_catalog", Route(kind="catalog")),
        ("/v2/a/manifests/1", Route(kind="manifest", name="a", argument="1")),
        (f"/v2/a/b__c/manifests/{DIGEST}", Route(kind="manifest", name="a/b__c", argument=DIGEST)),
        (f"/v2/a/blobs/{DIGEST}", Route(kind="blob", name="a", argument=DIGEST)),
        ("/v2/a/blobs/uploads/", Route(kind="uploads", name="a")),
        ("/v2/a/blobs/uploads", Route(kind="uploads", name="a")),
        ("/v2/a/blobs/uploads/x", Route(kind="upload", name="a", argument="x")),
        ("/v2/blobs/uploads/tags/list", Route(kind="tags", name="blobs/uploads")),
        (f"/v2/a/referrers/{DIGEST}", Route(kind="referrers", name="a", argument=DIGEST)),
        ("/", None),
        ("/v1/", None),
        ("/v2/a", None),
        ("/v2/a/other/1", None),
        ("/v2/manifests/1", None),
    ],
)
def test_a_path_names_one_thing(path: str, route: Route | None) -> None:
    """The names of repositories may hold the API's own words."""
    assert find(path) == route


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/../manifests/1", "NAME_INVALID"),
        ("/v2/a//b/manifests/1", "NAME_INVALID"),
        ("/v2/A/manifests/1", "NAME_INVALID"),
        ("/v2/a:1/manifests/1", "NAME_INVALID"),
        (f"/v2/a@{DIGEST}/manifests/1", "NAME_INVALID"),
        ("/v2//tags/list", "NAME_INVALID"),
        ("/v2/tags/list", "NAME_INVALID"),
        ("/v2/a\n/tags/list", "NAME_INVALID"),
        (f"/v2/{'a' * 256}/tags/list", "NAME_INVALID"),
        ("/v2/a/manifests/.x", "MANIFEST_INVALID"),
        (f"/v2/a/manifests/{'x' * 129}", "MANIFEST_INVALID"),
        ("/v2/a/manifests/sha256:x", "DIGEST_INVALID"),
        ("/v2/a/blobs/sha256:../../../../etc/passwd", "NAME_INVALID"),
        (f"/v2/a/blobs/{DIGEST.upper()}", "DIGEST_INVALID"),
        ("/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", "DIGEST_INVALID"),
        ("/v2/a/referrers/x", "DIGEST_INVALID"),
    ],
)
def test_a_hostile_path_is_refused(path: str, code: str) -> None:
    """What is no name, tag or digest goes no further than the route."""
    if code == "NAME_INVALID" and "passwd" in path:
        assert find(path) is None
        return
    with pytest.raises(Refused) as caught:
        find(path)
    assert caught.value.code == code


@given(st.text())
def test_no_path_gets_through_with_dots(text: str) -> None:
    """Whatever is asked, a route's name is a repository's and its argument has no slash."""
    with contextlib.suppress(Refused):
        found = find(f"/v2/{text}/manifests/x")
        assert found is None or (".." not in found.name.split("/") and "/" not in found.argument)
