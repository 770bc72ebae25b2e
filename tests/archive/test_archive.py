"""Image archives: written and read back, by us and by skopeo; old and new kinds; from files and pipes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tiffin.archive import load, save
from tiffin.errors import Corrupt, InvalidArgument, NotFound
from tiffin.spec import digest as digests
from tiffin.spec import jsontext, mediatype
from tiffin.spec import manifest as manifests
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.manifest import Index, Manifest
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.spec.blob import BlobReader


def described(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digests.of(data), size=len(data))


class Blobs:
    """A BlobSource in memory."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.data: dict[str, bytes] = {}

    def add(self, data: bytes, media_type: str) -> Descriptor:
        """Keep some bytes."""
        found = described(data, media_type)
        self.data[found.digest] = data
        return found

    def open_blob(self, descriptor: Descriptor) -> BlobReader:
        """Open one."""
        return io.BytesIO(self.data[descriptor.digest])


def layer_tar(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


LAYERS = [layer_tar("etc/one", random.Random(7).randbytes(100_000)), layer_tar("etc/two", b"two")]


def image(blobs: Blobs, label: str = "a", *, packed: bool = False) -> Manifest:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"label": label}},
        "rootfs": {"type": "layers", "diff_ids": [digests.of(data) for data in LAYERS]},
        "history": [{"created_by": "one"}, {"created_by": "two"}],
    }
    described_config = blobs.add(jsontext.dumps_bytes(config), mediatype.OCI_CONFIG)
    if packed:
        layers = [blobs.add(gzip.compress(d, mtime=0), mediatype.OCI_LAYER_GZIP) for d in LAYERS]
    else:
        layers = [blobs.add(data, mediatype.OCI_LAYER) for data in LAYERS]
    return Manifest.build(described_config, layers)


def tags(*names: str) -> tuple[Reference, ...]:
    return tuple(map(Reference.parse, names))


def saved(*images: save.SavedImage, blobs: Blobs) -> bytes:
    out = io.BytesIO()
    save.write(images, blobs, out)
    return out.getvalue()


@pytest.fixture
def spool(tmp_path: object) -> str:
    return f"{tmp_path}/spool"


def read_through(archive: load.Archive, top: Descriptor) -> tuple[Manifest, bytes, list[bytes]]:
    """Return an image's manifest, config and layers as the archive gives them, verified."""
    parsed = manifests.parse(archive.read(top), top.media_type)
    assert isinstance(parsed, Manifest)
    layers = [archive.open_blob(layer).read() for layer in parsed.layers]
    return parsed, archive.read(parsed.config), layers


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


# Round trips


def test_what_is_saved_loads_with_its_names_and_bytes(spool: str) -> None:
    """Two images with several names come back: same manifests, configs, layers, names."""
    blobs = Blobs()
    one, two = image(blobs, "one"), image(blobs, "two", packed=True)
    data = saved(
        save.SavedImage(manifest=one, tags=tags("busybox:1", "localhost:5000/x/y:2")),
        save.SavedImage(manifest=two),
        save.SavedImage(manifest=one, tags=tags("other:3")),
        blobs=blobs,
    )
    with load.read(io.BytesIO(data), spool) as archive:
        assert [i.tags for i in archive.images] == [tags("busybox:1", "localhost:5000/x/y:2", "other:3"), ()]
        assert [i.top.digest for i in archive.images] == [digests.of(one.raw), digests.of(two.raw)]
        manifest, config, layers = read_through(archive, archive.images[0].top)
        assert (manifest, config, layers) == (one, blobs.data[one.config.digest], LAYERS)
        assert read_through(archive, archive.images[1].top)[0] == two
    assert not os.path.exists(spool)


