"""What a transfer takes in memory does not depend on how large an image is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.engine.conftest import make_engine
from tests.engine.parts import Shelf, check_sound, special
from tests.servers import ScriptedServer
from tiffin.layer.compression import Compressor
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

_TIFFIN = "from tiffin.cli.entry import main; main()"
_MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
# Run by a small process of its own: a child's peak begins with that of whoever forks it.
_LIMIT = 150 << 20
_PIECE = bytes(1 << 20)


def vast(shelf: Shelf, tag: str, size: int) -> None:
    """Put an image of one file of so many zeros on a shelf; packed it is a thousandth of that."""
    import hashlib
    import tarfile

    info, _ = special("vast", tarfile.REGTYPE, size=size)
    squeezer, hashed, packed = Compressor("gzip", 1), hashlib.sha256(), []
    pieces = [info.tobuf(tarfile.PAX_FORMAT), *[_PIECE] * (size >> 20), bytes(1024)]
    for piece in pieces:
        hashed.update(piece)
        packed.append(squeezer.feed(piece))
    packed.append(squeezer.finish())
    here = Platform.here()
    config = {
        "architecture": here.architecture,
        "os": here.os,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashed.hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": shelf.blob(json.dumps(config).encode(), mediatype.OCI_CONFIG).to_json(),
        "layers": [shelf.blob(b"".join(packed), mediatype.OCI_LAYER_GZIP).to_json()],
    }
    described = shelf.document(manifest, mediatype.OCI_MANIFEST, tag)
    assert digests.valid(described.digest)


@pytest.mark.parametrize(
    "size", [256 << 20, pytest.param(4 << 30, marks=pytest.mark.long)], ids=["256M", "4G"]
)
def test_a_vast_layer_streams(tmp_path: Path, size: int) -> None:
    """Neither the pull nor its worker holds more than 150 MiB, though every byte becomes a thousand."""
    shelf = Shelf()
    vast(shelf, "1", size)
    with make_engine(tmp_path) as engine, ScriptedServer(shelf.answer) as server:
        name = f"{server.host}/vast:1"
        layout = engine.store.layout
        command = [
            sys.executable,
            "-c",
            _TIFFIN,
            "--root",
            layout.root,
            "--run",
            layout.run,
            "pull",
            "-q",
            name,
        ]
        measured = subprocess.run(
            [sys.executable, "-S", "-c", _MEASURE, *command],
            env=dict(engine.settings.environment),
            stdout=subprocess.PIPE,
            check=True,
        )
        assert int(measured.stdout.split()[-1]) << 10 < _LIMIT
        info = engine.store.stack(engine.images.get(name).layers).lstat("vast")
        assert info is not None
        assert info.st_size == size
        check_sound(engine)
        engine.images.remove(name)
