"""Content: nothing wrong gets in or out unnoticed; built layers are blobs without a file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt, InvalidArgument, NotFound
from tiffin.layer import diff
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.descriptor import Descriptor
from tiffin.store import graph
from tiffin.store.content import VerifiedReader

if TYPE_CHECKING:
    from tiffin.store.store import Store


def descriptor_of(data: bytes, **fields: object) -> Descriptor:
    """Return the descriptor of some bytes, or one that lies about them."""
    return Descriptor(media_type=mediatype.OCI_LAYER, digest=digests.of(data), size=len(data)).replace(
        **fields
    )


def put(store: Store, wanted: Descriptor, data: bytes, *, resume: bool) -> None:
    """Write the rest of a blob's data."""
    with store.content.ingest(wanted, resume=resume) as writer:
        writer.write(data[writer.offset :])
        writer.commit()


def test_what_goes_in_comes_out(store: Store) -> None:
    """Bytes stored by either way are read back, by stream and whole; storing them again changes nothing."""
    data = os.urandom(3_000_000)
    wanted = descriptor_of(data)
    moved: list[int] = []
    assert not store.content.has_blob(wanted)
    store.content.put_blob(wanted, io.BytesIO(data), moved.append)
    assert sum(moved) == len(data)
    assert store.content.has_blob(wanted)
    reader = store.content.open_blob(wanted)
    assert reader.read() == data
    reader.close()
    assert store.content.put_bytes(data, mediatype.OCI_LAYER) == wanted
    assert os.listdir(store.layout.ingest) == []
    assert store.content.put_bytes(b"", "x").digest == digests.EMPTY_SHA256
    assert store.content.read(digests.EMPTY_SHA256) == b""


@pytest.mark.parametrize(
    "lie", [{"digest": digests.of(b"other")}, {"size": 3}, {"size": 5}, {"digest": "sha512:" + "0" * 128}]
)
def test_blob_that_is_not_what_was_announced_never_gets_in(store: Store, lie: dict[str, object]) -> None:
    """A wrong digest, too few bytes and too many are Corrupt, and leave nothing behind."""
    wanted = descriptor_of(b"data", **lie)
    for resume in (False, True):
        with pytest.raises(Corrupt):
            put(store, wanted, b"data", resume=resume)
        assert os.listdir(store.layout.ingest) == []
    assert not store.content.has_blob(wanted)
    with pytest.raises(NotFound, match=f"content {wanted.digest} not found"):
        store.content.open_blob(wanted)


def test_changed_file_is_noticed_by_every_reader(store: Store) -> None:
    """A flipped bit, a cut file and a longer one are Corrupt when read; a wrong length is not "here"."""
    data = os.urandom(100_000)
    wanted = store.content.put_bytes(data, mediatype.OCI_LAYER)
    path = store.content.path(wanted.digest)
    for changed in (bytes([data[0] ^ 1]) + data[1:], data[:-1], data + b"x", b""):
        with open(path, "wb") as stream:
            stream.write(changed)
        assert store.content.has_blob(wanted) is (len(changed) == len(data))
        reader = store.content.open_blob(wanted)
        with pytest.raises(Corrupt):
            reader.read()
        reader.close()
        with pytest.raises(Corrupt):
            store.content.read(wanted.digest)


@given(st.binary(max_size=300), st.lists(st.integers(1, 50)))
def test_reader_verifies_at_the_last_byte_for_any_reads(data: bytes, sizes: list[int]) -> None:
    """However a stream is read, the read of its last byte, or of its early end, raises if it is wrong."""
    good = VerifiedReader(io.BytesIO(data), descriptor_of(data))
    assert b"".join([good.read(size) for size in sizes] + [good.read()]) == data
    assert good.read(1) == b""
    bad = VerifiedReader(io.BytesIO(data), descriptor_of(data + b"!"))
    with pytest.raises(Corrupt):
        list(map(bad.read, [*sizes, *[100] * 10]))


def test_digests_that_are_none_reach_no_path(store: Store) -> None:
    """A digest with a slash in it, or of an unknown algorithm, is refused before it becomes a path."""
    for text in ("sha256:../../../etc/passwd", "md5:" + "0" * 32, "", "sha256:" + "G" * 64):
        with pytest.raises(InvalidArgument):
            store.content.path(text)
        with pytest.raises(InvalidArgument):
            store.content.ingest(descriptor_of(b"", digest=text))


