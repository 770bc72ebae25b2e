"""The distribution API over HTTP: pull, push, discovery, management, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from tiffin.spec import digest as digests
from tiffin.spec import mediatype

if TYPE_CHECKING:
    from tests.box.parts import Api, Box

BIG = os.urandom(3 << 20)
OCI = {"Content_Type": mediatype.OCI_MANIFEST}


def test_a_manifest_comes_back_byte_for_byte(api: Api) -> None:
    """By tag and by digest, GET and HEAD, with its type and its digest."""
    raw = api.manifest("shop")
    put = api("PUT", "/v2/shop/manifests/1", raw, **OCI)
    digest = digests.of(raw)
    assert put.headers["Location"] == f"/v2/shop/manifests/{digest}"
    for reference in ("1", digest):
        got = api("GET", f"/v2/shop/manifests/{reference}")
        assert (got.status, got.body) == (200, raw)
        assert got.headers["Content-Type"] == mediatype.OCI_MANIFEST
        assert got.headers["Docker-Content-Digest"] == digest
        head = api("HEAD", f"/v2/shop/manifests/{reference}")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(raw)))
    assert api("GET", "/v2/").status == 200


def test_a_blob_comes_back_whole_and_in_parts(api: Api) -> None:
    """GET, HEAD, ranges; a range behind the end is 416, another version's range the whole."""
    path = f"/v2/shop/blobs/{api.push_blob('shop', BIG)['digest']}"
    whole = api("GET", path)
    assert (whole.status, whole.body) == (200, BIG)
    assert api("HEAD", path).headers["Content-Length"] == str(len(BIG))
    part = api("GET", path, Range="bytes=1000000-2000000")
    assert (part.status, part.body) == (206, BIG[1_000_000:2_000_001])
    assert part.headers["Content-Range"] == f"bytes 1000000-2000000/{len(BIG)}"
    assert api("GET", path, Range="bytes=-5").body == BIG[-5:]
    beyond = api("GET", path, Range=f"bytes={len(BIG)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(BIG)}")
    assert api("GET", path, Range="bytes=1-2", If_Range='"other"').body == BIG


def test_a_blob_pushed_in_chunks(api: Api) -> None:
    """Chunks come in order; one out of order is 416 and says where to go on; PUT may bring the last."""
    place = api.begin("shop")
    first = api("PATCH", place, BIG[:1000], Content_Range="0-999")
    assert (first.status, first.headers["Range"]) == (202, "0-999")
    wrong = api("PATCH", first.headers["Location"], b"xx", Content_Range="1001-1002")
    assert (wrong.status, wrong.code, wrong.headers["Range"]) == (416, "BLOB_UPLOAD_INVALID", "0-999")
    status = api("GET", place)
    assert (status.status, status.headers["Range"]) == (204, "0-999")
    streamed = api("PATCH", place, BIG[1000:5000])
    assert streamed.headers["Range"] == "0-4999"
    digest = digests.of(BIG)
    assert api("PUT", f"{place}?digest={digest}", BIG[5000:], Content_Range="1-2").status == 400
    done = api("PUT", f"{place}?digest={digest}", BIG[5000:], Content_Range=f"5000-{len(BIG) - 1}")
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest)
    assert api("GET", done.headers["Location"]).body == BIG
    assert api("GET", place).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_in_a_single_post(api: Api) -> None:
    """POST with a digest takes the whole blob; with wrong bytes nothing stays, not even a session."""
    digest = digests.of(b"at once")
    assert api("POST", f"/v2/shop/blobs/uploads/?digest={digest}", b"at once").status == 201
    wrong = api("POST", f"/v2/shop/blobs/uploads/?digest={digests.of(b'x')}", b"y")
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")
    assert api("GET", f"/v2/shop/blobs/{digest}").body == b"at once"


