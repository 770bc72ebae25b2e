"""push, pull, save and load against a real registry, and against skopeo and umoci as judges."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Lines, Shelf, check_sound, file, layer, shown, special
from tests.rungs import PRIVILEGE, outside
from tests.servers import REGISTRIES, DockerRegistry, LoggedRegistry, ScriptedServer
from tiffin.engine.quick import run_to_end
from tiffin.errors import InvalidArgument, NotFound, Unauthorized
from tiffin.registry.client import Repository
from tiffin.spec import mediatype
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tiffin.engine.engine import Engine

SECOND = """\
FROM base:1
RUN mkdir -p /opt/sub && echo new > /opt/sub/file && chmod 4755 /opt/sub/file && \\
  ln /opt/sub/file /opt/hard && ln -s file /opt/sub/soft
RUN rm -r /data && chown 7:8 /opt/sub && touch -d @1000000000 /opt/sub
LABEL shop=yes
"""


@pytest.fixture(scope="module", params=REGISTRIES)
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoggedRegistry]:
    """A registry that lets everybody in: Debian's, then the one in the box."""
    with REGISTRIES[request.param](str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, shared_engine: Engine) -> Engine:
    """An engine with `base:1` and, built on it, `shop:1`."""
    shared_engine.images.build(dockerfile=SECOND, tags=["shop:1"])
    return shared_engine


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with make_engine(tmp_path / "other") as engine:
        yield engine


def tool(*command: str) -> str:
    """Run one of the judges."""
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(*words: str) -> str:
    return tool("skopeo", "--insecure-policy", *words)


def tree(root: str) -> dict[str, Any]:
    """Return what a folder holds: kind, mode, owner, size, times of files, content, links."""
    found: dict[str, Any] = {}
    inodes: dict[int, str] = {}
    for folder, folders, files in sorted(os.walk(root)):
        for name in sorted([*folders, *files]):
            path = f"{folder}/{name}"
            info = os.lstat(path)
            key = path[len(root) :]
            what: Any = info.st_mtime_ns // 10**9
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as stream:
                    content = hashlib.sha256(stream.read()).hexdigest()
                what = (content, inodes.setdefault(info.st_ino, key), what)
            found[key] = (oct(info.st_mode), *owners(info.st_uid, info.st_gid), what)
    return found


def owners(uid: int, gid: int) -> tuple[int, int]:
    """Return the owner that umoci can give a file: as an ordinary user, its own only."""
    return (uid, gid) if PRIVILEGE.rung == "root" else (0, 0)


def unpacked(engine: Engine, name: str, folder: str) -> dict[str, Any]:
    """Return the tree of an image as umoci unpacks what we save."""
    with open(f"{folder}/saved.tar", "wb") as out:
        engine.images.save([name], out)
    skopeo("copy", f"oci-archive:{folder}/saved.tar", f"oci:{folder}/saved:x")
    return by_umoci(f"{folder}/saved", f"{folder}/saved.bundle")


def by_umoci(layout: str, bundle: str) -> dict[str, Any]:
    rootless = () if PRIVILEGE.rung == "root" else ("--rootless",)
    tool("umoci", "unpack", *rootless, "--image", f"{layout}:x", bundle)
    return tree(f"{bundle}/rootfs")


def test_what_is_pushed_is_what_others_and_we_pull(
    source: Engine, other: Engine, registry: LoggedRegistry, tmp_path: Path
) -> None:
    """One image, by tag and by digest, through our pull and through skopeo and umoci: the same everywhere."""
    name = f"{registry.host}/one/shop:1"
    source.images.tag("shop:1", name)
    (pushed,) = source.images.push(name)
    told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert told["Digest"] == pushed.digest
    assert told["Labels"] == {"shop": "yes"}
    pulled = other.images.pull(name)
    assert (pulled.digest, pulled.updated) == (pushed.digest, True)
    assert pulled.image_id == source.images.get("shop:1").id
    assert other.images.get(name).layers == source.images.get("shop:1").layers
    config = ContainerConfig(image=name, cmd=("sh", "-c", "cat /opt/hard; ls /; ls -l /opt/sub"))
    here = run_to_end(source, config.replace(image="shop:1"), HostConfig(auto_remove=True), b"")
    there = run_to_end(other, config, HostConfig(auto_remove=True), b"")
    assert there.stdout == here.stdout
    assert b"data" not in there.stdout
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/copied:x")
    copied = by_umoci(f"{tmp_path}/copied", f"{tmp_path}/bundle")
    assert copied == unpacked(other, name, str(tmp_path))
    assert "/data" not in copied
    assert copied["/opt/hard"][3][1] == copied["/opt/sub/file"][3][1]
    assert copied["/opt/sub"] == ("0o40755", *owners(7, 8), 1000000000)
    by_digest = f"{registry.host}/one/shop@{pushed.digest}"
    again = other.images.pull(by_digest)
    assert (again.image_id, again.updated) == (pulled.image_id, False)
    assert other.images.inspect(by_digest)["RepoDigests"] == [by_digest]
    check_sound(other)
    check_sound(source)


