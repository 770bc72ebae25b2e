"""manifest create, annotate, inspect, push and rm against a real registry, with skopeo as the judge."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import REGISTRIES, LoggedRegistry, closed_port, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Tiffin


@pytest.fixture(scope="module", params=REGISTRIES)
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoggedRegistry]:
    """Debian's registry, then the one in the box."""
    with REGISTRIES[request.param](str(tmp_path_factory.mktemp("registry"))) as running:
        yield running


@pytest.fixture
def pushed(tiffin: Tiffin, registry: LoggedRegistry) -> tuple[str, str]:
    """The names of two images in the registry, in repositories of their own."""
    names = (f"{registry.host}/list/one:1", f"{registry.host}/list/two:1")
    for name in names:
        tiffin("tag", "box:1", name)
        tiffin("push", "-q", name)
        tiffin("rmi", name)
    return names


def by_skopeo(name: str, *words: str) -> dict[str, Any]:
    """Return what skopeo reads of a name."""
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", *words, f"docker://{name}"]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def test_a_list_from_its_making_to_its_pull(
    tiffin: Tiffin, registry: LoggedRegistry, pushed: tuple[str, str]
) -> None:
    """Create, annotate, inspect, push: then every platform is pulled from the one name."""
    one, two = pushed
    name = f"{registry.host}/list/all:1"
    assert tiffin("manifest", "create", name, one) == f"Created manifest list {name}\n"
    assert "refusing to amend an existing manifest list" in tiffin.wrong("manifest", "create", name, two)
    tiffin("manifest", "create", "--amend", name, two)
    tiffin("manifest", "annotate", "--os", "linux", "--arch", "arm", "--variant", "v7", name, two)
    tiffin("manifest", "annotate", "--os-features", "a,b", "--os-version", "9", name, two)
    told = json.loads(tiffin("manifest", "inspect", name))
    mine, foreign = (entry["platform"] for entry in told["manifests"])
    assert mine["os"] == "linux"
    assert foreign == {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7",
        "os.version": "9",
        "os.features": ["a", "b"],
    }
    assert json.loads(tiffin("manifest", "inspect", name, two))["config"] == by_skopeo(two)["config"]
    sent = tiffin("manifest", "push", "--purge", name).splitlines()
    digest = told["manifests"][0]["digest"]
    assert sent[0] == f"Pushed ref {registry.host}/list/all@{digest} with digest: {digest}"
    assert re.fullmatch("sha256:[0-9a-f]{64}", sent[-1])
    assert by_skopeo(name) == told
    assert f"No such manifest: {name}" in tiffin.wrong("manifest", "rm", name)
    assert json.loads(tiffin("manifest", "inspect", name)) == told, "the registry has it now"
    tiffin("pull", "-q", name)
    assert tiffin("image", "inspect", "-f", "{{.Id}}", name) == tiffin(
        "image", "inspect", "-f", "{{.Id}}", "box:1"
    )
    verbose = json.loads(tiffin("manifest", "inspect", "-v", name))
    assert [entry["Descriptor"]["platform"]["architecture"] for entry in verbose][1] == "arm"
    assert "layers" in (verbose[0].get("OCIManifest") or verbose[0]["SchemaV2Manifest"])
    tiffin("rmi", name)


def test_what_cannot_be_a_list_is_refused(
    tiffin: Tiffin, registry: LoggedRegistry, pushed: tuple[str, str]
) -> None:
    """A list within a list, a manifest that is not in it, a platform that there is not, a name of nothing."""
    one, two = pushed
    name = f"{registry.host}/list/odd:1"
    tiffin("manifest", "create", name, one)
    assert f"manifest for image {two} does not exist in {name}" in tiffin.wrong(
        "manifest", "annotate", "--arch", "arm", name, two
    )
    assert "unsupported os/arch combination: linux/vax" in tiffin.wrong(
        "manifest", "annotate", "--arch", "vax", name, one
    )
    tiffin("manifest", "push", name)
    assert "is a manifest list" in tiffin.wrong("manifest", "create", f"{registry.host}/x:1", name)
    assert "No such manifest" in tiffin.wrong("manifest", "push", f"{registry.host}/x:1")
    assert "not found" in tiffin.wrong("manifest", "inspect", f"{registry.host}/list/none:1")
    tiffin("manifest", "rm", name)


def test_insecure_registries(tiffin: Tiffin, tmp_path: Path) -> None:
    """--insecure is heard by create, inspect and push: a registry that nobody knows is asked all the same."""
    certificate = make_certificate(str(tmp_path / "certificate"), "127.0.0.1")
    with REGISTRIES["box"](str(tmp_path / "registry"), certificate=certificate) as secret:
        name = f"{secret.host}/shop:1"
        tiffin("tag", "box:1", name)
        tiffin("push", "-q", name)
        tiffin("manifest", "create", "--insecure", f"{secret.host}/all:1", name)
        assert json.loads(tiffin("manifest", "inspect", "--insecure", name))["layers"]
        tiffin("manifest", "push", "--insecure", f"{secret.host}/all:1")
        tiffin("rmi", name)
    with closed_port() as port:
        told = tiffin.wrong("manifest", "inspect", "--insecure", f"127.0.0.1:{port}/none:1")
        assert "connection refused" in told