def test_saving_twice_gives_the_same_bytes() -> None:
    """No time, no order of a set, nothing of this machine is in an archive."""
    blobs = Blobs()
    one = save.SavedImage(manifest=image(blobs), tags=tags("a:1", "b:2"))
    first = saved(one, blobs=blobs)
    assert first == saved(one, blobs=blobs)
    assert hashlib.sha256(first).hexdigest() == (
        "d0bcdf16d4a88516538c8fe3905874eead6a9106480d9717044c43bf1a2f4be6"
    )
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
    assert {(m.uid, m.gid, m.mtime, m.uname) for m in members} == {(0, 0, 0, "")}
    assert len({m.name for m in members}) == len(members)


def test_the_manifest_json_is_dockers(spool: str) -> None:
    """Docker's members: Config, RepoTags (null for an image saved by id), Layers; and `repositories`."""
    blobs = Blobs()
    one, two = image(blobs, "one"), image(blobs, "two")
    data = saved(
        save.SavedImage(manifest=one, tags=tags("busybox:1")), save.SavedImage(manifest=two), blobs=blobs
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        listed = json.load(read["manifest.json"])  # type: ignore[arg-type]
        repositories = json.load(read["repositories"])  # type: ignore[arg-type]
        index = json.load(read["index.json"])  # type: ignore[arg-type]
    assert [entry["RepoTags"] for entry in listed] == [["busybox:1"], None]
    assert listed[0]["Config"] == "blobs/sha256/" + digests.hex_of(one.config.digest)
    assert listed[0]["Layers"] == ["blobs/sha256/" + digests.hex_of(layer.digest) for layer in one.layers]
    assert repositories == {"busybox": {"1": digests.hex_of(one.layers[-1].digest)}}
    assert [entry.get("annotations") for entry in index["manifests"]] == [
        {"io.containerd.image.name": "docker.io/library/busybox:1", "org.opencontainers.image.ref.name": "1"},
        None,
    ]


def test_a_source_with_other_bytes_ends_the_save() -> None:
    """A blob that is not as long as announced is an error, not a broken archive with code 0."""
    blobs = Blobs()
    one = image(blobs)
    for wrong in (b"short", LAYERS[0] + b"!"):
        blobs.data[one.layers[0].digest] = wrong
        with pytest.raises(Corrupt, match="the blob is not of"):
            saved(save.SavedImage(manifest=one), blobs=blobs)


# Compression, pipes, files


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip-members": lambda d: gzip.compress(d[:5000]) + gzip.compress(d[5000:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("way", ["file", "pipe", "memory"])
def test_any_compression_from_anywhere(tmp_path: object, spool: str, packer: str, way: str) -> None:
    """Outer compression is recognised, and a pipe is as good as a file; nothing named is left behind."""
    blobs = Blobs()
    one = image(blobs)
    data = PACKERS[packer](saved(save.SavedImage(manifest=one, tags=tags("a:1")), blobs=blobs))
    if way == "file":
        with open(f"{tmp_path}/file", "wb") as out:
            out.write(b"before" + data)
        stream: Any = open(f"{tmp_path}/file", "rb")  # noqa: SIM115 - closed below
        stream.read(6)
        feeder = None
    elif way == "pipe":
        reading, writing = os.pipe()
        stream = open(reading, "rb")  # noqa: SIM115 - closed below
        feeder = threading.Thread(target=_feed, args=(writing, data))
        feeder.start()
    else:
        stream, feeder = io.BytesIO(data), None
    with stream, load.read(stream, spool) as archive:
        assert read_through(archive, archive.images[0].top)[2] == LAYERS
    if feeder:
        feeder.join()
    assert not os.path.exists(spool)


def _feed(writing: int, data: bytes) -> None:
    with open(writing, "wb") as out:
        out.write(data)


# Old archives


def docker_archive(
    manifest: object,
    files: dict[str, bytes],
    links: dict[str, str] | None = None,
    *,
    kind: bytes = tarfile.SYMTYPE,
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return out.getvalue()


def old_config(*layers: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digests.of(data) for data in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}, indent=1).encode()


def test_an_old_docker_archive_loads(spool: str) -> None:
    """ID/layer.tar with a config.json: the image id is the config's digest, layers are their diff_ids."""
    config = old_config(*LAYERS)
    name = digests.hex_of(digests.of(config)) + ".json"
    files = {name: config, "aaa/layer.tar": LAYERS[0], "bbb/layer.tar": LAYERS[1], "bbb/VERSION": b"1.0"}
    entry = {"Config": name, "RepoTags": ["shop:1"], "Layers": ["aaa/layer.tar", "bbb/layer.tar"]}
    with load.read(io.BytesIO(docker_archive([entry], files)), spool) as archive:
        (only,) = archive.images
        assert only.tags == tags("shop:1")
        manifest, read_config, layers = read_through(archive, only.top)
        assert (read_config, layers) == (config, LAYERS)
        assert manifest.config.digest == digests.of(config)
        assert [layer.digest for layer in manifest.layers] == [digests.of(d) for d in LAYERS]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_layer_that_occurs_twice_is_a_link(spool: str, kind: bytes) -> None:
    """Old docker wrote a repeated layer as a symbolic link to the first one; a hard link does too."""
    config = old_config(LAYERS[0], LAYERS[0])
    target = "../aaa/layer.tar" if kind == tarfile.SYMTYPE else "aaa/layer.tar"
    entry = {"Config": "c.json", "RepoTags": None, "Layers": ["aaa/layer.tar", "bbb/layer.tar"]}
    files = {"c.json": config, "aaa/layer.tar": LAYERS[0]}
    data = docker_archive([entry], files, {"bbb/layer.tar": target}, kind=kind)
    with load.read(io.BytesIO(data), spool) as archive:
        assert archive.images[0].tags == ()
        assert read_through(archive, archive.images[0].top)[2] == [LAYERS[0], LAYERS[0]]


def test_a_packed_layer_of_an_old_archive_loads(spool: str) -> None:
    """A compressed layer file is described as such, with the digest of its own bytes."""
    packed = gzip.compress(LAYERS[0])
    entry = {"Config": "c.json", "RepoTags": [], "Layers": ["l.tar"]}
    data = docker_archive([entry], {"c.json": old_config(LAYERS[0]), "l.tar": packed})
    with load.read(io.BytesIO(data), spool) as archive:
        manifest, _, layers = read_through(archive, archive.images[0].top)
        assert layers == [packed]
        assert manifest.layers[0] == described(packed, mediatype.OCI_LAYER_GZIP)


# Hostile and broken archives


@pytest.mark.parametrize(
    ("manifest", "files", "links"),
    [
        ([{"Config": "../../etc/passwd", "Layers": []}], {}, {}),
        ([{"Config": "/etc/passwd", "Layers": []}], {}, {}),
        ([{"Config": "c", "Layers": []}], {}, {"c": "../../../etc/passwd"}),
        ([{"Config": "c", "Layers": []}], {}, {"c": "/etc/passwd"}),
        ([{"Config": "c", "Layers": []}], {}, {"c": "d", "d": "c"}),
        ([{"Config": "c", "Layers": []}], {}, {"c": "missing"}),
        ([{"Config": "\ud800\0", "Layers": []}], {}, {}),
        ([{"Config": "c", "Layers": ["l"]}], {"c": old_config(), "l": b""}, {}),
        ([{"Config": "c", "Layers": ["l"]}], {"c": old_config(LAYERS[0])}, {}),
        ([{"Config": "c", "Layers": [7]}], {"c": old_config()}, {}),
        ([{"Config": "c", "Layers": [], "RepoTags": ["UPPER"]}], {"c": old_config()}, {}),
        ([{"Config": "c", "Layers": [], "RepoTags": ["no-tag"]}], {"c": old_config()}, {}),
        ([{"Config": "c", "Layers": []}], {"c": b"[]"}, {}),
        ([{"Config": "c", "Layers": []}], {"c": b" " * (9 << 20)}, {}),
        ({"Config": "c"}, {}, {}),
        (["c"], {}, {}),
    ],
)
def test_a_hostile_manifest_json_is_refused(
    spool: str, manifest: object, files: dict[str, bytes], links: dict[str, str]
) -> None:
    """Names and links that lead out, circles, junk and contradictions: an error, never a file of the host."""
    with pytest.raises((Corrupt, NotFound, InvalidArgument)):
        load.read(io.BytesIO(docker_archive(manifest, files, links)), spool)


def test_a_layer_with_other_bytes_is_noticed_when_read(spool: str) -> None:
    """A layer that is not its diff_id's bytes raises with the read that ends it."""
    entry = {"Config": "c.json", "Layers": ["l.tar"]}
    data = docker_archive([entry], {"c.json": old_config(LAYERS[0]), "l.tar": LAYERS[1]})
    with load.read(io.BytesIO(data), spool) as archive, pytest.raises(Corrupt, match="other bytes"):
        read_through(archive, archive.images[0].top)


@pytest.mark.parametrize("cut", [0, 100, 600, 5000, 60_000])
@pytest.mark.parametrize("packer", ["plain", "gzip"])
def test_an_archive_that_is_cut_short_is_refused(tmp_path: object, spool: str, cut: int, packer: str) -> None:
    """Half an archive is an error at once: nothing of it is taken for an image."""
    blobs = Blobs()
    whole = PACKERS[packer](saved(save.SavedImage(manifest=image(blobs), tags=tags("a:1")), blobs=blobs))
    with open(f"{tmp_path}/cut", "wb") as out:
        out.write(whole[:cut])
    with open(f"{tmp_path}/cut", "rb") as stream, pytest.raises((Corrupt, InvalidArgument)):
        load.read(stream, spool)
    assert not os.path.exists(spool)


@pytest.mark.parametrize("junk", [b"", b"hello", bytes(10240), os.urandom(5000), b"\x1f\x8b" + b"x" * 99])
def test_what_is_no_archive_says_what_was_expected(spool: str, junk: bytes) -> None:
    """Junk is refused with a hint at what would do."""
    with pytest.raises((Corrupt, InvalidArgument)) as caught:
        load.read(io.BytesIO(junk), spool)
    assert "docker save" in caught.value.hint


# OCI layouts


def write_layout(folder: str, blobs: Blobs, index: dict[str, Any]) -> None:
    os.makedirs(f"{folder}/blobs/sha256")
    for digest, data in blobs.data.items():
        with open(f"{folder}/blobs/sha256/{digests.hex_of(digest)}", "wb") as out:
            out.write(data)
    with open(f"{folder}/index.json", "w") as out:
        json.dump(index, out)
    with open(f"{folder}/oci-layout", "w") as out:
        out.write('{"imageLayoutVersion": "1.0.0"}')


def test_a_layout_in_a_folder_loads_with_its_index(tmp_path: object) -> None:
    """A multi-platform index is kept whole, also where only one platform's blobs are there."""
    blobs = Blobs()
    here = blobs.add(image(blobs).raw, mediatype.OCI_MANIFEST)
    absent = described(b"elsewhere", mediatype.OCI_MANIFEST)
    body = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_INDEX,
        "manifests": [here.to_json(), absent.to_json()],
    }
    top = blobs.add(jsontext.dumps_bytes(body), mediatype.OCI_INDEX)
    names = [{"org.opencontainers.image.ref.name": n} for n in ("shop:2", "latest", "UPPER:1")]
    other = {"mediaType": "application/xml", "digest": here.digest, "size": 1}
    entries = [{**top.to_json(), "annotations": n} for n in names]
    write_layout(f"{tmp_path}/layout", blobs, {"schemaVersion": 2, "manifests": [*entries, other]})
    with load.read_folder(f"{tmp_path}/layout") as archive:
        (only,) = archive.images
        assert (only.top, only.tags) == (top, tags("shop:2"))
        index = manifests.parse(archive.read(only.top))
        assert isinstance(index, Index)
        assert [archive.has_blob(m) for m in index.manifests] == [True, False]
        with pytest.raises(NotFound):
            archive.open_blob(absent)


