"""What the engine's tests share: images made by hand, a registry for them, a look for what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from tests.servers import Asked, Reply
from tiffin.engine.prune import Plan
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.platform import Platform
from tiffin.spec.value import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.engine.progress import Progress


def file(name: str, data: bytes = b"data", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return a file for `layer`."""
    return _entry(name, size=len(data), **more), data


def special(name: str, kind: bytes, **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return a link, folder or device for `layer`; `linkname`, `devmajor`... as tarfile has them."""
    return _entry(name, type=kind, **more), b""


def _entry(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a tar of these entries, as they stand."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Shelf:
    """Images made by hand, served as a registry does: `answer` is a script for `ScriptedServer`.

    `trouble` may answer in its place (None: no trouble). All repositories hold the same.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self.blobs: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.trouble: Callable[[Asked], Reply | None] = lambda _asked: None

    def blob(self, data: bytes, media_type: str) -> Descriptor:
        """Keep some bytes."""
        descriptor = Descriptor(media_type=media_type, digest=digests.of(data), size=len(data))
        self.blobs[descriptor.digest] = data
        return descriptor

    def document(self, body: object, media_type: str, tag: str = "") -> Descriptor:
        """Keep a manifest or an index, under a tag."""
        descriptor = self.blob(json.dumps(body).encode(), media_type)
        self.types[descriptor.digest] = media_type
        if tag:
            self.tags[tag] = descriptor.digest
        return descriptor

    def image(
        self,
        tag: str,
        *layers: bytes,
        diff_ids: Sequence[str] | None = None,
        platform: str = "",
        config_type: str = mediatype.OCI_CONFIG,
        cut_layers: int = 0,
        config: Mapping[str, Any] = EMPTY,
    ) -> Descriptor:
        """Keep an image of tars (served gzipped) and return its manifest; `diff_ids` may lie."""
        wanted = Platform.parse(platform) if platform else Platform.here()
        described = [
            self.blob(gzip.compress(data, 1, mtime=0), mediatype.OCI_LAYER_GZIP).to_json() for data in layers
        ]
        body = {
            "architecture": wanted.architecture,
            "os": wanted.os,
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids or map(digests.of, layers))},
            "config": dict(config),
        }
        raw = self.blob(json.dumps(body).encode(), config_type)
        manifest = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": raw.to_json(),
            "layers": described[: len(described) - cut_layers],
        }
        return self.document(manifest, mediatype.OCI_MANIFEST, tag)

    def dress(self, tag: str, **fields: Any) -> None:
        """Give the config of an image more fields (`created`, `history`...)."""
        manifest = json.loads(self.blobs[self.tags[tag]])
        config = json.loads(self.blobs[manifest["config"]["digest"]]) | fields
        described = self.blob(json.dumps(config).encode(), manifest["config"]["mediaType"])
        self.document(manifest | {"config": described.to_json()}, mediatype.OCI_MANIFEST, tag)

    def answer(self, asked: Asked) -> Reply:
        """Answer as a registry that only gives."""
        if asked.path == "/v2/":
            return Reply(200)
        return self.trouble(asked) or self._give(asked)

    def _give(self, asked: Asked) -> Reply:
        _, kind, name = asked.path.rsplit("/", 2)
        if kind == "tags":
            return Reply.json({"name": "x", "tags": sorted(self.tags)})
        digest = self.tags.get(name, name)
        if digest not in self.blobs:
            code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
            return Reply.error(404, code, "not here")
        data = self.blobs[digest]
        headers = {"Docker-Content-Digest": digest}
        if kind == "manifests":
            return Reply(200, data, {**headers, "Content-Type": self.types[digest]})
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        if not start:
            return Reply(200, data, headers)
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Reply(206, data[start:], headers)


class Lines(list["Progress"]):
    """What a transfer said; call it as its `progress`."""

    def __call__(self, progress: Progress) -> None:
        """Remember one line."""
        self.append(progress)

    def count(self, status: str) -> int:  # type: ignore[override]
        """Count lines of a status."""
        return sum(line.status == status for line in self)


def shown(engine: Engine) -> list[str]:
    """Return the names and ids of all images that can be seen."""
    return [name for view in engine.images.list(all=True) for name in (view.tags or (view.id,))]


def sweep(engine: Engine) -> None:
    """Remove what nothing refers to: a prune that nothing else was planned for."""
    engine.system.prune(Plan(items=()))


def check_sound(engine: Engine) -> None:
    """Nothing is wrong with the store, and nothing in it is of no use."""
    findings = engine.system.fsck()
    assert not findings, findings
