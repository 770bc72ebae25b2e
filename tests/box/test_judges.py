"""Others' clients: skopeo copies into the box and out of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.servers import BoxRegistry, make_certificate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not (shutil.which("skopeo") and shutil.which("umoci")), reason="skopeo or umoci is not installed"
)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def make_layout(folder: str) -> str:
    """Make an OCI layout with one small image and return it as skopeo names it."""
    run("umoci", "init", "--layout", folder)
    run("umoci", "new", "--image", f"{folder}:1")
    run("umoci", "insert", "--rootless", "--image", f"{folder}:1", __file__, "/file")
    return f"oci:{folder}:1"


def blobs_of(layout: str) -> set[str]:
    """Return the digests that the manifest of a layout names."""
    manifest = json.loads(run("skopeo", "inspect", "--raw", layout))
    return {d["digest"] for d in (manifest["config"], *manifest["layers"])}


def test_skopeo_copies_in_across_and_out(tmp_path: Path) -> None:
    """What skopeo pushes comes back the same, also by way of a mount into another repository."""
    source = make_layout(f"{tmp_path}/in")
    with BoxRegistry(str(tmp_path / "box")) as box:
        there, here = "--dest-tls-verify=false", "--src-tls-verify=false"
        shop, other = f"docker://{box.host}/a/shop:1", f"docker://{box.host}/other:2"
        run("skopeo", "copy", there, source, shop)
        run("skopeo", "copy", here, there, shop, other)
        assert box.requests(r'POST /v2/other/blobs/uploads/\?.*mount=.*" 201') >= 1
        run("skopeo", "copy", here, other, f"oci:{tmp_path}/out:1")
        assert blobs_of(f"oci:{tmp_path}/out:1") == blobs_of(source)
        tags = run("skopeo", "list-tags", "--tls-verify=false", f"docker://{box.host}/a/shop")
        assert json.loads(tags)["Tags"] == ["1"]
        run("skopeo", "delete", "--tls-verify=false", other)
        assert run("skopeo", "inspect", "--raw", "--tls-verify=false", shop)


def test_skopeo_by_tls_and_password(tmp_path: Path) -> None:
    """A certificate of an own authority and a password: with both it works, with a wrong one it doesn't."""
    source = make_layout(f"{tmp_path}/in")
    made = make_certificate(str(tmp_path / "certificates"), "127.0.0.1")
    (tmp_path / "trusted").mkdir()
    shutil.copy(made.ca, tmp_path / "trusted" / "ca.crt")
    trusted = f"--dest-cert-dir={tmp_path}/trusted"
    with BoxRegistry(str(tmp_path / "box"), users={"ann": "se:cret"}, certificate=made) as box:
        target = f"docker://{box.host}/shop:1"
        run("skopeo", "copy", trusted, "--dest-creds=ann:se:cret", source, target)
        wrong = ["skopeo", "copy", trusted, "--dest-creds=ann:wrong", source, target]
        done = subprocess.run(wrong, capture_output=True, check=False)
        assert b"authentication required" in done.stderr or b"unauthorized" in done.stderr