def test_a_folder_with_links_is_not_followed(tmp_path: object) -> None:
    """A blob, or a folder of blobs, that is a symbolic link or a FIFO does not exist."""
    blobs = Blobs()
    top = blobs.add(image(blobs).raw, mediatype.OCI_MANIFEST)
    write_layout(f"{tmp_path}/layout", blobs, {"schemaVersion": 2, "manifests": [top.to_json()]})
    with load.read_folder(f"{tmp_path}/layout") as archive:
        place = f"{tmp_path}/layout/blobs/sha256/{digests.hex_of(top.digest)}"
        os.rename(place, f"{tmp_path}/outside")
        os.symlink(f"{tmp_path}/outside", place)
        assert not archive.has_blob(top)
        os.unlink(place)
        os.mkfifo(place)
        assert not archive.has_blob(top)
        os.rename(f"{tmp_path}/layout/blobs/sha256", f"{tmp_path}/elsewhere")
        os.symlink(f"{tmp_path}/elsewhere", f"{tmp_path}/layout/blobs/sha256")
        config = manifests.parse(blobs.data[top.digest])
        assert isinstance(config, Manifest)
        assert not archive.has_blob(config.config)
    with pytest.raises(NotFound):
        load.read_folder(f"{tmp_path}/nowhere")