def test_sha512(api: Api) -> None:
    """Another algorithm's digests name blobs and manifests as well."""
    digest = f"sha512:{hashlib.sha512(b'long').hexdigest()}"
    place = api("POST", "/v2/shop/blobs/uploads/?digest-algorithm=sha512", b"").headers["Location"]
    assert api("PATCH", place, b"long").status == 202
    assert api("PUT", f"{place}?digest={digest}", b"").status == 201
    assert api("GET", f"/v2/shop/blobs/{digest}").body == b"long"
    raw = api.manifest("shop")
    named = f"sha512:{hashlib.sha512(raw).hexdigest()}"
    assert api("PUT", f"/v2/shop/manifests/{named}", raw, **OCI).status == 201
    assert api("GET", f"/v2/shop/manifests/{named}").body == raw
    assert api("POST", "/v2/shop/blobs/uploads/?digest-algorithm=md5", b"").code == "DIGEST_INVALID"


def test_uploads_belong_to_their_repository(api: Api, box: Box) -> None:
    """A session is unknown elsewhere, can be cancelled, and its id names no file of anybody else's."""
    place = api.begin("shop")
    session = place.rpartition("/")[2]
    assert api("GET", f"/v2/other/blobs/uploads/{session}").code == "BLOB_UPLOAD_UNKNOWN"
    for hostile in ("..", "../../state.db", "%2e%2e", "0" * 36, "x" * 36):
        answer = api("PATCH", f"/v2/shop/blobs/uploads/{hostile}", b"data")
        assert answer.status in {400, 404}, hostile
    assert api("DELETE", place).status == 204
    assert api("GET", place).code == "BLOB_UPLOAD_UNKNOWN"
    assert os.listdir(box.registry.store.layout.uploads) == []


def test_a_wrong_digest_leaves_nothing(api: Api, box: Box) -> None:
    """Bytes that have another digest than announced become no blob, and their session is gone."""
    place = api.begin("shop")
    answer = api("PUT", f"{place}?digest={digests.of(b'right')}", b"wrong")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert api("GET", place).code == "BLOB_UPLOAD_UNKNOWN"
    assert api("PUT", f"{api.begin('shop')}?digest=sha256:zz", b"").code == "DIGEST_INVALID"
    assert api("PUT", api.begin("shop"), b"").code == "DIGEST_INVALID"
    assert not api("GET", "/v2/_catalog").json()["repositories"]
    assert os.listdir(f"{box.registry.store.layout.content}/blobs/sha256") == []


def test_blobs_are_mounted_only_from_where_they_are(api: Api) -> None:
    """A mount names a repository that has the blob, or none; otherwise it becomes an upload."""
    digest = api.push_blob("shop", b"shared")["digest"]
    assert api("GET", f"/v2/other/blobs/{digest}").code == "BLOB_UNKNOWN"
    mount = f"/v2/other/blobs/uploads/?mount={digest}&from="
    assert api("POST", mount + "nobody", b"").status == 202
    assert api("POST", mount + "../shop", b"").code == "NAME_INVALID"
    assert api("POST", mount + "shop", b"").status == 201
    assert api("GET", f"/v2/other/blobs/{digest}").body == b"shared"
    assert api("POST", f"/v2/third/blobs/uploads/?mount={digest}", b"").status == 201


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schemaVersion": 1}, "MANIFEST_INVALID"),
        ({"config": None}, "MANIFEST_INVALID"),
        ({"layers": "x"}, "MANIFEST_INVALID"),
        ({"layers": [{}]}, "MANIFEST_INVALID"),
        ({"manifests": []}, "MANIFEST_INVALID"),
        ({"mediaType": mediatype.OCI_INDEX}, "MANIFEST_INVALID"),
        ({"mediaType": "x\r\nSet-Cookie: y"}, "MANIFEST_INVALID"),
        ({"subject": {"digest": "../x"}}, "MANIFEST_INVALID"),
        ({"config": {"mediaType": "x", "digest": digests.of(b"no"), "size": 2}}, "MANIFEST_BLOB_UNKNOWN"),
        ({"config": {"mediaType": "x", "digest": digests.of(b"{}"), "size": 3}}, "MANIFEST_INVALID"),
    ],
)
def test_a_bad_manifest_is_refused(api: Api, change: dict[str, object], code: str) -> None:
    """What is no manifest, or needs what is not there, is not stored."""
    raw = api.manifest("shop", **change)
    answer = api("PUT", "/v2/shop/manifests/1", raw, **OCI)
    assert (answer.status // 100, answer.code) == (4, code)
    assert api("GET", "/v2/shop/manifests/1").code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"[" * 100_000, b"{}", b"\xff"])
