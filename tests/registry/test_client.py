"""The client against Debian's docker-registry: what is pushed comes back, byte for byte."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.registry.parts import QUICK, described, no_progress, read_all
from tests.servers import BoxRegistry
from tiffin.errors import Corrupt, NotFound, Unauthorized
from tiffin.registry.client import Repository, check_login
from tiffin.registry.credentials import Credential, Credentials
from tiffin.spec import mediatype
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.registry.parts import AnyRegistry
    from tiffin.settings import Settings
    from tiffin.spec.descriptor import Descriptor

BIG = os.urandom(5 << 20)


def push_image(repository: Repository, layer: bytes, *tags: str) -> tuple[Descriptor, Manifest]:
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    for data, kind in ((config, mediatype.OCI_CONFIG), (layer, mediatype.OCI_LAYER)):
        repository.put_blob(described(data, kind), io.BytesIO(data), no_progress)
    manifest = Manifest.build(described(config, mediatype.OCI_CONFIG), [described(layer)])
    for tag in tags:
        repository.put_manifest(manifest.raw, manifest.media_type, tag)
    return described(manifest.raw, manifest.media_type), manifest


@pytest.fixture
def shop(registry: AnyRegistry, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Repository]:
    name = f"{registry.host}/{request.function.__name__.replace('_', '-')[:80].rstrip('-')}:1"
    with Repository(Reference.parse(name), settings, limits=QUICK) as repository:
        yield repository


def test_what_is_pushed_resolves_by_tag_and_digest(shop: Repository) -> None:
    """A manifest comes back with the same bytes and digest, by tag and by digest."""
    descriptor, manifest = push_image(shop, b"layer", "1")
    assert shop.resolve("1") == (descriptor, manifest.raw)
    assert shop.resolve(descriptor.digest) == (descriptor, manifest.raw)
    assert shop.resolve() == (descriptor, manifest.raw)
    assert shop.head() == descriptor


def test_a_blob_comes_back_whole_and_from_an_offset(shop: Repository) -> None:
    """A blob can be read from any offset on, to its end."""
    push_image(shop, BIG, "1")
    with pytest.raises(NotFound, match="blob unknown"):
        shop.open_blob(described(b"never seen"))
    for offset in (0, 1, 4 << 20, len(BIG) - 1, len(BIG)):
        reader = shop.open_blob(described(BIG), offset)
        assert read_all(reader) == BIG[offset:]
        assert reader.read(1) == b""


def test_what_has_a_subject_is_listed_with_it(shop: Repository, registry: AnyRegistry) -> None:
    """Where a registry keeps no list of referrers a tag does, each once, with kind and annotations."""
    subject, _ = push_image(shop, b"layer", "1")
    _, plain = push_image(shop, b"about it")
    tag = subject.digest.replace(":", "-")
    said = []
    for number in (1, 2, 2):
        note = {"number": str(number)}
        body = json.loads(plain.raw) | {"subject": subject.to_json(), "annotations": note}
        raw = json.dumps(body).encode()
        digest = shop.put_manifest(raw, plain.media_type)
        entry = {"mediaType": plain.media_type, "digest": digest, "size": len(raw), "annotations": note}
        said.append(entry | {"artifactType": mediatype.OCI_CONFIG})
    if isinstance(registry, BoxRegistry):  # keeps the list itself
        with pytest.raises(NotFound):
            shop.resolve(tag)
    else:
        top, listed = shop.resolve(tag)
        assert top.media_type == mediatype.OCI_INDEX
        assert json.loads(listed)["manifests"] == said[:2]


def test_a_tag_that_is_no_list_of_referrers_is_left_alone(shop: Repository, registry: AnyRegistry) -> None:
    """Whoever has taken the tag keeps it, and the push says so."""
    if isinstance(registry, BoxRegistry):
        return
    subject, plain = push_image(shop, b"layer", "1")
    tag = subject.digest.replace(":", "-")
    shop.put_manifest(plain.raw, plain.media_type, tag)
    raw = json.dumps(json.loads(plain.raw) | {"subject": subject.to_json()}).encode()
    with pytest.raises(Corrupt, match="no list"):
        shop.put_manifest(raw, plain.media_type)
    assert shop.resolve(tag)[1] == plain.raw


def test_has_blob_knows_blobs_and_manifests(shop: Repository) -> None:
    """HEAD tells what is there, for blobs and for manifests."""
    descriptor, _ = push_image(shop, b"here", "1")
    assert shop.has_blob(described(b"here"))
    assert shop.has_blob(descriptor)
    assert not shop.has_blob(described(b"not here"))
    assert not shop.has_blob(described(b"no manifest", mediatype.OCI_MANIFEST))


def test_upload_exists_mounts_or_pushes(shop: Repository, registry: AnyRegistry, settings: Settings) -> None:
    """An upload sends bytes only when the registry has them nowhere that was named."""

    class Source:
        opened = 0

        def open_blob(self, _descriptor: Descriptor) -> io.BytesIO:
            Source.opened += 1
            return io.BytesIO(b"wandering")

    there = Reference.parse(f"{registry.host}/other/place")
    with Repository(there, settings, limits=QUICK) as other:
        assert shop.upload(described(b"wandering"), Source(), no_progress) == "pushed"
        assert shop.upload(described(b"wandering"), Source(), no_progress) == "exists"
        names = ("elsewhere.example/x", f"{registry.host}/nobody/here", shop.reference.name)
        assert other.upload(described(b"wandering"), Source(), no_progress, mount_from=names) == "mounted"
        assert Source.opened == 1
        # A mount that the registry answers with a session: that session takes the bytes.
        assert not other.mount_blob(described(b"fresh"), f"{registry.host}/nobody/here")
        other.put_blob(described(b"fresh"), io.BytesIO(b"fresh"), no_progress)
        assert other.has_blob(described(b"fresh"))


def test_progress_counts_every_byte_once(shop: Repository) -> None:
    """The sum of what progress is told is the blob's size."""
    counted: list[int] = []
    shop.put_blob(described(BIG), io.BytesIO(BIG), counted.append)
    assert sum(counted) == len(BIG)