def test_resumable_download_goes_on_and_can_restart(store: Store) -> None:
    """Left without commit, a download keeps what it has; restart begins at 0; abort throws it away."""
    data = os.urandom(50_000)
    wanted = descriptor_of(data)
    with store.content.ingest(wanted) as writer:
        writer.write(data[:20_000])
    with store.content.ingest(wanted) as writer:
        assert writer.offset == 20_000
        writer.restart()
        writer.write(data[:30_000])
    with store.content.ingest(wanted) as writer:
        assert writer.offset == 30_000
        writer.abort()
    with store.content.ingest(wanted) as writer:
        assert writer.offset == 0
        writer.write(data)
        writer.commit()
    assert store.content.read(wanted.digest) == data


def test_resumed_junk_is_thrown_away(store: Store) -> None:
    """What an earlier try left wrong fails the verification once, not for ever."""
    data = b"right" * 1000
    wanted = descriptor_of(data)
    with store.content.ingest(wanted) as writer:
        writer.write(b"wrong" * 500)
    with pytest.raises(Corrupt):
        put(store, wanted, data, resume=True)
    with store.content.ingest(wanted) as writer:
        assert writer.offset == 0


def test_built_layer_is_a_blob_made_from_its_folder(store: Store) -> None:
    """A layer of our own has its uncompressed blob without a file, verified; a foreign one has not."""
    draft = store.snapshots.begin()
    for number in range(50):
        with open(f"{draft.path}/{number}", "wb") as stream:
            stream.write(bytes([number]) * 10_000)
    measured = diff.measure(draft.path, xattr=store.settings.privilege.xattr)
    chain = store.snapshots.commit(draft, parent="", diff_id=measured.diff_id, size=measured.size)
    wanted = Descriptor(media_type=mediatype.OCI_LAYER, digest=measured.diff_id, size=measured.tar_size)
    assert store.content.has_blob(wanted)
    reader = store.content.open_blob(wanted)
    assert digests.of(reader.read()) == measured.diff_id
    reader.close()
    reader = store.content.open_blob(wanted)
    assert len(reader.read(10)) == 10
    reader.close()  # half read: its thread ends
    with open(f"{store.layout.layer(chain)}/0", "ab") as stream:
        stream.write(b"!")
    reader = store.content.open_blob(wanted)
    with pytest.raises(Corrupt):
        reader.read()
    reader.close()
    foreign = store.snapshots.begin()
    store.snapshots.commit(foreign, parent="", diff_id=digests.of(b"foreign"), size=0, foreign=True)
    assert not store.content.has_blob(descriptor_of(b"foreign"))


def test_compressed_form_is_remembered_while_it_is_there(store: Store) -> None:
    """A push finds the compressed blob of a layer it made before, unless the file is gone."""
    blob = store.content.put_bytes(b"compressed", mediatype.OCI_LAYER_GZIP)
    store.content.remember_compressed("sha256:diff", blob)
    assert store.content.compressed("sha256:diff") == blob
    assert store.content.compressed("sha256:diff", mediatype.OCI_LAYER_ZSTD) is None
    os.unlink(store.content.path(blob.digest))
    assert store.content.compressed("sha256:diff") is None


def nested(store: Store, depth: int) -> Descriptor:
    """Return an index in an index in an index..."""
    inner = store.content.put_bytes(b"{}", mediatype.OCI_CONFIG)
    for _ in range(depth):
        text = f'{{"schemaVersion":2,"manifests":[{{"mediaType":"{inner.media_type}",'
        text += f'"digest":"{inner.digest}","size":{inner.size}}}]}}'
        inner = store.content.put_bytes(text.encode(), mediatype.OCI_INDEX)
    return inner


def test_walk_gives_children_first_and_ends(store: Store) -> None:
    """Everything below comes before what points to it, once; an index nested without end is refused."""
    top = nested(store, 3)
    walked = list(graph.walk(store.content, top))
    assert len(walked) == 4
    assert walked[-1] == top
    with pytest.raises(Corrupt, match="nested too deep"):
        list(graph.walk(store.content, nested(store, 20)))
    absent = top.replace(digest=digests.of(b"absent"))
    with pytest.raises(NotFound):
        list(graph.walk(store.content, absent))
    assert list(graph.walk(store.content, absent, missing=True)) == [absent]
