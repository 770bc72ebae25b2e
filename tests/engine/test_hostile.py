"""Images that lie, layers that reach out, registries in trouble: refused by name, and nothing is left."""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Lines, Shelf, check_sound, file, layer, shown, special, sweep
from tests.rungs import PRIVILEGE
from tests.servers import Asked, Reply, ScriptedServer
from tiffin.engine.engine import Engine
from tiffin.errors import Corrupt, InvalidArgument, NotFound, TiffinError, Unavailable, Unsupported
from tiffin.spec import digest as digests
from tiffin.spec import mediatype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOOD = layer(file("good"))
BIG = layer(file("big", os.urandom(3 << 20)))


@pytest.fixture
def shelf() -> Shelf:
    """A registry without images."""
    return Shelf()


@pytest.fixture
def server(shelf: Shelf) -> Iterator[ScriptedServer]:
    """The shelf, served."""
    with ScriptedServer(shelf.answer) as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty store."""
    with make_engine(tmp_path) as opened:
        yield opened


def check_untouched(engine: Engine) -> None:
    """No image is seen, nothing is wrong, and nothing at all has been left on disk."""
    assert shown(engine) == []
    check_sound(engine)
    layout = engine.store.layout
    for folder in (layout.drafts, layout.ingest, f"{layout.content}/blobs/sha256"):
        assert os.listdir(folder) == []


def refused(engine: Engine, server: ScriptedServer, kind: type[TiffinError], words: str) -> TiffinError:
    """A pull fails in this way and leaves nothing; its error."""
    with pytest.raises(kind, match=words) as caught:
        engine.images.pull(f"{server.host}/bad:1")
    check_untouched(engine)
    return caught.value


def test_a_layer_with_another_content_than_the_config_says(
    engine: Engine, server: ScriptedServer, shelf: Shelf
) -> None:
    """A layer is believed only if it unpacks to the diff_id of the config; what came before it goes too."""
    shelf.image("1", GOOD, BIG, diff_ids=[digests.of(GOOD), digests.of(b"other")])
    refused(engine, server, Corrupt, "the image's config says sha256:")
    archive = _docker_archive(GOOD, BIG, diff_ids=[digests.of(GOOD), digests.of(b"other")])
    with pytest.raises(Corrupt, match=f"failed to verify {digests.of(b'other')}"):
        engine.images.load(io.BytesIO(archive))
    check_untouched(engine)


def _docker_archive(*layers: bytes, diff_ids: list[str]) -> bytes:
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["bad:1"], "Layers": names}]).encode()
    parts = [*zip(names, layers, strict=True), ("c.json", config), ("manifest.json", manifest)]
    return layer(*(file(name, data) for name, data in parts))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "failed to verify"),
        (lambda data: data[: len(data) // 2], "failed to verify"),
        (lambda data: data + b"x", "failed to verify"),
        (lambda _data: b"", "failed to verify"),
    ],
    ids=["flipped", "short", "long", "empty"],
)
def test_a_blob_with_other_bytes(
    engine: Engine, server: ScriptedServer, shelf: Shelf, bad: Callable[[bytes], bytes], words: str
) -> None:
    """A layer's blob with other bytes than its digest says never gets anywhere; nor does a config's."""
    manifest = json.loads(shelf.blobs[shelf.image("1", GOOD, BIG).digest])
    for victim in (manifest["layers"][1]["digest"], manifest["config"]["digest"]):
        kept = shelf.blobs[victim]
        shelf.blobs[victim] = bad(kept)
        refused(engine, server, Corrupt, words)
        shelf.blobs[victim] = kept
    engine.images.pull(f"{server.host}/bad:1")
    check_sound(engine)


def test_a_blob_that_is_not_there(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """A layer that the registry lacks fails the pull at once, however long another layer would take."""
    shelf.image("1", GOOD, BIG)
    manifest = json.loads(shelf.blobs[shelf.tags["1"]])
    del shelf.blobs[manifest["layers"][0]["digest"]]
    refused(engine, server, NotFound, "blob unknown")


def test_config_and_manifest_must_have_as_many_layers(
    engine: Engine, server: ScriptedServer, shelf: Shelf
) -> None:
    """A config that names more layers than the manifest has is refused before any is fetched."""
    shelf.image("1", GOOD, BIG, cut_layers=1)
    refused(engine, server, Corrupt, "image config names 2 layers, its manifest 1")
    assert server.count("GET", "/blobs/") == 1


def test_the_settings_limits_hold_for_whatever_is_unpacked(
    tmp_path: Path, server: ScriptedServer, shelf: Shelf
) -> None:
    """What is pulled, imported, added or loaded may hold what the settings say, and the hint names them."""
    files = layer(file("a"), file("b"), file("c"))
    shelf.image("1", files)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/add.tar").write_bytes(files)
    (tmp_path / "context/Dockerfile").write_text("FROM scratch\nADD add.tar /\n")
    with make_engine(tmp_path / "wide") as wide:
        wide.images.pull(f"{server.host}/app:1")
        saved = io.BytesIO()
        wide.images.save([f"{server.host}/app:1"], saved)
        settings = wide.settings.replace(root=f"{tmp_path}/root", run=f"{tmp_path}/run")
    with Engine(settings.replace(max_entries=2)) as engine:
        for attempt in (
            lambda: engine.images.pull(f"{server.host}/app:1"),
            lambda: engine.images.import_tar(io.BytesIO(files)),
            lambda: engine.images.load(io.BytesIO(saved.getvalue())),
            lambda: engine.images.build(str(tmp_path / "context")),
        ):
            with pytest.raises(Corrupt, match="more than 2 entries") as refused:
                attempt()
            assert "max_entries" in refused.value.hint
            check_untouched(engine)
    with Engine(settings.replace(max_unpacked_bytes=4096)) as engine:
        with pytest.raises(Corrupt, match="unpacks to more than 4096 bytes"):
            engine.images.load(io.BytesIO(saved.getvalue()))
        check_untouched(engine)


def test_artifacts_are_refused_by_their_name(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """A helm chart, a Windows image, schema 1, a foreign layer type: each is said what it is."""
    helm = "application/vnd.cncf.helm.config.v1+json"
    shelf.image("1", GOOD, config_type=helm)
    refused(
        engine,
        server,
        Unsupported,
        "this is an artifact of type application/vnd.cncf.helm.config.v1.json, not a container image",
    )
    shelf.image("1", GOOD, platform="windows/amd64")
    refused(engine, server, InvalidArgument, 'image operating system "windows" cannot be used')
    old = {"schemaVersion": 1, "name": "bad", "tag": "1", "fsLayers": [], "history": []}
    shelf.document(old, mediatype.DOCKER_SCHEMA1, "1")
    refused(engine, server, Unsupported, "manifest schema version 1 is not supported")
    body = json.loads(shelf.blobs[shelf.image("1", GOOD).digest])
    body["layers"][0]["mediaType"] = "application/x-surprise"
    shelf.document(body, mediatype.OCI_MANIFEST, "1")
    refused(engine, server, Unsupported, "unsupported layer media type application/x-surprise")
    shelf.document({"schemaVersion": 2, "manifests": []}, mediatype.OCI_INDEX, "1")
    refused(engine, server, NotFound, "no matching manifest")
    shelf.document({"schemaVersion": 2}, mediatype.OCI_MANIFEST, "1")
    refused(engine, server, Corrupt, "not an object")


def test_a_config_of_junk(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """A config that is no config is Corrupt, whatever shape its junk has."""
    junk = (b"[]", b"{}", b"\xff", b'{"rootfs": {"diff_ids": ["../x"]}}', b'{"rootfs": 3}', b"[" * 9999)
    for raw in junk:
        config = shelf.blob(raw, mediatype.OCI_CONFIG)
        compressed = shelf.blob(gzip.compress(GOOD), mediatype.OCI_LAYER_GZIP)
        body = {"schemaVersion": 2, "config": config.to_json(), "layers": [compressed.to_json()]}
        shelf.document(body, mediatype.OCI_MANIFEST, "1")
        refused(engine, server, Corrupt, "config|json|digest")


OUTSIDE = [
    (file("../out"),),
    (file("a/../../out"),),
    (file("/../out"),),
    (special("link", tarfile.SYMTYPE, linkname="/etc"), file("link/out")),
    (special("link", tarfile.SYMTYPE, linkname="../../../../etc"), file("link/out")),
    (special("hard", tarfile.LNKTYPE, linkname="../../../../etc/passwd"),),
    (
        special("link", tarfile.SYMTYPE, linkname="/etc/passwd"),
        special("h", tarfile.LNKTYPE, linkname="link"),
    ),
    (file("../.wh.out"),),
    (file(".wh..."),),
    (file(".wh.."),),
]


@pytest.mark.parametrize("entries", OUTSIDE, ids=range(len(OUTSIDE)))
def test_no_entry_reaches_out_of_its_layer(
    engine: Engine, server: ScriptedServer, shelf: Shelf, entries: tuple[tuple[tarfile.TarInfo, bytes], ...]
) -> None:
    """Whatever a name or a link says, nothing outside the layer is written, linked or removed."""
    links = os.lstat("/etc/passwd").st_nlink
    shelf.image("1", GOOD, layer(*entries))
    try:
        engine.images.pull(f"{server.host}/bad:1")
    except TiffinError:
        check_untouched(engine)
    else:
        check_sound(engine)
    assert os.lstat("/etc/passwd").st_nlink == links
    assert not os.path.lexists("/out")
    assert not os.path.lexists("/etc/out")
    store = engine.store.layout
    for folder in (store.root, store.layers, store.drafts):
        assert "out" not in os.listdir(folder)


def test_absolute_names_and_devices_stay_inside(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """A leading slash means the image's root; a device is a device there, as docker has it."""
    shelf.image(
        "1",
        layer(
            file("/etc/absolute", b"inside"),
            special("dev/null2", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
            special("pipe", tarfile.FIFOTYPE),
        ),
    )
    engine.images.pull(f"{server.host}/odd:1")
    stack = engine.store.stack(engine.images.get(f"{server.host}/odd:1").layers)
    assert stack.read("/etc/absolute") == b"inside"
    info = stack.lstat("/dev/null2")
    assert info is not None
    if PRIVILEGE.rung == "root":  # a user's is an empty file with a note
        assert info.st_rdev == os.makedev(1, 3)
    assert not os.path.lexists("/etc/absolute")
    check_sound(engine)


def test_a_forged_whiteout_device_is_no_way_around(
    engine: Engine, server: ScriptedServer, shelf: Shelf
) -> None:
    """A char device 0:0 in a tar would hide what is below without docker's mark: it is refused or does so."""
    shelf.image("1", GOOD, layer(special("good", tarfile.CHRTYPE, devmajor=0, devminor=0)))
    try:
        engine.images.pull(f"{server.host}/bad:1")
    except TiffinError:
        check_untouched(engine)
    else:
        stack = engine.store.stack(engine.images.get(f"{server.host}/bad:1").layers)
        assert stack.lstat("good") is None
        check_sound(engine)


def large_of(shelf: Shelf) -> str:
    """Return the digest of the blob of BIG."""
    return next(digest for digest, data in shelf.blobs.items() if len(data) > 1 << 20)


def test_a_registry_that_stumbles(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """One 500, one 429 and one broken connection in the middle of a pull are got over."""
    shelf.image("1", GOOD, BIG)
    troubles = [
        Reply.error(500, "UNKNOWN", "oops"),
        Reply.error(429, "TOOMANYREQUESTS", "slow down", Retry_After="0"),
    ]

    def stumble(asked: Asked) -> Reply | None:
        if large_of(shelf) not in asked.path:
            return None
        if troubles:
            return troubles.pop()
        if "range" not in asked.headers:
            data = shelf.blobs[large_of(shelf)]
            return Reply(200, data[: len(data) // 2], length=len(data), cut=True)
        return None

    shelf.trouble = stumble
    engine.images.pull(f"{server.host}/shop:1")
    (resumed,) = [a.headers["range"] for a in server.asked if "range" in a.headers]
    assert int(resumed.removeprefix("bytes=").rstrip("-")) == len(shelf.blobs[large_of(shelf)]) // 2
    check_sound(engine)


def test_a_layer_is_unpacked_while_it_still_comes(
    engine: Engine, server: ScriptedServer, shelf: Shelf
) -> None:
    """The first file of a layer is on disk before the registry has sent the second half of its blob."""
    shelf.image("1", layer(file("first", b"early"), file("second", os.urandom(3 << 20))))
    data = shelf.blobs[large_of(shelf)]
    found: list[str] = []

    def halve(asked: Asked) -> Reply | None:
        if large_of(shelf) not in asked.path:
            return None
        if "range" not in asked.headers:
            return Reply(200, data[: len(data) // 2], length=len(data), cut=True)
        deadline = time.monotonic() + 30
        while not found and time.monotonic() < deadline:
            found.extend(glob.glob(f"{engine.store.layout.drafts}/*/first"))
            os.sched_yield()
        return None

    shelf.trouble = halve
    engine.images.pull(f"{server.host}/shop:1")
    assert found
    check_sound(engine)


class Halves:
    """Trouble that sends half of the big layer and then nothing more; `over` ends it."""

    def __init__(self, shelf: Shelf) -> None:
        """Make trouble."""
        self.digest = large_of(shelf)
        self.data = shelf.blobs[self.digest]
        self.half = len(self.data) // 2
        self.after: Callable[[Asked], Reply | None] = lambda _asked: None
        self.over = False
        shelf.trouble = self

    def __call__(self, asked: Asked) -> Reply | None:
        """Answer for the big layer."""
        if self.digest not in asked.path:
            return None
        if self.over:
            return self.after(asked)
        if "range" in asked.headers:
            return Reply.error(503, "UNAVAILABLE", "enough", Retry_After="9999")
        return Reply(200, self.data[: self.half], length=len(self.data), cut=True)

    def fail(self, engine: Engine, name: str) -> None:
        """Have a pull fail half way; nothing is seen of it."""
        with pytest.raises(Unavailable, match="enough"):
            engine.images.pull(name)
        self.over = True
        assert shown(engine) == []
        (partial,) = os.listdir(engine.store.layout.ingest)
        assert os.path.getsize(f"{engine.store.layout.ingest}/{partial}") == self.half


def test_a_pull_goes_on_where_one_failed(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """What a registry sent before it gave up is not fetched twice: the next pull asks for the rest."""
    shelf.image("1", GOOD, BIG)
    trouble = Halves(shelf)
    name = f"{server.host}/shop:1"
    trouble.fail(engine, name)
    before = len(server.asked)
    lines = Lines()
    engine.images.pull(name, progress=lines)
    asked = [
        (a.path.rpartition("/")[2], a.headers.get("range")) for a in server.asked[before:] if a.path != "/v2/"
    ]
    assert asked == [("1", None), (trouble.digest, f"bytes={trouble.half}-")]
    assert min(line.current for line in lines if line.status == "Downloading") > trouble.half
    check_sound(engine)


@pytest.mark.parametrize("how", ["damaged", "refused", "ignored", "complete"])
def test_what_cannot_be_gone_on_with_comes_anew(
    engine: Engine, server: ScriptedServer, shelf: Shelf, how: str
) -> None:
    """A damaged half, a registry that refuses or ignores Range: the pull works all the same."""
    shelf.image("1", GOOD, BIG)
    trouble = Halves(shelf)
    name = f"{server.host}/shop:1"
    trouble.fail(engine, name)
    (partial,) = os.listdir(engine.store.layout.ingest)
    path = f"{engine.store.layout.ingest}/{partial}"
    if how == "damaged":
        with open(path, "r+b") as stream:
            stream.write(b"damage")
    elif how == "complete":
        with open(path, "wb") as stream:
            stream.write(trouble.data)
    elif how == "refused":
        trouble.after = lambda a: Reply.error(416, "RANGE_INVALID", "no") if "range" in a.headers else None
    else:
        trouble.after = lambda _asked: Reply(200, trouble.data)
    engine.images.pull(name)
    check_sound(engine)
    assert os.listdir(engine.store.layout.ingest) == []


def test_a_registry_that_fails_for_good(engine: Engine, server: ScriptedServer, shelf: Shelf) -> None:
    """A layer that never comes fails the pull with the registry's words; what came may wait for the next."""
    shelf.image("1", GOOD, BIG)
    shelf.trouble = lambda asked: (
        Reply.error(503, "UNAVAILABLE", "down for a while", Retry_After="3600")
        if large_of(shelf) in asked.path
        else None
    )
    with pytest.raises(Unavailable, match="down for a while"):
        engine.images.pull(f"{server.host}/bad:1")
    assert shown(engine) == []
    assert {finding.kind for finding in engine.system.fsck(repair=True)} <= {"rubbish"}
    check_untouched(engine)


def test_interrupting_a_pull_from_a_silent_registry(
    server: ScriptedServer, shelf: Shelf, tmp_path: Path
) -> None:
    """Ctrl-C ends a pull at once though the registry says nothing, and the next pull goes on."""
    shelf.image("1", GOOD, BIG)
    digest, silent, hangs = large_of(shelf), threading.Event(), threading.Event()

    def hang(asked: Asked) -> Reply | None:
        if digest not in asked.path or hangs.is_set():
            return None
        silent.set()
        return Reply(hang=hangs, raw=b"-")

    shelf.trouble = hang
    root = ("--root", f"{tmp_path}/root", "--run", f"{tmp_path}/run")
    program = [sys.executable, "-c", "from tiffin.cli.entry import main; main()", *root]
    name = f"{server.host}/shop:1"
    pull = subprocess.Popen([*program, "pull", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert silent.wait(30)
    pull.send_signal(signal.SIGINT)
    output, _ = pull.communicate(timeout=10)
    assert pull.returncode == 130, output
    assert b"Traceback" not in output
    hangs.set()
    with make_engine(tmp_path) as engine:
        assert shown(engine) == []
        engine.images.pull(name)
        sweep(engine)  # the folder of a layer that was about to be unpacked in that moment
        check_sound(engine)