def test_junk_is_no_manifest(api: Api, raw: bytes) -> None:
    """Bytes that are no JSON object are refused."""
    assert api("PUT", "/v2/shop/manifests/1", raw, **OCI).code == "MANIFEST_INVALID"


def test_a_manifest_may_be_large_but_not_huge(api: Api) -> None:
    """Four megabytes are taken (the specification's least limit), more are 413."""
    raw = api.manifest("shop", annotations={"x": ""})
    fill = b"x" * ((4 << 20) - len(raw))
    large = raw.replace(b'"x": ""', b'"x": "%s"' % fill)
    assert api("PUT", "/v2/shop/manifests/1", large, **OCI).status == 201
    assert api("PUT", "/v2/shop/manifests/1", large + b" ", **OCI).status == 413


def test_a_manifest_by_digest_with_tags(api: Api) -> None:
    """A digest that is not the bytes' is refused; tags in the query are made."""
    raw = api.manifest("shop")
    wrong = api("PUT", f"/v2/shop/manifests/{digests.of(b'x')}", raw, **OCI)
    assert wrong.code == "DIGEST_INVALID"
    path = f"/v2/shop/manifests/{digests.of(raw)}"
    assert api("PUT", path + "?tag=../x", raw, **OCI).status == 400
    made = api("PUT", path + "?tag=1.2&tag=1", raw, **OCI)
    assert (made.status, made.headers["OCI-Tag"]) == (201, "1.2, 1")
    assert api("GET", "/v2/shop/tags/list").json() == {"name": "shop", "tags": ["1", "1.2"]}


def test_an_index_needs_its_manifests(api: Api) -> None:
    """An index is taken once what it lists is there."""
    entry = api.push_image("shop", "1")
    body = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [entry]}
    index = json.dumps(body).encode()
    typed = {"Content_Type": mediatype.OCI_INDEX}
    assert api("PUT", "/v2/shop/manifests/all", index, **typed).status == 201
    assert api("PUT", "/v2/other/manifests/all", index, **typed).code == "MANIFEST_BLOB_UNKNOWN"
    assert api("GET", "/v2/shop/manifests/all").headers["Content-Type"] == mediatype.OCI_INDEX


def test_tags_are_listed_by_pages(api: Api) -> None:
    """Byte order, `n` and `last`, a Link while there is more; none for n=0."""
    raw = api.manifest("shop")
    for tag in ("b", "a", "B", "10", "9"):
        api("PUT", f"/v2/shop/manifests/{tag}", raw, **OCI)
    everything = ["10", "9", "B", "a", "b"]
    whole = api("GET", "/v2/shop/tags/list")
    assert (whole.json()["tags"], whole.headers["Link"]) == (everything, None)
    page, seen = api("GET", "/v2/shop/tags/list?n=2"), []
    while page.headers["Link"]:
        seen += page.json()["tags"]
        page = api("GET", page.headers["Link"].partition("<")[2].partition(">")[0])
    assert seen + page.json()["tags"] == everything
    none = api("GET", "/v2/shop/tags/list?n=0")
    assert (none.json()["tags"], none.headers["Link"]) == ([], None)
    assert api("GET", "/v2/shop/tags/list?last=B").json()["tags"] == ["a", "b"]
    assert api("GET", "/v2/shop/tags/list?n=-1").status == 400
    assert api("GET", "/v2/nobody/tags/list").code == "NAME_UNKNOWN"
    assert api("GET", "/v2/_catalog?n=1").json() == {"repositories": ["shop"]}