def test_a_second_push_sends_nothing(source: Engine, registry: LoggedRegistry) -> None:
    """What the registry has is not sent again: every layer exists, and no upload is begun."""
    name = f"{registry.host}/two/shop:1"
    source.images.tag("shop:1", name)
    first = source.images.push(name)
    begun = registry.requests(r"POST /v2/two/shop/blobs/uploads")
    lines = Lines()
    assert source.images.push(name, progress=lines) == first
    assert lines.count("Layer already exists") == len(source.images.get("shop:1").layers)
    assert registry.requests(r"POST /v2/two/shop/blobs/uploads") == begun
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{name.rpartition(':')[0]}"))
    assert listed["Tags"] == ["1"]


def test_layers_are_mounted_from_another_repository(source: Engine, registry: LoggedRegistry) -> None:
    """A layer that a repository of the same registry has is linked there, not sent."""
    for repository in ("from/shop", "to/shop"):
        source.images.tag("shop:1", f"{registry.host}/{repository}:1")
    source.images.push(f"{registry.host}/from/shop:1")
    lines = Lines()
    source.images.push(f"{registry.host}/to/shop:1", progress=lines)
    assert lines.count("Mounted") == len(source.images.get("shop:1").layers)
    assert registry.requests(r"PATCH /v2/to/shop/blobs/uploads") == 0
    assert registry.requests(r"PUT /v2/to/shop/blobs/uploads") == 1, "only the config is sent"


