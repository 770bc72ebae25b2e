"""What a registry's root holds is checked, mended, and collected when no manifest names it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tiffin.box import fsck
from tiffin.box.catalogue import Catalogue
from tiffin.box.registry import Registry
from tiffin.spec import digest as digests
from tiffin.spec import mediatype

if TYPE_CHECKING:
    from tests.box.parts import Api, Box
    from tiffin.store.fsck import Finding

LONELY, BASE = b"lonely", b"base"


def blobs(box: Box) -> set[str]:
    """Return the digests of the files that are stored."""
    names = os.listdir(f"{box.registry.store.layout.content}/blobs/sha256")
    return {f"sha256:{name}" for name in names}


@pytest.fixture
def catalogue(box: Box) -> Catalogue:
    """What the registry knows."""
    return Catalogue(box.registry.store)


def later() -> int:
    """Return a moment after all that was done."""
    return time.time_ns() + 10**9


def test_what_no_manifest_names_is_collected(api: Api, box: Box, catalogue: Catalogue) -> None:
    """Blobs of no manifest go, each from the repositories where that is so; what a manifest names stays."""
    image = api.push_image("shop", "1")
    api.push_blob("shop", LONELY)
    api.push_blob("shop", BASE)
    api.push_image("other", "1", BASE)
    assert catalogue.collect(0) == 0
    assert catalogue.collect(later()) == 2
    assert digests.of(LONELY) not in blobs(box)
    assert api("HEAD", f"/v2/shop/blobs/{digests.of(BASE)}").status == 404
    assert api("GET", f"/v2/other/blobs/{digests.of(BASE)}").body == BASE
    api("DELETE", f"/v2/shop/manifests/{image['digest']}")
    assert catalogue.collect(later()) == 2, "its config and its layer"
    assert api("GET", "/v2/other/manifests/1").status == 200
    assert catalogue.collect(later()) == 0


def test_a_push_in_flight_is_safe(api: Api, box: Box, catalogue: Catalogue) -> None:
    """A blob that was looked for, mounted or pushed since the moment stays until its manifest comes."""
    api.push_image("shop", "1", BASE)
    api("DELETE", "/v2/shop/manifests/1")
    for name in ("shop", "other"):
        api.push_blob(name, LONELY)
    store = box.registry.store
    store.database.execute("UPDATE box_blobs SET linked=1")
    moment = time.time_ns()
    assert api("HEAD", f"/v2/shop/blobs/{digests.of(LONELY)}").status == 200
    assert api("POST", f"/v2/third/blobs/uploads/?mount={digests.of(LONELY)}&from=other", b"").status == 201
    assert catalogue.collect(moment) == 1, "other has not been asked"
    for name in ("shop", "third"):
        api.push_image(name, "2", LONELY)
    assert catalogue.collect(later()) == 0


def test_a_manifest_whose_blob_went_meanwhile_is_not_kept(api: Api, catalogue: Catalogue) -> None:
    """What was there when a manifest was checked must still be there when it is written."""
    body = api.manifest("shop")
    catalogue.collect(later())
    answer = api("PUT", "/v2/shop/manifests/1", body, Content_Type=mediatype.OCI_MANIFEST)
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_a_root_of_an_older_version_is_taken_over(api: Api, box: Box, tmp_path: object) -> None:
    """Repositories made before blobs had times, and manifests a list of names, lose nothing."""
    api.push_image("shop", "1")
    database = box.registry.store.database
    with database.transaction():
        database.execute("CREATE TABLE old AS SELECT repository, digest FROM box_blobs")
        database.execute("DROP TABLE box_blobs")
        database.execute("DROP TABLE box_names")
        database.execute(
            "CREATE TABLE box_blobs (repository TEXT NOT NULL, digest TEXT NOT NULL, "
            "PRIMARY KEY (repository, digest)) WITHOUT ROWID"
        )
        database.execute("INSERT INTO box_blobs SELECT * FROM old")
        database.execute("DROP TABLE old")
        database.execute("UPDATE meta SET value='1' WHERE key='box'")
    again = Registry(box.settings)
    assert Catalogue(again.store).collect(later()) == 0
    again.close()
    assert fsck.check(box.settings) == []


@pytest.fixture
def stopped(box: Box, api: Api) -> Box:
    """A registry with an image, `shop:1`, that is not asked any more."""
    api.push_image("shop", "1")
    return box


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.kind for finding in findings}


def test_a_whole_root_has_no_findings(stopped: Box) -> None:
    """What pushes leave is whole."""
    assert fsck.is_registry(stopped.settings.root)
    assert fsck.check(stopped.settings) == []


@pytest.mark.parametrize("damage", ["layer", "manifest", "both"])
def test_what_is_broken_is_found_and_dropped(stopped: Box, damage: str) -> None:
    """Damaged and missing bytes are told with the names that need them; a repair leaves a whole root."""
    manifest = stopped.api("GET", "/v2/shop/manifests/1").headers["Docker-Content-Digest"]
    content = stopped.registry.store.content
    if damage != "manifest":
        os.unlink(content.path(digests.of(b"layer")))
    if damage != "layer":
        with open(content.path(manifest), "r+b") as stream:
            stream.write(b"x")
    found = fsck.check(stopped.settings)
    assert "blob" in kinds(found)
    if damage != "manifest":
        assert "shop:1" in next(finding.message for finding in found if finding.kind == "manifest")
    assert all(finding.repaired for finding in fsck.check(stopped.settings, repair=True))
    assert fsck.check(stopped.settings) == []
    assert stopped.api("GET", "/v2/shop/manifests/1").code in {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}
    stopped.api.push_image("shop", "1")
    assert fsck.check(stopped.settings) == []


def test_rubbish_goes(stopped: Box) -> None:
    """A file without a row is found and removed."""
    path = stopped.registry.store.content.path(digests.of(b"rubbish"))
    with open(path, "wb") as stream:
        stream.write(b"rubbish")
    assert [finding.path for finding in fsck.check(stopped.settings)] == [path]
    fsck.check(stopped.settings, repair=True)
    assert fsck.check(stopped.settings) == []