# Other people's tools


def test_skopeo_reads_what_is_saved_as_both_kinds(tmp_path: object) -> None:
    """One tar is a docker-archive and an oci-archive to skopeo: same layers, same config, same manifest."""
    blobs = Blobs()
    one, two = image(blobs, "one"), image(blobs, "two", packed=True)
    path = f"{tmp_path}/saved.tar"
    with open(path, "wb") as out:
        images = [
            save.SavedImage(manifest=one, tags=tags("shop:1")),
            save.SavedImage(manifest=two, tags=tags("shop:2")),
        ]
        save.write(images, blobs, out)
    for tag, manifest in (("1", one), ("2", two)):
        raw = skopeo("inspect", "--raw", f"oci-archive:{path}:{tag}")
        assert raw.encode() == manifest.raw
        skopeo("copy", f"docker-archive:{path}:shop:{tag}", f"dir:{tmp_path}/dir{tag}")
        with open(f"{tmp_path}/dir{tag}/manifest.json") as stream:
            copied = json.load(stream)
        assert copied["config"]["digest"] == manifest.config.digest
        diff_ids = [digests.of(data) for data in LAYERS]
        assert [layer["digest"] for layer in copied["layers"]] == diff_ids


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_loads(tmp_path: object, spool: str, kind: str) -> None:
    """Archives written by skopeo give the same config and layers back, under the name they were given."""
    blobs = Blobs()
    one = image(blobs)
    with open(f"{tmp_path}/ours.tar", "wb") as out:
        save.write([save.SavedImage(manifest=one, tags=tags("shop:1"))], blobs, out)
    skopeo("copy", f"oci-archive:{tmp_path}/ours.tar:1", f"{kind}:{tmp_path}/theirs.tar:shop:1")
    with open(f"{tmp_path}/theirs.tar", "rb") as stream, load.read(stream, spool) as archive:
        (only,) = archive.images
        assert only.tags == tags("shop:1")
        manifest, config, layers = read_through(archive, only.top)
        assert config == blobs.data[one.config.digest]
        unpacked = [gzip.decompress(d) if d[:2] == b"\x1f\x8b" else d for d in layers]
        assert unpacked == LAYERS
        assert manifest.config == one.config


def test_what_umoci_makes_loads(tmp_path: object) -> None:
    """A layout made by umoci loads from its folder."""
    layout = f"{tmp_path}/layout"
    for command in (["init", "--layout", layout], ["new", "--image", f"{layout}:v1"]):
        subprocess.run(["umoci", *command], check=True, capture_output=True)
    with load.read_folder(layout) as archive:
        (only,) = archive.images
        assert only.tags == ()
        assert read_through(archive, only.top)[2] == []
