"""Fuzzing: what strangers write is changed at random, for as long as asked; it is understood or refused.

    scripts/fuzz [SECONDS [SEED]]

Tars (read, and unpacked in a jail), image archives, manifests, indexes, image configs and references take
turns. Anything else than a result or an error of ours is a finding: its input is kept, and the run fails.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import sys
import tarfile
import tempfile
import time
import traceback
from typing import TYPE_CHECKING, Any

from tests.layer.trees import folder, hardlink, member, raw_header, symlink, tar_of
from tiffin.archive import load
from tiffin.archive.members import TarMembers
from tiffin.errors import TiffinError
from tiffin.layer import index
from tiffin.layer.apply import Limits, apply
from tiffin.layer.compression import Compressor, Decompressor, sniff
from tiffin.layer.reader import TarReader
from tiffin.spec import digest as digests
from tiffin.spec import manifest, mediatype
from tiffin.spec.image import ImageConfig
from tiffin.spec.reference import Reference
from tiffin.store import atomic

if TYPE_CHECKING:
    from collections.abc import Callable

_FIELDS = (0, 100, 108, 116, 124, 136, 148, 156, 157, 257, 265, 329, 337, 345, 386, 482)
_WORDS = (
    b"", b"\0", b"/", b"..", b"../x", b".wh.a", b".wh..wh..opq", b"-1", b"\x80\0\0\0\0\0\0\xff", b"\xff" * 8,
    b"77777777777", b"9", b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"\xc3",
)  # fmt: skip
_LIMITS = Limits(entries=1000, unpacked_bytes=1 << 24)
_SLOW = 20.0
"""Seconds for one input: far more than any needs, on a machine that does other things as well."""


def _tars() -> list[bytes]:
    """Return tars in which everything occurs."""
    members = (
        folder("d"), member("d/f", b"content" * 300), hardlink("h", "d/f"), symlink("s", "d"),
        member("l" * 120, pax_headers={"SCHILY.xattr.user.a": "b", "mtime": "1.000000001"}),
        member("d/.wh.x"), member("e/.wh..wh..opq"), member("u", uid=2**30, mtime=2**34),
        hardlink("p", "late"), member("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("late", b"x"),
        member(("n" * 90 + "/") * 4 + "x", b"y" * 600), symlink("w", "t" * 200),
        member("q", type=tarfile.FIFOTYPE),
    )  # fmt: skip
    sparse = raw_header({"name": b"sparse", "kind": b"S", "size": b"00000001000"}) + bytes(1024)
    forms = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
    return [*(tar_of(*members, form=form) for form in forms), sparse + tar_of(member("after"))]


def _json() -> dict[str, bytes]:
    """Return documents of every kind."""
    layer = {"mediaType": mediatype.OCI_LAYER_GZIP, "digest": digests.of(b"l"), "size": 5}
    config = {"mediaType": mediatype.OCI_CONFIG, "digest": digests.of(b"c"), "size": 7}
    platform = {"architecture": "arm", "os": "linux", "variant": "v7"}
    entry = {"mediaType": mediatype.OCI_MANIFEST, "digest": digests.of(b"m"), "size": 9, "platform": platform}
    described = {
        "Cmd": ["sh"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "User": "1:2",
        "Labels": {"a": "b"}, "Healthcheck": {"Test": ["CMD", "x"], "Interval": 10**9}, "StopSignal": "TERM",
    }  # fmt: skip
    history = [{"created": "2024-01-02T03:04:05.6Z", "created_by": "RUN x"}, {"empty_layer": True}]
    image = {
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z", "config": described,
        "rootfs": {"type": "layers", "diff_ids": [digests.of(b"d")]}, "history": history,
    }  # fmt: skip
    documents = {
        "manifest": {
            "schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config, "layers": [layer],
            "subject": config, "annotations": {"a": "b"},
        },
        "index": {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [entry, entry]},
        "config": image,
    }  # fmt: skip
    return {name: json.dumps(body).encode() for name, body in documents.items()}


def _archive() -> bytes:
    """Return what `docker save` writes, in its older form."""
    image = _json()["config"]
    tar = tar_of(member("f", b"x"))
    config = json.dumps(json.loads(image) | {"rootfs": {"type": "layers", "diff_ids": [digests.of(tar)]}})
    listed = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l/layer.tar"]}]
    return tar_of(
        member("c.json", config.encode()), member("l/layer.tar", gzip.compress(tar, mtime=0)),
        member("manifest.json", json.dumps(listed).encode()), symlink("s", "l/layer.tar"),
    )  # fmt: skip


class Fuzzer:
    """One run: chance, seeds, and a jail to unpack in."""

    def __init__(self, seed: int, jail: str) -> None:
        """Begin; the same seed gives the same inputs."""
        self.chance = random.Random(seed)
        self.jail = jail
        self.tars = _tars()
        self.documents = _json()
        self.archive = _archive()
        self.counts: dict[str, list[int]] = {}
        self.turns: list[tuple[str, int, Callable[[], bytes], Callable[[bytes], object]]] = [
            ("tar", 200, self.some_tar, self.read_tar),
            ("unpack", 2, self.some_tar, self.unpack),
            ("packed", 40, self.some_packed, self.unpack_stream),
            ("archive", 20, lambda: self.change_tar(self.archive), self.read_archive),
            ("manifest", 150, self.some_document, lambda data: manifest.parse(data, "")),
            ("config", 150, self.some_document, ImageConfig.parse),
            ("reference", 300, self.some_reference, self.read_reference),
            ("layer index", 20, self.some_index, index.unpack),
        ]

    # What is made

    def change(self, data: bytes) -> bytes:
        """Change some bytes anywhere."""
        changed = bytearray(data)
        for _ in range(self.chance.randrange(1, 6)):
            at = self.chance.randrange(len(changed) + 1)
            match self.chance.randrange(4):
                case 0:
                    changed[at : at + 1] = self.chance.randbytes(1)
                case 1:
                    del changed[at : at + self.chance.randrange(1, 40)]
                case 2:
                    changed[at:at] = self.chance.choice(_WORDS)
                case _:
                    start = self.chance.randrange(len(changed) + 1)
                    changed[at:at] = changed[start : start + self.chance.randrange(1, 600)]
        return bytes(changed)

    def change_tar(self, data: bytes) -> bytes:
        """Change fields of headers, mostly with a checksum that is right, or any bytes."""
        if self.chance.random() < 0.2:
            return self.change(data)
        changed = bytearray(data)
        for _ in range(self.chance.randrange(1, 6)):
            block = self.chance.randrange(len(changed) // 512) * 512
            start = block + self.chance.choice(_FIELDS)
            word = self.chance.choice(_WORDS) or self.chance.randbytes(self.chance.randrange(1, 12))
            changed[start : start + len(word)] = word
            header = changed[block : block + 512]
            if self.chance.random() < 0.9 and len(header) == 512:
                header[148:156] = b" " * 8
                changed[block + 148 : block + 156] = b"%06o\0 " % sum(header)
        return bytes(changed[: len(data)])

    def some_tar(self) -> bytes:
        """Return a tar that was changed."""
        return self.change_tar(self.chance.choice(self.tars))

    def some_packed(self) -> bytes:
        """Return a packed tar that was changed."""
        packer = Compressor(self.chance.choice(["gzip", "zstd", "xz", "bzip2"]))
        return self.change(packer.feed(self.tars[0]) + packer.finish())

    def some_document(self) -> bytes:
        """Return a document that was changed, by its bytes or by its meaning."""
        data = self.chance.choice(list(self.documents.values()))
        if self.chance.random() < 0.3:
            return self.change(data)
        return json.dumps(self._changed(json.loads(data))).encode()

    def _changed(self, value: Any) -> Any:
        """Put something odd somewhere into a document."""
        odd = (
            None,
            True,
            -1,
            2**70,
            1.5,
            "",
            "x",
            "\ud800",
            "sha256:x",
            [],
            {},
            [[]],
            {"": None},
            "a" * 5000,
        )
        if not isinstance(value, dict | list) or not value or self.chance.random() < 0.15:
            return self.chance.choice(odd)
        if isinstance(value, list):
            at = self.chance.randrange(len(value))
            return [*value[:at], self._changed(value[at]), *value[at + 1 :]]
        key = self.chance.choice(list(value))
        if self.chance.random() < 0.1:
            return {name: found for name, found in value.items() if name != key}
        return value | {key: self._changed(value[key])}

    def some_reference(self) -> bytes:
        """Return pieces of references in any order."""
        parts = (
            "localhost", ":", "5000", "/", "library", "a", ".", "-", "__", "@", "sha256:", "f" * 64, "1", "A",
            "[::1]", "docker.io", "é", " ", "\0", "x" * 130, "_", "tag",
        )  # fmt: skip
        words = self.chance.choices(parts, k=self.chance.randrange(1, 9))
        return "".join(words).encode()

    def some_index(self) -> bytes:
        """Return an index file of a layer that was changed."""
        rows: list[index.Row] = [("a", index.FILE, 0o644, 0, 0, 1, "x", "")]
        return self.change(index.pack(rows))

    # What is done with it

    def read_tar(self, data: bytes) -> None:
        """Read every entry and its content."""
        stream = io.BytesIO(data)
        reader = TarReader(lambda: stream.read(700))
        for entry in reader:
            if len(reader.read()) != entry.stored:
                raise AssertionError(entry.text)

    def unpack(self, data: bytes) -> None:
        """Unpack into the jail; nothing appears beside the folder that it was told."""
        target = tempfile.mkdtemp(dir=self.jail)
        try:
            with tempfile.TemporaryFile() as file:
                file.write(data)
                file.seek(0)
                apply(file.fileno(), target, xattr="trusted.", limits=_LIMITS)
        finally:
            atomic.delete_tree(target)
            if os.listdir(self.jail) != ["witness"]:
                raise AssertionError(f"it left {os.listdir(self.jail)}")

    def unpack_stream(self, data: bytes) -> None:
        """Unpack compressed bytes."""
        stream = Decompressor(sniff(data[:6]))
        for _ in stream.pieces(data):
            pass
        stream.finish()

    def read_archive(self, data: bytes) -> None:
        """Open an image archive and read what its images point to."""
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            with load.Archive(TarMembers(os.dup(file.fileno()))) as archive:
                for image in archive.images:
                    archive.read(image.top)

    def read_reference(self, data: bytes) -> None:
        """Parse a reference; what it is written as means the same."""
        found = Reference.parse(data.decode("utf-8", "surrogateescape"))
        if Reference.parse(str(found)) != found:
            raise AssertionError(f"{found} is read as something else")

    # A run

    def run(self, seconds: float) -> int:
        """Take turns until the time is over; return how many findings there were."""
        end, findings = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for name, times, make, use in self.turns:
                for _ in range(times):
                    findings += not self.one(name, make(), use)
        return findings

    def one(self, name: str, data: bytes, use: Callable[[bytes], object]) -> bool:
        """Use one input; tell whether it ended as it must."""
        counts = self.counts.setdefault(name, [0, 0])
        began = time.monotonic()
        try:
            use(data)
            counts[0] += 1
        except TiffinError as error:
            counts[1] += 1
            if not error.message:
                return self.keep(name, data, "an error without a message")
        except BaseException:  # noqa: BLE001 - that is what is looked for
            return self.keep(name, data, traceback.format_exc())
        if time.monotonic() - began > _SLOW:
            return self.keep(name, data, "it took too long")
        return True

    def keep(self, name: str, data: bytes, what: str) -> bool:
        """Write a finding down."""
        with tempfile.NamedTemporaryFile(prefix=f"tiffin-fuzz-{name}-", delete=False) as kept:
            kept.write(data)
        sys.stderr.write(f"{name}: {what}input: {kept.name}\n")
        return False


def main(seconds: float, seed: int) -> int:
    """Run and report."""
    with tempfile.TemporaryDirectory(prefix="tiffin-fuzz-") as folder_name:
        jail = f"{folder_name}/jail"
        os.makedirs(f"{jail}/witness")
        fuzzer = Fuzzer(seed, jail)
        findings = fuzzer.run(seconds)
    for name, (understood, refused) in fuzzer.counts.items():
        sys.stdout.write(
            f"{name}: {understood + refused} inputs, {understood} understood, {refused} refused\n"
        )
    sys.stdout.write(f"seed {seed}: {findings} findings\n")
    return min(findings, 1)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 10**6))