def test_a_source_with_other_bytes_is_refused_by_both_ends(shop: Repository) -> None:
    """Bytes that do not match their descriptor never become a blob of the registry."""
    with pytest.raises(Corrupt, match="not of 5 bytes"):
        shop.put_blob(described(b"right"), io.BytesIO(b"too long"), no_progress)
    with pytest.raises(Corrupt, match="not of 5 bytes"):
        shop.put_blob(described(b"right"), io.BytesIO(b"shor"), no_progress)
    with pytest.raises(Exception, match="digest"):
        shop.put_blob(described(b"right"), io.BytesIO(b"wrong"), no_progress)
    assert not shop.has_blob(described(b"right"))


def test_a_missing_tag_names_those_that_exist(shop: Repository) -> None:
    """A wrong tag is docker's sentence, and a hint with the tags that there are, likeliest first."""
    push_image(shop, b"layer", "1", "2", "latest", "1.24-alpine")
    with pytest.raises(NotFound) as caught:
        shop.resolve("1.24-alpin")
    assert caught.value.message == (
        f"manifest for {shop.reference.name}:1.24-alpin not found: manifest unknown: manifest unknown"
    )
    assert caught.value.hint == "the repository has tags 1.24-alpine, 1, 2, latest"


def test_a_missing_repository_says_so(registry: AnyRegistry, settings: Settings) -> None:
    """Asking a repository that does not exist is NotFound, without a made-up tag list."""
    with Repository(Reference.parse(f"{registry.host}/nobody/home"), settings, limits=QUICK) as repository:
        with pytest.raises(NotFound, match=r"manifest for .*/nobody/home:latest not found: manifest unknown"):
            repository.resolve()
        with pytest.raises(NotFound, match=r"repository .*/nobody/home not found: name unknown"):
            repository.tags()


def test_tags_are_listed(shop: Repository) -> None:
    """Every tag is listed."""
    push_image(shop, b"layer", *(f"v{n:03}" for n in range(120)))
    assert shop.tags() == [f"v{n:03}" for n in range(120)]


def test_without_a_login_the_registry_refuses(private_registry: AnyRegistry, settings: Settings) -> None:
    """A registry with a password says so in docker's words, and the hint names the login."""
    reference = Reference.parse(f"{private_registry.host}/shop:1")
    with Repository(reference, settings, limits=QUICK) as repository:
        with pytest.raises(Unauthorized) as caught:
            repository.resolve()
        assert caught.value.message == "no basic auth credentials"
        assert f"tiffin login {private_registry.host}" in caught.value.hint


def test_a_stored_login_opens_the_registry(private_registry: AnyRegistry, settings: Settings) -> None:
    """What login stores is what pull and push use."""
    good = Credential(username="ann", password="se:cret")
    assert check_login(private_registry.host, good, settings, limits=QUICK) == good
    Credentials(settings).store(private_registry.host, good)
    reference = Reference.parse(f"{private_registry.host}/shop:1")
    with Repository(reference, settings, limits=QUICK) as repository:
        descriptor, _ = push_image(repository, BIG, "1")
        assert repository.resolve()[0] == descriptor
        assert repository.open_blob(described(BIG)).read(10) == BIG[:10]


def test_a_wrong_password_is_never_shown(private_registry: AnyRegistry, settings: Settings) -> None:
    """A refused login says docker's sentence; the password is in no text of the error."""
    wrong = Credential(username="ann", password="hunter22")
    with pytest.raises(Unauthorized) as caught:
        check_login(private_registry.host, wrong, settings, limits=QUICK)
    url = f"http://{private_registry.host}/v2/"
    assert caught.value.message == f"login attempt to {url} failed with status: 401 Unauthorized"
    seen = f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r} {wrong!r}"
    assert "hunter22" not in seen
    assert wrong.basic() not in seen
