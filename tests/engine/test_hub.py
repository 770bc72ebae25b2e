"""Pulling from Docker Hub, as its stand-in plays it, and images in the shapes that other builders make."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Shelf, check_sound, file, layer, special
from tests.hub import API, HOSTS, STORAGE, TOKENS, Hub
from tests.servers import Asked, Certificate, Reply, ScriptedServer, make_certificate
from tiffin.engine.engine import Engine
from tiffin.errors import Forbidden, NotFound, Unauthorized, Unavailable
from tiffin.registry.credentials import Credential, Credentials
from tiffin.spec import mediatype
from tiffin.spec.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = layer(file("big", bytes(range(256)) * 4096))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for all three hosts."""
    return make_certificate(str(tmp_path_factory.mktemp("certificate")), *HOSTS)


@pytest.fixture
def shelf() -> Shelf:
    """An official image: an index with attestations for each of its platforms."""
    shelf = Shelf()
    attested = []
    for platform in (str(Platform.here()), "linux/s390x"):
        image = shelf.image("", layer(file("platform", platform.encode())), BIG, platform=platform)
        proof = shelf.image("", layer(file("provenance", b"{}")), platform="unknown/unknown")
        notes = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.digest,
        }
        attested += [
            image.replace(platform=Platform.parse(platform)).to_json(),
            proof.replace(platform=Platform.parse("unknown/unknown"), annotations=notes).to_json(),
        ]
    index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": attested}
    shelf.document(index, mediatype.OCI_INDEX, "latest")
    return shelf


@pytest.fixture
def hub(shelf: Shelf, certificate: Certificate) -> Iterator[Hub]:
    """Docker Hub with `busybox`."""
    with Hub(shelf, certificate) as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path, hub: Hub) -> Iterator[Engine]:
    """An engine with an empty store, to whom the stand-in is Docker Hub."""
    with make_engine(tmp_path) as made, Engine(hub.trusted(made.settings)) as engine:
        yield engine


def test_a_short_name_is_an_official_image(engine: Engine, hub: Hub, shelf: Shelf) -> None:
    """`busybox` comes from library/, with one token, and no login goes to the storage."""
    pulled = engine.images.pull("busybox")
    assert (pulled.reference, pulled.digest) == ("busybox:latest", shelf.tags["latest"])
    assert engine.images.get("docker.io/library/busybox").id == pulled.image_id
    assert len(hub.asked(TOKENS)) == 1
    assert len(hub.asked(STORAGE)) == 3
    assert not any("authorization" in asked.headers for asked in hub.asked(STORAGE))
    assert engine.images.inspect("busybox")["RepoDigests"] == [f"busybox@{pulled.digest}"]
    check_sound(engine)


def test_an_unchanged_tag_costs_nothing_of_the_limit(engine: Engine, hub: Hub) -> None:
    """The second pull asks for the digest alone, which Docker Hub does not count."""
    engine.images.pull("busybox")
    left, asked = hub.remaining, len(hub.asked(API))
    assert not engine.images.pull("busybox").updated
    assert hub.remaining == left
    assert [a.method for a in hub.asked(API)[asked:]] == ["HEAD", "HEAD"]


def test_an_attestation_is_no_platform(engine: Engine, hub: Hub) -> None:
    """What is offered are the images: attestations are in no list of platforms, and are not fetched."""
    with pytest.raises(NotFound) as caught:
        engine.images.pull("busybox", platform="linux/riscv64")
    assert "linux/s390x" in caught.value.hint
    assert "unknown" not in caught.value.hint
    engine.images.pull("busybox", platform="linux/s390x")
    (shown,) = engine.images.tree()
    assert "unknown" not in repr(shown)
    assert hub.remaining > 0


