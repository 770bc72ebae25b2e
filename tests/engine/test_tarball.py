"""commit, export and import: what goes into an image and a tar is what a container sees."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import check_sound, file, layer, special
from tests.rungs import needs_ids
from tests.snapshotter import own_files
from tiffin.engine.commit import CommitRequest
from tiffin.engine.streams import communicate
from tiffin.errors import Conflict, Corrupt, DockerfileError, InvalidArgument, NotFound
from tiffin.spec import digest
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

HOST = HostConfig(network_mode="host")


def ran(engine: Engine, script: str, image: str = "base:1", **config: object) -> str:
    """Run a script to its end and return the container's id."""
    made = engine.containers.create(
        ContainerConfig(image=image, cmd=("sh", "-c", script), env=("PATH=/bin",), **config),  # type: ignore[arg-type]
        HOST,
    ).id
    with engine.containers.start(made, attach=True) as connection:
        assert communicate(connection, b"", lambda *_: None) == 0
    return made


def running(engine: Engine, script: str) -> str:
    """Start a script that says "ready" and return the container's id."""
    made = engine.containers.create(ContainerConfig(image="base:1", cmd=("sh", "-c", script)), HOST).id
    engine.containers.start(made).close()
    for entry in engine.containers.logs(made, follow=True):
        assert b"ready" in entry.data
        break
    return made


def output(engine: Engine, image: str, *argv: str) -> bytes:
    """Return what a command in a new container of an image prints."""
    made = engine.containers.create(ContainerConfig(image=image, cmd=argv), HOST).id
    said = bytearray()
    with engine.containers.start(made, attach=True) as connection:
        communicate(connection, b"", lambda _stream, data: said.extend(data))
    return bytes(said)


CHANGES = (
    "echo new > /new; rm /data/seed; mkdir /dir; ln /new /dir/link; rm -r /etc; mkdir /etc; echo 1 > /etc/x"
)


def test_a_commit_holds_what_the_container_wrote(engine: Engine) -> None:
    """Files, deletions, opaque folders and hard links arrive; the layer's digest is its serialiser's."""
    made = ran(engine, CHANGES)
    image = engine.containers.commit(made, CommitRequest(name="done:1", author="me", message="why"))
    record = engine.images.get("done:1")
    assert record.id == image
    assert len(record.layers) == len(engine.images.get("base:1").layers) + 1
    said = output(engine, "done:1", "sh", "-c", "cat /new /dir/link /etc/x; ls /data /etc; stat -c %h /new")
    assert said == b"new\nnew\n1\n/data:\n\n/etc:\nhostname\nhosts\nresolv.conf\nx\n2\n"
    config = engine.store.images.config(record)
    entry = config.history[-1]
    assert (entry.author, entry.comment, entry.created_by) == ("me", "why", f"sh -c {CHANGES}")
    assert config.config.cmd == ("sh", "-c", CHANGES)
    assert digest.of(saved_layer(engine, "done:1")) == config.diff_ids[-1]
    assert record.size - base_size(engine) == len("new\n1\n")
    engine.containers.remove(made)
    check_sound(engine)
    engine.images.remove("done:1", force=True)