def test_referrers(api: Api) -> None:
    """Manifests about a subject are listed, also before the subject is there, and by artifact type."""
    subject = {"mediaType": mediatype.OCI_MANIFEST, "digest": digests.of(b"later"), "size": 5}
    empty = api("GET", f"/v2/shop/referrers/{subject['digest']}")
    assert (empty.status, empty.json()["manifests"]) == (200, [])
    assert empty.headers["Content-Type"] == mediatype.OCI_INDEX
    signed = api.manifest("shop", subject=subject, artifactType="app/sig", annotations={"a": "b"})
    answer = api("PUT", "/v2/shop/manifests/s", signed, **OCI)
    assert answer.headers["OCI-Subject"] == subject["digest"]
    plain = api.push_image("shop", "p", layer=b"other", subject=subject)
    listed = api("GET", f"/v2/shop/referrers/{subject['digest']}").json()["manifests"]
    signature = {
        "mediaType": mediatype.OCI_MANIFEST,
        "digest": digests.of(signed),
        "size": len(signed),
        "artifactType": "app/sig",
        "annotations": {"a": "b"},
    }
    expected = [signature, plain | {"artifactType": mediatype.OCI_CONFIG}]
    assert sorted(listed, key=str) == sorted(expected, key=str)
    some = api("GET", f"/v2/shop/referrers/{subject['digest']}?artifactType=app%2Fsig")
    assert (some.json()["manifests"], some.headers["OCI-Filters-Applied"]) == ([signature], "artifactType")
    assert api("GET", "/v2/shop/referrers/x").status == 400
    assert api("GET", f"/v2/other/referrers/{subject['digest']}").json()["manifests"] == []


def test_deleting(api: Api, box: Box) -> None:
    """Tags, manifests with their tags, blobs; bytes go with the last repository that had them."""
    image = api.push_image("shop", "1")
    api("PUT", "/v2/shop/manifests/2", api.manifest("shop"), **OCI)
    api.push_image("other", "1")
    assert api("DELETE", "/v2/shop/manifests/1").status == 202
    assert api("DELETE", "/v2/shop/manifests/1").code == "MANIFEST_UNKNOWN"
    assert api("GET", f"/v2/shop/manifests/{image['digest']}").status == 200
    assert api("DELETE", f"/v2/shop/manifests/{image['digest']}").status == 202
    assert api("GET", "/v2/shop/manifests/2").code == "MANIFEST_UNKNOWN"
    layer = f"blobs/{digests.of(b'layer')}"
    for name in ("shop", "other"):
        assert api("GET", f"/v2/{name}/{layer}").status == 200
        assert api("DELETE", f"/v2/{name}/{layer}").status == 202
        assert api("DELETE", f"/v2/{name}/{layer}").code == "BLOB_UNKNOWN"
    stored = os.listdir(f"{box.registry.store.layout.content}/blobs/sha256")
    assert digests.hex_of(digests.of(b"layer")) not in stored
    assert digests.hex_of(image["digest"]) in stored, "the other repository has it still"


def test_other_methods_and_paths(api: Api) -> None:
    """What the API does not have is refused in its own words."""
    wrong = api("POST", "/v2/shop/tags/list", b"")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD")
    assert api("GET", "/v1/_ping").status == 404


def test_a_damaged_blob_is_never_sent_as_whole(api: Api, box: Box) -> None:
    """A file with other bytes than its name: the transfer is cut, and the log says why."""
    digest = api.push_blob("shop", BIG)["digest"]
    with open(box.registry.store.content.path(digest), "r+b") as stream:
        stream.write(b"damage")
    with pytest.raises(Exception, match="IncompleteRead"):
        api("GET", f"/v2/shop/blobs/{digest}")
    api.close()
    assert "digest" in str(box.served[-1].trouble)
