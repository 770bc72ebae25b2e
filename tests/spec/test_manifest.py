"""Manifests, indexes, descriptors and image configs: what is kept, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt, TiffinError, Unsupported
from tiffin.spec import digest as digests
from tiffin.spec import manifest, mediatype
from tiffin.spec.container import ContainerConfig
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.image import HistoryEntry, ImageConfig
from tiffin.spec.manifest import Index, Manifest
from tiffin.spec.platform import Platform

DIGEST = "sha256:" + "a" * 64
words = st.text(st.characters(codec="utf-8"), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
platforms = st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v6", "windows/amd64"]).map(
    Platform.parse
)
descriptors = st.builds(
    Descriptor,
    media_type=st.sampled_from([mediatype.OCI_LAYER_GZIP, mediatype.OCI_MANIFEST, "text/x"]),
    digest=st.binary(max_size=4).map(digests.of),
    size=st.integers(0, 2**63 - 1),
    annotations=st.dictionaries(words, words, max_size=2),
    platform=st.none() | platforms,
    artifact_type=words,
    urls=st.lists(words, max_size=2).map(tuple),
)


def descriptor_json(**changes: Any) -> dict[str, Any]:
    return {"mediaType": mediatype.OCI_LAYER, "digest": DIGEST, "size": 1} | changes


def parse(body: object, media_type: str = "") -> Manifest | Index:
    return manifest.parse(json.dumps(body).encode(), media_type)


@given(descriptors)
def test_a_descriptor_survives_its_json(descriptor: Descriptor) -> None:
    """Writing and reading a descriptor changes nothing."""
    assert Descriptor.from_json(descriptor.to_json()) == descriptor


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1}, {"size": True}, {"size": "1"}, {"size": 1.0}, {"size": None}, {"digest": "sha256:x"},
        {"digest": None}, {"mediaType": 3}, {"digest": "sha256:" + "../" * 21 + "a"}, {"size": 2**64},
    ],
)  # fmt: skip
def test_a_descriptor_without_its_members_is_corrupt(changes: dict[str, Any]) -> None:
    """Media type, digest and size are required, each of its own type."""
    with pytest.raises(Corrupt):
        Descriptor.from_json(descriptor_json(**changes))


@given(descriptors, st.lists(descriptors, max_size=3))
def test_a_built_manifest_parses_to_itself(config: Descriptor, layers: list[Descriptor]) -> None:
    """The bytes of a built manifest are kept as `raw` and parse to an equal value."""
    built = Manifest.build(config, layers)
    assert manifest.parse(built.raw) == built


members = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "rootfs", "history", "os"]
)
nested = json_values | st.lists(
    json_values.map(lambda v: descriptor_json(platform=v, annotations=v)), max_size=2
)


@given(st.dictionaries(members, nested | descriptors.map(Descriptor.to_json)) | json_values)
def test_hostile_documents_end_in_our_errors(body: object) -> None:
    """Whatever a registry sends parses, or raises an error of ours; nothing else comes out."""
    raw = json.dumps(body).encode()
    for read in (manifest.parse, ImageConfig.parse):
        try:
            found = read(raw)
        except TiffinError:
            continue
        assert found.raw == raw


def test_the_shape_decides_where_no_media_type_stands() -> None:
    """Old tools leave `mediaType` out; a header's parameters do not matter; the document's word wins."""
    assert isinstance(parse({"schemaVersion": 2, "manifests": []}), Index)
    body = {"schemaVersion": 2, "config": descriptor_json(), "layers": []}
    assert parse(body, f"{mediatype.DOCKER_MANIFEST}; charset=utf-8").media_type == mediatype.DOCKER_MANIFEST
    assert parse(body).media_type == mediatype.OCI_MANIFEST
    own = body | {"mediaType": mediatype.OCI_MANIFEST}
    assert parse(own, mediatype.DOCKER_MANIFEST).media_type == mediatype.OCI_MANIFEST


def test_a_document_that_is_both_is_refused() -> None:
    """An index that also has layers, or a media type that contradicts the shape, is an attack: refused."""
    entry = descriptor_json()
    both = {"schemaVersion": 2, "config": entry, "layers": [entry], "manifests": [entry]}
    with pytest.raises(Corrupt):
        parse(both)
    with pytest.raises(Corrupt):
        parse({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "config": entry, "layers": [entry]})
    with pytest.raises(Corrupt):
        parse({"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "manifests": [entry]})


def test_schema_one_and_artifacts_are_unsupported() -> None:
    """What is no image of this age is refused with what to do about it."""
    with pytest.raises(Unsupported):
        parse({"schemaVersion": 1, "fsLayers": []})
    chart = parse(
        {
            "schemaVersion": 2,
            "config": descriptor_json(mediaType="application/vnd.example.chart"),
            "layers": [],
        }
    )
    assert isinstance(chart, Manifest)
    with pytest.raises(Unsupported, match="artifact"):
        manifest.check_is_image(chart)


def _entry(platform: str, **annotations: str) -> dict[str, Any]:
    system, architecture = platform.split("/")
    return descriptor_json(
        digest=digests.of(platform.encode()),
        platform={"os": system, "architecture": architecture},
        annotations=annotations,
    )


def test_an_index_gives_the_entry_of_the_platform() -> None:
    """Attestations are no images; a single entry without a platform is taken as it is."""
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    index = parse(
        {
            "manifests": [
                _entry("unknown/unknown", **attestation),
                _entry("linux/arm64"),
                _entry("linux/amd64"),
            ]
        }
    )
    assert isinstance(index, Index)
    chosen = index.choose(Platform.parse("linux/amd64"))
    assert chosen is not None
    assert chosen.digest == digests.of(b"linux/amd64")
    assert index.choose(Platform.parse("linux/386")) is None
    assert len(index.images()) == 2
    single = parse({"manifests": [descriptor_json()]})
    assert isinstance(single, Index)
    assert single.choose(Platform.here()) is not None


texts = st.lists(words, max_size=3).map(tuple)
configs = st.builds(ContainerConfig, env=texts, cmd=st.none() | texts, user=words, working_dir=words)
histories = st.builds(HistoryEntry, created=words, created_by=words, comment=words, empty_layer=st.booleans())


@given(platforms, configs, st.lists(st.binary(max_size=2).map(digests.of), max_size=3), st.lists(histories))
def test_a_built_image_config_parses_to_itself(
    platform: Platform, config: ContainerConfig, diff_ids: list[str], history: list[HistoryEntry]
) -> None:
    """Equal inputs give equal bytes, so an equal id; and the bytes say what was put in."""
    made = [
        ImageConfig.build(
            platform=platform,
            config=config,
            diff_ids=tuple(diff_ids),
            history=tuple(history),
            created="2020-01-01T00:00:00Z",
            author="me",
        )
        for _ in range(2)
    ]
    assert made[0].raw == made[1].raw
    parsed = ImageConfig.parse(made[0].raw)
    # An image cannot say "an empty command": unset and empty are one there.
    assert parsed.replace(config=config) == made[0]
    assert parsed.config == config.replace(cmd=config.cmd or None)
    assert parsed.id == digests.of(made[0].raw)