def test_what_is_here_is_not_fetched(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """Layers that another image brought are not asked for; a second pull asks for the tag's digest alone."""
    for name in ("base:1", "shop:1"):
        source.images.tag(name, f"{registry.host}/here/{name}")
        source.images.push(f"{registry.host}/here/{name}")
    other.images.pull(f"{registry.host}/here/base:1")
    lines = Lines()
    pulled = other.images.pull(f"{registry.host}/here/shop:1", progress=lines)
    shared = len(source.images.get("base:1").layers)
    assert lines.count("Already exists") == shared
    got = r"GET /v2/here/shop/blobs/"
    assert registry.requests(got) == len(source.images.get("shop:1").layers) - shared + 1  # the config
    asked = registry.requests("(GET|HEAD) /v2/here/shop/")
    before = written(other)
    again = other.images.pull(f"{registry.host}/here/shop:1")
    assert (again.updated, again.image_id) == (False, pulled.image_id)
    assert registry.requests("(GET|HEAD) /v2/here/shop/") == asked + 1
    assert registry.requests("HEAD /v2/here/shop/manifests/1") == 1
    assert written(other) == before, "nothing on disk has changed"
    by_digest = other.images.pull(f"{registry.host}/here/shop@{pulled.digest}")
    assert (by_digest.updated, by_digest.image_id) == (False, pulled.image_id)
    assert registry.requests("(GET|HEAD) /v2/here/shop/") == asked + 1, "a digest means one image for ever"
    # A layer that was built here has no blob: it is compressed by a push, and is not fetched after it.
    source.images.pull(f"{registry.host}/here/shop:1")
    assert registry.requests("(GET|HEAD) /v2/here/shop/") == asked + 2


def written(engine: Engine) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a store's root, but for SQLite's shared memory."""
    found = {}
    for folder, _, names in os.walk(engine.store.layout.root):
        for path in (folder, *(f"{folder}/{name}" for name in names if not name.endswith("-shm"))):
            info = os.lstat(path)
            found[path] = (info.st_size, info.st_mtime_ns)
    return found


def test_a_tag_that_moves(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """A pull of a tag that means another image now moves the name; the old image stays, dangling."""
    name = f"{registry.host}/moving:1"
    source.images.tag("base:1", name)
    source.images.push(name)
    old = other.images.pull(name)
    source.images.tag("shop:1", name)
    source.images.push(name)
    new = other.images.pull(name)
    assert new.updated
    assert other.images.get(name).id == new.image_id
    (dangling,) = other.images.list(filters={"dangling": ["true"]})
    assert dangling.id == old.image_id
    assert dangling.digests == (f"{registry.host}/moving@{old.digest}",)
    other.images.prune()
    assert shown(other) == [name]
    check_sound(other)


def test_a_private_registry(source: Engine, other: Engine, tmp_path: Path) -> None:
    """Without a login, or with a wrong one, nothing moves; credentials are docker's own file."""
    with DockerRegistry(str(tmp_path / "private"), users={"ann": "se:cret"}) as private:
        name = f"{private.host}/mine:1"
        source.images.tag("shop:1", name)
        with pytest.raises(Unauthorized, match="no basic auth credentials") as refused:
            source.images.push(name)
        assert f"tiffin login {private.host}" in refused.value.hint
        with pytest.raises(Unauthorized):
            source.system.login(private.host, "ann", "wrong")
        place = source.system.login(private.host, "ann", "se:cret")
        with open(place) as stream:
            assert private.host in json.load(stream)["auths"]
        source.images.push(name)
        with pytest.raises(Unauthorized):
            other.images.pull(name)
        assert shown(other) == []
        other.system.login(private.host, "ann", "se:cret")
        assert other.images.pull(name).image_id == source.images.get("shop:1").id
        assert source.system.logout(private.host)
        assert not source.system.logout(private.host)
        with pytest.raises(Unauthorized):
            source.images.push(name)
        source.images.remove(name)


def test_all_tags(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """`--all-tags` sends every local tag of a repository and fetches every tag that it has."""
    repository = f"{registry.host}/all"
    for tag, image in (("a", "base:1"), ("b", "shop:1"), ("c", "shop:1")):
        source.images.tag(image, f"{repository}:{tag}")
    assert [p.reference for p in source.images.push(repository, all_tags=True)] == [
        f"{repository}:{tag}" for tag in "abc"
    ]
    pulled = other.images.pull_all(repository)
    assert [p.reference for p in pulled] == [f"{repository}:{tag}" for tag in "abc"]
    assert sorted(shown(other)) == [f"{repository}:{tag}" for tag in "abc"]
    with pytest.raises(InvalidArgument, match="tag can't be used with --all-tags/-a"):
        other.images.pull_all(f"{repository}:a")
    with pytest.raises(NotFound, match="An image does not exist locally with the tag"):
        other.images.push(f"{registry.host}/none", all_tags=True)
    with pytest.raises(NotFound, match="An image does not exist locally with the tag"):
        other.images.push(f"{repository}:none")
    with pytest.raises(NotFound, match=f"manifest for {repository}:none not found") as missing:
        other.images.pull(f"{repository}:none")
    assert "tags a, b, c" in missing.value.hint


def put_index(engine: Engine, registry: LoggedRegistry, path: str) -> tuple[Descriptor, Descriptor]:
    """Make an index of a pushed image, another platform's and an attestation; return it and ours."""
    name = f"{registry.host}/{path}"
    engine.images.tag("shop:1", f"{name}:ours")
    engine.images.push(f"{name}:ours")
    shelf = Shelf()
    foreign = shelf.image("foreign", layer(file("arch", b"s390x")), platform="linux/s390x")
    attestation = shelf.image("attestation", layer(file("provenance", b"{}")), platform="unknown/unknown")
    with Repository(Reference.parse(f"{name}:1"), engine.settings) as repository:
        for digest, data in shelf.blobs.items():
            described = Descriptor(media_type=shelf.types.get(digest, ""), digest=digest, size=len(data))
            repository.put_blob(described, io.BytesIO(data), lambda _count: None)
        ours, _ = repository.resolve("ours")
        mark = {"vnd.docker.reference.type": "attestation-manifest"}
        entries = [
            attestation.replace(platform=Platform.parse("unknown/unknown"), annotations=mark),
            foreign.replace(platform=Platform.parse("linux/s390x")),
            ours.replace(platform=Platform.here()),
        ]
        body = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_INDEX,
            "manifests": [entry.to_json() for entry in entries],
        }
        repository.put_manifest(json.dumps(body).encode(), mediatype.OCI_INDEX, "1")
        return repository.resolve("1")[0], ours


def test_an_index(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """Of an index our platform is fetched, or the one that was asked for; the name means the index."""
    index, ours = put_index(source, registry, "many")
    name = f"{registry.host}/many:1"
    told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    asked = registry.requests("GET /v2/many/blobs/")
    pulled = other.images.pull(name)
    assert pulled.digest == told["Digest"] == index.digest
    assert pulled.image_id == source.images.get("shop:1").id
    record = other.images.get(name)
    assert (record.top.digest, record.manifest.digest) == (index.digest, ours.digest)
    assert registry.requests("GET /v2/many/blobs/") == asked + len(record.layers) + 1
    check_sound(other)
    foreign = other.images.pull(name, platform="linux/s390x")
    assert other.images.get(name).id == foreign.image_id != pulled.image_id
    assert other.images.inspect(name)["Architecture"] == "s390x"
    with pytest.raises(NotFound, match="no matching manifest for linux/riscv64") as missing:
        other.images.pull(name, platform="linux/riscv64")
    assert "linux/s390x" in missing.value.hint
    by_digest = other.images.pull(f"{registry.host}/many@{ours.digest}")
    assert by_digest.image_id == pulled.image_id
    check_sound(other)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_of_skopeo(
    source: Engine, other: Engine, registry: LoggedRegistry, tmp_path: Path, kind: str
) -> None:
    """What skopeo writes is loaded with its layers, and saved again it is the same image to skopeo."""
    name = f"{registry.host}/archived:1"
    source.images.tag("shop:1", name)
    source.images.push(name)
    archive = f"{tmp_path}/archive.tar"
    tag = "example.com/archived:2"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"{kind}:{archive}:{tag}")
    with open(archive, "rb") as stream:
        assert other.images.load(stream) == (f"Loaded image: {tag}",)
    assert other.images.get(tag).layers == source.images.get("shop:1").layers
    check_sound(other)
    with open(f"{tmp_path}/again.tar", "wb") as out:
        other.images.save([tag], out)
    for way, word in (("docker-archive", tag), ("oci-archive", "2")):
        told = json.loads(skopeo("inspect", "--config", f"{way}:{tmp_path}/again.tar:{word}"))
        assert told["rootfs"]["diff_ids"] == other.images.inspect(tag)["RootFS"]["Layers"]
    assert other.images.load(io.BytesIO((tmp_path / "again.tar").read_bytes())) == (f"Loaded image: {tag}",)


def test_save_and_load(source: Engine, other: Engine, tmp_path: Path) -> None:
    """Several images and names in one archive, through a pipe; ids, digests and files survive."""
    source.images.tag("shop:1", "shop:alias")
    image_id = source.images.get("base:1").id
    with open(f"{tmp_path}/all.tar", "wb") as out:
        source.images.save(["shop", image_id], out)
    told = skopeo("inspect", "--raw", f"docker-archive:{tmp_path}/all.tar:shop:alias")
    assert json.loads(told)["schemaVersion"] == 2
    command = ["cat", f"{tmp_path}/all.tar"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as pipe:
        assert isinstance(pipe.stdout, io.BufferedReader)
        lines = other.images.load(pipe.stdout)
    assert sorted(lines) == [
        "Loaded image ID: " + image_id,
        "Loaded image: shop:1",
        "Loaded image: shop:alias",
    ]
    assert other.images.get("shop:1").id == source.images.get("shop:1").id
    assert unpacked(other, "shop:1", str(tmp_path))["/opt/sub/file"][0] == "0o104755"
    assert other.images.get(image_id).tags == ()
    check_sound(other)
    source.images.remove("shop:alias")


def test_hard_links_into_layers_below(other: Engine, tmp_path: Path) -> None:
    """A hard link to a file of a layer below becomes that file's bytes, whichever layer holds it."""
    shelf = Shelf()
    below = layer(special("a", tarfile.DIRTYPE, mode=0o750), file("a/one", b"1" * 5000, mode=0o640, uid=5))
    middle = layer(file("two", b"22"), special("one-again", tarfile.LNKTYPE, linkname="a/one"))
    top = layer(
        special("two-again", tarfile.LNKTYPE, linkname="two"),
        special("third", tarfile.LNKTYPE, linkname="one-again"),
    )
    shelf.image("1", below, middle, top)
    with ScriptedServer(shelf.answer) as server:
        name = f"{server.host}/linked:1"
        other.images.pull(name)
    stack = other.store.stack(other.images.get(name).layers)
    for path, data in (("one-again", b"1" * 5000), ("third", b"1" * 5000), ("two-again", b"22")):
        assert stack.read(path) == data
    info = stack.lstat("third")
    assert info is not None
    assert (info.st_uid, info.st_mode & 0o7777) == (outside(5), 0o640)
    check_sound(other)
    (tmp_path / "x").mkdir()
    assert unpacked(other, name, str(tmp_path / "x"))["/third"][:3] == ("0o100640", *owners(5, 0))


def test_progress_is_dockers(source: Engine, other: Engine, registry: LoggedRegistry) -> None:
    """What is said while pulling has docker's words and order, and bytes that only grow."""
    name = f"{registry.host}/said:1"
    source.images.tag("shop:1", name)
    source.images.push(name)
    lines = Lines()
    pulled = other.images.pull(name, progress=lines)
    assert (lines[0].status, lines[0].id) == ("Pulling from said", "1")
    assert [line.status for line in lines[-2:]] == [
        f"Digest: {pulled.digest}",
        f"Status: Downloaded newer image for {name}",
    ]
    for short in {line.id for line in lines if re.fullmatch("[0-9a-f]{12}", line.id)}:
        own = [line for line in lines if line.id == short]
        words = list(dict.fromkeys(line.status for line in own))
        assert words == [
            *("Pulling fs layer", "Downloading", "Download complete", "Extracting", "Pull complete"),
        ]
        moved = [line.current for line in own if line.status == "Downloading"]
        assert moved == sorted(moved)
        assert moved[-1] == own[0].total
