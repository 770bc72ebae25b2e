"""How images travel: mirrors, offline, plans, packing, blobs that are not kept; against real registries."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Lines, Shelf, check_sound, file, layer, shown
from tests.servers import REGISTRIES, Asked, LoggedRegistry, Reply, ScriptedServer, closed_port
from tiffin.engine.engine import Engine
from tiffin.engine.packing import Packing
from tiffin.errors import Corrupt, InvalidArgument, NotFound, Unavailable
from tiffin.settings import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = layer(file("big", os.urandom(3 << 20)), file("text", b"a line of text\n" * 10_000))


@pytest.fixture(scope="module", params=REGISTRIES)
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoggedRegistry]:
    """A registry that lets everybody in: Debian's, then the one in the box."""
    with REGISTRIES[request.param](str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with make_engine(tmp_path / "other") as engine:
        yield engine


@pytest.fixture
def shelf() -> Shelf:
    """A registry with one image of two layers."""
    shelf = Shelf()
    shelf.image("1", layer(file("small")), BIG)
    return shelf


@pytest.fixture
def server(shelf: Shelf) -> Iterator[ScriptedServer]:
    """The shelf, served."""
    with ScriptedServer(shelf.answer) as running:
        yield running


def with_settings(engine: Engine, **changes: Any) -> Engine:
    """Return an engine over the same store that behaves otherwise."""
    return Engine(engine.settings.replace(**changes))


def inspected(name: str) -> dict[str, Any]:
    """Return a manifest as skopeo sees it."""
    command = ["skopeo", "--insecure-policy", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
    done = subprocess.run(command, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_offline_nothing_is_asked(other: Engine, shelf: Shelf, server: ScriptedServer) -> None:
    """Offline, what is here is enough for a pull, and what is not here is named; no request is made."""
    name = f"{server.host}/shop:1"
    with with_settings(other, offline=True) as offline:
        with pytest.raises(Unavailable, match=f"{name} is not here, and tiffin is offline"):
            offline.images.pull(name)
        with pytest.raises(Unavailable, match="tiffin is offline"):
            offline.images.plan_pull(name)
        with pytest.raises(Unavailable, match="tiffin is offline"):
            offline.images.pull_all(f"{server.host}/shop")
        with pytest.raises(Unavailable, match="tiffin is offline"):
            offline.system.login(server.host, "ann", "secret")
        assert server.asked == []
        other.images.pull(name)
        asked = len(server.asked)
        assert not offline.images.pull(name).updated
        with pytest.raises(Unavailable, match="tiffin is offline"):
            offline.images.push(name)
        with pytest.raises(Unavailable, match="is not here for this platform, or not as a whole, and"):
            offline.images.pull(name, platform="linux/s390x")
        assert len(server.asked) == asked


def test_a_plan_says_what_a_pull_then_fetches(other: Engine, shelf: Shelf, server: ScriptedServer) -> None:
    """The plan's bytes are those that are fetched; what is here, or half here, is not counted again."""
    name = f"{server.host}/shop:1"
    sizes = [part["size"] for part in json.loads(shelf.blobs[shelf.tags["1"]])["layers"]]
    plan = other.images.plan_pull(name)
    assert (plan.digest, [part.fetch for part in plan.layers]) == (shelf.tags["1"], sizes)
    assert plan.fetch == sum(sizes)
    assert shown(other) == []
    large = next(digest for digest, data in shelf.blobs.items() if len(data) > 1 << 20)
    half = len(shelf.blobs[large]) // 2

    def cut(asked: Asked) -> Reply | None:
        if large not in asked.path:
            return None
        if "range" in asked.headers:
            return Reply.error(503, "UNAVAILABLE", "enough", Retry_After="9999")
        return Reply(200, shelf.blobs[large][:half], length=len(shelf.blobs[large]), cut=True)

    shelf.trouble = cut
    with pytest.raises(Unavailable, match="enough"):
        other.images.pull(name)
    assert other.images.plan_pull(name).layers[1].fetch == len(shelf.blobs[large]) - half
    shelf.trouble = lambda _asked: None
    other.images.pull(name)
    assert other.images.plan_pull(name).fetch == 0


def test_a_plan_tells_of_the_rate_limit(other: Engine, shelf: Shelf, server: ScriptedServer) -> None:
    """What a registry announces of its limit is told by a plan."""
    shelf.trouble = lambda asked: _limited(shelf, asked)
    assert other.images.plan_pull(f"{server.host}/shop:1").rate_limit == "76 of 100 pulls left in 6 hours"


def _limited(shelf: Shelf, asked: Asked) -> Reply | None:
    if "/manifests/" not in asked.path:
        return None
    reply = shelf._give(asked)
    reply.headers |= {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
    return reply


def test_a_mirror_is_asked_first(other: Engine, server: ScriptedServer) -> None:
    """Everything comes from the mirror, by the registry's name; the registry is not even asked."""
    with ScriptedServer(lambda _asked: Reply.error(500, "UNKNOWN", "never")) as origin:
        said = {origin.host: RegistrySettings(mirrors=(server.host,))}
        with with_settings(other, registries=said) as mirrored:
            pulled = mirrored.images.pull(f"{origin.host}/shop:1")
        assert pulled.reference == f"{origin.host}/shop:1"
        assert origin.asked == []
    check_sound(other)


def test_what_a_mirror_lacks_comes_from_the_registry(
    other: Engine, shelf: Shelf, server: ScriptedServer
) -> None:
    """A mirror that is away, has nothing, breaks off or sends wrong bytes is fallen through."""
    broken = Shelf()
    broken.blobs, broken.types, broken.tags = dict(shelf.blobs), shelf.types, shelf.tags
    large = next(digest for digest, data in shelf.blobs.items() if len(data) > 1 << 20)
    data = shelf.blobs[large]
    small = next(
        d for d in shelf.blobs if d not in {large, shelf.tags["1"]} and shelf.blobs[d][:2] == b"\x1f\x8b"
    )

    def trouble(asked: Asked) -> Reply | None:
        if large in asked.path:
            return Reply(200, data[: len(data) // 2], length=len(data), cut=True)
        if small in asked.path:
            return Reply(200, bytes(len(shelf.blobs[small])))
        return None

    broken.trouble = trouble
    with (
        closed_port() as port,
        ScriptedServer(broken.answer) as mirror,
        ScriptedServer(Shelf().answer) as empty,
    ):
        mirrors = (f"127.0.0.1:{port}", empty.host, mirror.host)
        said = {server.host: RegistrySettings(mirrors=mirrors)}
        with with_settings(other, registries=said) as mirrored:
            mirrored.images.pull(f"{server.host}/shop:1")
        assert empty.asked
        assert mirror.count("GET", "/manifests/") == 1
    assert server.count("GET", "/manifests/") == 0
    check_sound(other)


def test_what_nobody_has_is_told_in_the_registrys_words(other: Engine, server: ScriptedServer) -> None:
    """When mirrors and registry fail, the registry's own error is what is told."""
    with ScriptedServer(lambda _asked: Reply.error(403, "DENIED", "the mirror says no")) as mirror:
        said = {server.host: RegistrySettings(mirrors=(mirror.host,))}
        with (
            with_settings(other, registries=said) as mirrored,
            pytest.raises(NotFound, match=f"manifest for {server.host}/shop:9 not found"),
        ):
            mirrored.images.pull(f"{server.host}/shop:9")


def test_blobs_that_are_not_kept_are_fetched_again_when_needed(
    shared_engine: Engine, other: Engine, registry: LoggedRegistry, tmp_path: Path
) -> None:
    """Without blobs an image is saved and pushed elsewhere with the same digests; offline it says why not."""
    name = f"{registry.host}/lean/base:1"
    shared_engine.images.tag("base:1", name)
    (pushed,) = shared_engine.images.push(name)
    shared_engine.images.remove(name)
    with with_settings(other, discard_blobs=True) as lean:
        lean.images.pull(name)
        layers = lean.store.images.manifest(lean.images.get(name)).layers
        assert not any(lean.store.content.has(part.digest) for part in layers)
        assert lean.images.plan_pull(name).fetch == 0
        assert not lean.images.pull(name).updated
        check_sound(lean)
        with open(tmp_path / "saved.tar", "wb") as out:
            lean.images.save([name], out)
        with make_engine(tmp_path / "third") as third, open(tmp_path / "saved.tar", "rb") as archive:
            third.images.load(archive)
            assert third.images.get(name).id == lean.images.get(name).id
        with REGISTRIES["box"](str(tmp_path / "elsewhere")) as elsewhere:
            lean.images.tag(name, f"{elsewhere.host}/moved:1")
            (moved,) = lean.images.push(f"{elsewhere.host}/moved:1")
            assert moved.digest == pushed.digest
            lean.images.remove(f"{elsewhere.host}/moved:1")
        assert not any(lean.store.content.has(part.digest) for part in layers)
        with with_settings(lean, offline=True) as offline, open(tmp_path / "no.tar", "wb") as out:
            with pytest.raises(NotFound, match="not found") as caught:
                offline.images.save([name], out)
            assert "cannot be fetched again" in caught.value.hint
            assert "offline" in caught.value.hint


@pytest.mark.parametrize("packing", [("zstd", 0), ("zstd", 12), ("gzip", 9)], ids=str)
def test_a_push_packs_as_it_is_told(
    shared_engine: Engine, other: Engine, registry: LoggedRegistry, packing: tuple[str, int]
) -> None:
    """Layers are packed in the wanted way; what is pulled from there is the same image, and ours stays."""
    kind, level = packing
    name = f"{registry.host}/packed/{kind}{level}:1"
    shared_engine.images.tag("base:1", name)
    before = shared_engine.images.get("base:1")
    (pushed,) = shared_engine.images.push(name, packing=Packing(kind=kind, level=level))
    assert all(part["mediaType"].endswith(f".tar+{kind}") for part in inspected(name)["layers"])
    assert shared_engine.images.get("base:1").manifest == before.manifest
    lines = Lines()
    again = shared_engine.images.push(name, packing=Packing(kind=kind, level=level), progress=lines)
    assert again == (pushed,)
    assert lines.count("Pushed") == 0
    pulled = other.images.pull(name)
    assert (pulled.image_id, pulled.digest) == (before.id, pushed.digest)
    check_sound(other)
    check_sound(shared_engine)
    shared_engine.images.remove(name)


def test_a_pulled_image_is_packed_anew(
    other: Engine, registry: LoggedRegistry, server: ScriptedServer
) -> None:
    """A layer that came as gzip goes as zstd, and its diff id stays."""
    other.images.pull(f"{server.host}/shop:1")
    name = f"{registry.host}/again/shop:1"
    other.images.tag(f"{server.host}/shop:1", name)
    other.images.push(name, packing=Packing(kind="zstd", level=3))
    manifest = inspected(name)
    assert [part["mediaType"].rpartition("+")[2] for part in manifest["layers"]] == ["zstd", "zstd"]
    assert manifest["config"]["digest"] == other.images.get(name).id
    check_sound(other)


def test_packings_that_there_are_not() -> None:
    """Another kind, a level without a kind and a level that there is not are refused by name."""
    assert Packing.parse("", None) is None
    for kind, level, words in (
        ("xz", None, "unknown compression 'xz'"),
        ("", 3, "needs --compression"),
        ("gzip", 10, "invalid compression level 10"),
        ("zstd", 0, "invalid compression level 0"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            Packing.parse(kind, level)


def test_a_registry_alone_with_wrong_bytes_is_corrupt(
    other: Engine, shelf: Shelf, server: ScriptedServer
) -> None:
    """Without a mirror there is nobody else to ask: wrong bytes end the pull."""
    large = next(digest for digest, data in shelf.blobs.items() if len(data) > 1 << 20)
    shelf.blobs[large] = bytes(len(shelf.blobs[large]))
    with pytest.raises(Corrupt, match="failed to verify"):
        other.images.pull(f"{server.host}/shop:1")