def saved_layer(engine: Engine, name: str) -> bytes:
    """Return the tar of an image's last layer, as it is saved."""
    out = io.BytesIO()
    engine.images.save([name], out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        found = archive.extractfile(manifest[0]["Layers"][-1])
        assert found is not None
        data = found.read()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def base_size(engine: Engine) -> int:
    return engine.images.get("base:1").size


def test_a_container_goes_on_after_a_commit(engine: Engine) -> None:
    """The container keeps its own files, and can be committed again over its first commit's name."""
    made = ran(engine, "echo one > /one")
    first = engine.containers.commit(made, CommitRequest(name="twice:1"))
    engine.containers.start(made).close()
    assert engine.containers.wait(made) == 0
    second = engine.containers.commit(made, CommitRequest(name="twice:1"))
    assert first != second, "they were made at different moments"
    assert engine.images.get(first).layers[:-1] == engine.images.get(second).layers[:-1]
    assert engine.images.get("twice:1").id == second
    engine.images.remove("twice:1")
    engine.images.remove(first)


def test_a_running_container_stands_still_only_while_it_is_copied(engine: Engine) -> None:
    """It runs again after a commit, with and without the pause; and after one that failed."""
    made = running(engine, "echo x > /x; echo ready; exec sleep 1000")
    for pause in (True, False):
        engine.containers.commit(made, CommitRequest(name="live:1", pause=pause))
        assert engine.containers.state(made).status == "running"
        assert output(engine, "live:1", "cat", "/x") == b"x\n"
    upper = own_files(engine.store.layout.container(made))
    with open(f"{upper}/.wh.no", "w"):
        pass
    with pytest.raises(InvalidArgument, match=r"begin with \.wh\."):
        engine.containers.commit(made, CommitRequest())
    assert engine.containers.state(made).status == "running"
    assert os.listdir(engine.store.layout.drafts) == []
    for view in engine.containers.list(all=True):
        engine.containers.remove(view.id, force=True)
    engine.images.remove("live:1", force=True)
    engine.images.prune()


def test_a_container_that_wrote_nothing_adds_no_layer(engine: Engine) -> None:
    """The new image differs by its config only, as with docker."""
    made = engine.containers.create(ContainerConfig(image="base:1", labels={"a": "b"}), HOST).id
    image = engine.containers.commit(made, CommitRequest(changes=('CMD ["true"]',)))
    record = engine.images.get(image)
    config = engine.store.images.config(record)
    assert record.layers == engine.images.get("base:1").layers
    assert config.history[-1].empty_layer
    assert (config.config.cmd, config.config.labels) == (("true",), {"a": "b"})
    engine.containers.remove(made)
    engine.images.remove(image)


def test_changes_are_a_dockerfiles_instructions(engine: Engine) -> None:
    """Each allowed keyword has its effect on the config; what would make files is refused by name."""
    made = engine.containers.create(ContainerConfig(image="base:1", env=("A=1",)), HOST).id
    words = (
        "ENV B=$A C='x y'", "EXPOSE 80 53/udp", "LABEL k=v", "USER web", "VOLUME /v", "WORKDIR sub",
        'ENTRYPOINT ["e"]', "CMD c d", "STOPSIGNAL SIGINT", "HEALTHCHECK NONE", "ONBUILD RUN x",
    )  # fmt: skip
    image = engine.containers.commit(made, CommitRequest(changes=words))
    config = engine.store.images.config(engine.images.get(image)).config
    assert set(config.env) >= {"A=1", "B=1", "C=x y"}
    assert config.exposed_ports == ("53/udp", "80/tcp")
    assert (config.labels, config.user, config.volumes) == ({"k": "v"}, "web", ("/v",))
    assert (config.working_dir, config.entrypoint) == ("/sub", ("e",))
    assert config.cmd == ("/bin/sh", "-c", "c d")
    assert (config.stop_signal, config.on_build) == ("SIGINT", ("RUN x",))
    with pytest.raises(InvalidArgument, match="RUN is not a valid change command"):
        engine.containers.commit(made, CommitRequest(changes=("RUN true",)))
    with pytest.raises(DockerfileError, match="must have two arguments"):
        engine.containers.commit(made, CommitRequest(changes=("ENV x",)))
    engine.containers.remove(made)
    engine.images.remove(image)


def test_commits_that_cannot_be(engine: Engine) -> None:
    """Docker's sentences; nothing is made."""
    before = engine.images.list()
    with pytest.raises(NotFound, match="No such container: none"):
        engine.containers.commit("none", CommitRequest())
    made = engine.containers.create(ContainerConfig(image="base:1"), HOST).id
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest"):
        engine.containers.commit(made, CommitRequest(name=f"x@sha256:{'0' * 64}"))
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        engine.containers.commit(made, CommitRequest(name="X"))
    assert engine.images.list() == before


def exported(engine: Engine, container: str) -> tarfile.TarFile:
    out = io.BytesIO()
    engine.containers.export(container, out)
    out.seek(0)
    return tarfile.open(fileobj=out)


@needs_ids
def test_an_export_is_what_the_container_sees(engine: Engine) -> None:
    """Merged files with owners, links and times; deletions are gone; docker's empty files are there."""
    made = ran(engine, f"{CHANGES}; ln -s /new /soft; chown 7:8 /new; mkfifo /pipe")
    with exported(engine, made) as archive:
        members = {member.name: member for member in archive}
        assert {"bin", "bin/busybox", "new", "dir/link", "etc/x", "soft", "tmp"} <= members.keys()
        assert not {"data/seed", "etc/passwd"} & members.keys()
        assert {".dockerenv", "dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf"} <= members.keys()
        assert members["etc/hosts"].size == 0
        assert members["proc"].isdir()
        linked = [members["new"], members["dir/link"]]
        assert sorted(member.islnk() for member in linked) == [False, True]
        assert {(member.uid, member.gid) for member in linked} == {(7, 8)}
        assert members["soft"].linkname == "/new"
        assert members["pipe"].isfifo()
        assert members["tmp"].mode == 0o1777
        content = archive.extractfile("etc/x")
        assert content is not None
        assert content.read() == b"1\n"


def test_a_running_container_can_be_exported(engine: Engine) -> None:
    """An export reads beside the container, which is not disturbed."""
    made = running(engine, "echo x > /x; echo ready; exec sleep 1000")
    with exported(engine, made) as archive:
        assert "x" in archive.getnames()
    assert engine.containers.state(made).status == "running"


@needs_ids
def test_import_of_an_export_runs(engine: Engine) -> None:
    """What was exported is an image again, with the config that the changes say, and equal files."""
    made = ran(engine, "echo kept > /kept; chown 7:8 /kept")
    out = io.BytesIO()
    engine.containers.export(made, out)
    out.seek(0)
    image = engine.images.import_tar(
        out, name="flat:1", changes=["ENV PATH=/bin", 'CMD ["cat", "/kept"]'], message="flat"
    )
    record = engine.images.get("flat:1")
    assert (record.id, len(record.layers)) == (image, 1)
    assert engine.store.images.config(record).history[0].comment == "flat"
    assert output(engine, "flat:1") == b"kept\n"
    assert output(engine, "flat:1", "stat", "-c", "%u:%g", "/kept") == b"7:8\n"
    for view in engine.containers.list(all=True):
        engine.containers.remove(view.id)
    engine.images.remove("flat:1")
    check_sound(engine)


def test_imports_are_compressed_or_not_and_refused_when_broken(engine: Engine) -> None:
    """Compression is seen, not said; junk, traversal and bad names leave nothing behind."""
    import gzip

    plain = layer(file("a", b"a"), special("b", tarfile.SYMTYPE, linkname="a"))
    ids = [
        engine.images.import_tar(io.BytesIO(data), platform="linux/arm/v7")
        for data in (plain, gzip.compress(plain))
    ]
    layers = {engine.images.get(image).layers for image in ids}
    assert len(layers) == 1, "the same files are the same layer"
    assert str(engine.images.get(ids[0]).platform) == "linux/arm/v7"
    for image in set(ids):
        engine.images.remove(image)
    with pytest.raises((Corrupt, InvalidArgument)):
        engine.images.import_tar(io.BytesIO(b"no tar" * 1000))
    with pytest.raises((Corrupt, InvalidArgument, Conflict)):
        engine.images.import_tar(io.BytesIO(layer(file("../../out", b"x"))))
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        engine.images.import_tar(io.BytesIO(plain), name="X")
    check_sound(engine)