@pytest.mark.parametrize("name", ["nosuch", "ann/private"])
def test_access_is_denied_in_dockers_words(engine: Engine, name: str) -> None:
    """A repository that is not there, or not for us, is told as docker tells it, with a way on."""
    with pytest.raises(NotFound) as caught:
        engine.images.pull(name)
    assert caught.value.message == (
        f"pull access denied for {name}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )
    assert "tiffin login" in caught.value.hint


def test_a_push_without_the_right_is_denied(engine: Engine, hub: Hub) -> None:
    """Without a login nobody pushes to library/: docker's sentence, and nothing is sent."""
    engine.images.pull("busybox")
    asked = len(hub.asked(API))
    with pytest.raises(Forbidden, match="denied: requested access to the resource is denied"):
        engine.images.push("busybox")
    assert not any(a.body for a in hub.asked(API)[asked:])


def test_a_used_up_limit_is_told_at_once(engine: Engine, hub: Hub) -> None:
    """When no pull is left the registry's own words are told, after one question; a plan tells before."""
    hub.remaining = 4
    assert engine.images.plan_pull("busybox").rate_limit == "2 of 100 pulls left in 6 hours"
    hub.remaining = 0
    asked = len(hub.asked(API))
    with pytest.raises(Unavailable, match="toomanyrequests: You have reached your unauthenticated pull rate"):
        engine.images.pull("busybox")
    assert len([a for a in hub.asked(API)[asked:] if "/manifests/" in a.path]) == 2, (
        "one, and one for the token"
    )


def test_a_login_is_kept_under_dockers_key(engine: Engine, hub: Hub) -> None:
    """What docker login wrote for Docker Hub is used; a wrong password is told as docker tells it."""
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        engine.system.login("", "ann", "wrong")
    engine.system.login("", "ann", "se:cret")
    with open(Credentials(engine.settings).path) as stream:
        assert "https://index.docker.io/v1/" in stream.read()
    assert Credentials(engine.settings).lookup("docker.io") == Credential(username="ann", password="se:cret")
    hub.repositories.add("ann/private")
    engine.images.pull("ann/private")
    asked = hub.asked(TOKENS)[-1]
    assert asked.headers["authorization"].startswith("Basic ")
    assert "account=ann" in asked.path


def test_a_resumed_download_gets_a_new_signature(engine: Engine, hub: Hub, shelf: Shelf) -> None:
    """A signed address is good once: what breaks off is asked for at the registry again."""
    cut: list[str] = []

    def trouble(asked: Asked) -> Reply | None:
        data = shelf.blobs.get(asked.path.rpartition("/")[2], b"")
        if "/blobs/" not in asked.path or "range" in asked.headers or cut or len(data) < 2000:
            return None
        cut.append(asked.path)
        return Reply(200, data[:1000], length=len(data), cut=True)

    shelf.trouble = trouble
    engine.images.pull("busybox")
    assert cut
    (resumed,) = [a for a in hub.asked(STORAGE) if "range" in a.headers]
    assert resumed.headers["range"] == "bytes=1000-"
    check_sound(engine)


FOLDER = {"kind": tarfile.DIRTYPE, "mode": 0o755}
STORE = special("nix/store", tarfile.DIRTYPE, mode=0o555)
OPAQUE = (file("a/.wh.old", b""), file("a/.wh..wh..opq", b""))
SHAPES: dict[str, tuple[list[bytes], dict[str, Any]]] = {
    "jib": (
        [layer(file("app/libs/x.jar", b"jar", mtime=1)), layer(file("app/classes/A.class", b"A", mtime=1))],
        {"created": "1970-01-01T00:00:00Z", "history": [{"created_by": "jib"}, {"created_by": "jib"}]},
    ),
    "ko": (
        [layer(special("/", **FOLDER), special("/ko-app", **FOLDER), file("/ko-app/serve", b"x"))],
        {"created": "0001-01-01T00:00:00Z", "history": [{"created_by": "ko build", "empty_layer": False}]},
    ),
    "bazel": (
        [layer(special("./", **FOLDER), file("./app/run", b"x"), file("./app/../app/more", b"y"))],
        {},
    ),
    "kaniko": (
        [layer(file("a/old", b"1")), layer(*OPAQUE, file("a/new", b"2"))],
        {"history": [{"created_by": "RUN", "comment": "kaniko"}]},
    ),
    "nix": (
        [layer(STORE, file(f"nix/store/{n}", b"x")) for n in range(100)],
        {"created": "1970-01-01T00:00:01Z", "history": []},
    ),
    "empty": (
        [bytes(1024), bytes(10240), layer(file("last", b"here")), bytes(1024)],
        {"history": [{"created_by": "one"}, {"created_by": "none", "empty_layer": True}]},
    ),
}
FOUND = {
    "jib": ("app/classes/A.class", b"A"),
    "ko": ("ko-app/serve", b"x"),
    "bazel": ("app/run", b"x"),
    "kaniko": ("a/new", b"2"),
    "nix": ("nix/store/99", b"x"),
    "empty": ("last", b"here"),
}


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "schema2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_other_builders(tmp_path: Path, shape: str, *, docker: bool) -> None:
    """Time zero, odd paths, no history, layers of nothing, a hundred layers: pulled, shown and saved."""
    layers, fields = SHAPES[shape]
    shelf = Shelf()
    config_type = mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG
    shelf.image("1", *layers, config_type=config_type)
    shelf.dress("1", **fields)
    with make_engine(tmp_path) as engine, ScriptedServer(shelf.answer) as server:
        name = f"{server.host}/{shape}:1"
        engine.images.pull(name)
        record = engine.images.get(name)
        assert len(record.layers) == len(layers)
        path, data = FOUND[shape]
        stack = engine.store.stack(record.layers)
        assert stack.read(path) == data
        assert stack.lstat("a/old") is None
        assert engine.images.inspect(name)["Id"] == record.id
        assert engine.images.history(name)
        with open(tmp_path / "saved.tar", "w+b") as archive:
            engine.images.save([name], archive)
            archive.seek(0)
            assert engine.images.load(archive) == (f"Loaded image: {name}",)
        check_sound(engine)
