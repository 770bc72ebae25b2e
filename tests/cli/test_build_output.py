"""build --output, --push, --annotation and the limits of its commands, seen from outside."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_cgroups
from tests.servers import DOCKER_REGISTRY, DockerRegistry

if TYPE_CHECKING:
    import pathlib

    from tests.cli.conftest import Tiffin

DOCKERFILE = """\
FROM box:1 AS made
RUN echo made > /made
FROM scratch
COPY --from=made /made /out/made
"""


@pytest.fixture
def project(tmp_path: pathlib.Path) -> str:
    """A context whose image is one file."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return str(tmp_path)


def test_files_in_a_folder_and_as_a_tar(tiffin: Tiffin, project: str, tmp_path: pathlib.Path) -> None:
    """A folder gets the files, standard output a tar of them, and no image is left in the store."""
    before = tiffin("images", "-aq")
    tiffin("build", "-o", str(tmp_path / "here"), project)
    assert (tmp_path / "here/out/made").read_text() == "made\n"
    tiffin("build", "--output", f"type=local,dest={tmp_path}/there", project)
    assert (tmp_path / "there/out/made").read_text() == "made\n"
    said = tiffin.run("build", "-q", "-o", "-", project).stdout
    with tarfile.open(fileobj=io.BytesIO(said)) as archive:
        assert [member.name for member in archive] == ["out", "out/made"]
    tiffin("build", "-o", f"type=tar,dest={tmp_path}/files.tar", project)
    assert tarfile.is_tarfile(tmp_path / "files.tar")
    assert tiffin("images", "-aq") == before


def test_archives_can_be_loaded(tiffin: Tiffin, project: str, tmp_path: pathlib.Path) -> None:
    """An archive has the names of the build, which the store has only when it is loaded."""
    tiffin("build", "-t", "arc:1", "-o", f"type=oci,dest={tmp_path}/a.tar", project)
    assert "No such image" in tiffin.wrong("image", "inspect", "arc:1")
    assert "Loaded image: arc:1" in tiffin("load", "-i", f"{tmp_path}/a.tar")
    tiffin("build", "-t", "arc:2", "-o", f"type=docker,dest={tmp_path}/b.tar", "--load", project)
    assert json.loads(tiffin("image", "inspect", "arc:2"))[0]["RepoTags"] == ["arc:1", "arc:2"]


def test_what_is_not_had_is_refused_by_name(tiffin: Tiffin, project: str) -> None:
    """Kinds and options of outputs, and attestations, are named; their absence can be asked for."""
    assert "type cacheonly is not" in tiffin.wrong("build", "--output", "type=cacheonly", project)
    words = ("build", "--output", "type=tar,dest=x,compression=zstd", project)
    assert "option compression is not" in tiffin.wrong(*words)
    assert "attestations are not made" in tiffin.wrong("build", "--provenance", "mode=max", project)
    assert "attestations are not made" in tiffin.wrong("build", "--sbom", "true", project)
    assert "attestations are not made" in tiffin.wrong("build", "--attest", "type=sbom", project)
    tiffin(
        "build", "--provenance", "false", "--sbom", "false", "--attest", "type=sbom,disabled=true", project
    )


def test_push_sends_every_name_with_its_annotations(
    tiffin: Tiffin, project: str, tmp_path: pathlib.Path
) -> None:
    """--push needs a name; the manifest in the registry has the annotation, also after packing."""
    assert "tag is needed" in tiffin.wrong("build", "--push", project)
    if not os.path.exists(DOCKER_REGISTRY):
        pytest.skip("docker-registry is not installed")
    with DockerRegistry(str(tmp_path / "registry")) as registry:
        names = (f"{registry.host}/pushed:1", f"{registry.host}/pushed:2")
        note, other = "org.example.note=kept", "manifest:other=too"
        tiffin(
            *("build", "--push", "-t", names[0], "-t", names[1]),
            *("--annotation", note, "--annotation", other, project),
        )
        for name in names:
            manifest = json.loads(tiffin("manifest", "inspect", "--insecure", name))
            assert manifest["annotations"] == {"org.example.note": "kept", "other": "too"}


def test_commands_have_names_and_limits(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A RUN sees the hosts, the limits and the shared memory that its build was given."""
    (tmp_path / "Dockerfile").write_text(
        "FROM box:1\nRUN cat /etc/hosts > /seen; ulimit -n >> /seen; cat /proc/mounts >> /seen\n"
    )
    tiffin(
        *("build", "-t", "limited", "--add-host", "far:10.9.8.7"),
        *("--ulimit", "nofile=123:123", "--shm-size", "1m", str(tmp_path)),
    )
    seen = tiffin("run", "--rm", "limited", "cat", "/seen")
    assert "10.9.8.7\tfar" in seen
    assert "\n123\n" in seen
    assert "size=1024k" in seen


def test_progress_for_programs(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """Rawjson is one object a line: steps that begin and end, what they print, and the one that fails."""
    (tmp_path / "Dockerfile").write_text("FROM box:1\nRUN echo said\nRUN exit 3\n")
    done = tiffin.run("build", "--no-cache", "--progress", "rawjson", str(tmp_path))
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]
    vertexes = [vertex for line in lines for vertex in line.get("vertexes", ())]
    (ran,) = [v for v in vertexes if v["name"].endswith("RUN echo said") and "completed" in v]
    logs = [log for line in lines for log in line.get("logs", ()) if log["vertex"] == ran["digest"]]
    assert [base64.b64decode(log["data"]) for log in logs] == [b"said\n"]
    assert "exit code: 3" in vertexes[-1]["error"]


@needs_cgroups
def test_commands_are_limited(tiffin: Tiffin, tmp_path: pathlib.Path) -> None:
    """A RUN is in a cgroup with the memory, the processors and the share of them that were given."""
    (tmp_path / "Dockerfile").write_text(
        "FROM box:1\nRUN cat /proc/self/status > /seen; cd /sys/fs/cgroup; "
        "cat memory.max cpu.max memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us >> /seen; true\n"
    )
    tiffin(
        *("build", "-t", "limited:2", "--memory", "64m", "--memory-swap", "64m", "--cpu-period", "100000"),
        *("--cpu-quota", "50000", "--cpu-shares", "512", "--cpuset-cpus", "0", "--cpuset-mems", "0"),
        *("--cgroup-parent", "/tiffin-parent", str(tmp_path)),
    )
    seen = tiffin("run", "--rm", "limited:2", "cat", "/seen")
    assert "Cpus_allowed_list:\t0\n" in seen
    assert f"\n{64 << 20}\n" in seen
    assert "\n50000" in seen
