"""pull, push, login and logout against a real registry, as the command line shows them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.servers import DOCKER_REGISTRY, DockerRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Tiffin

pytestmark = pytest.mark.skipif(
    not os.path.exists(DOCKER_REGISTRY), reason="docker-registry is not installed"
)
DIGEST = r"sha256:[0-9a-f]{64}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that lets only `ann` in, with the password `secret`."""
    with DockerRegistry(str(tmp_path_factory.mktemp("registry")), users={"ann": "secret"}) as running:
        yield running


@pytest.fixture
def ann(tiffin: Tiffin, registry: DockerRegistry) -> Iterator[str]:
    """Logged in as ann; the registry's host."""
    tiffin("login", "-u", "ann", "--password-stdin", registry.host, stdin=b"secret\n")
    yield registry.host
    tiffin("logout", registry.host)


def test_login_checks_the_password(tiffin: Tiffin, registry: DockerRegistry) -> None:
    """A wrong password is refused and not kept; a right one is kept until logout."""
    host = registry.host
    done = tiffin.run("login", "-u", "ann", "--password-stdin", host, stdin=b"wrong")
    assert done.returncode == 1
    assert tiffin("logout", host) == f"Not logged in to {host}\n"
    assert tiffin("login", "-u", "ann", "--password-stdin", host, stdin=b"secret").endswith(
        "Login Succeeded\n"
    )
    assert tiffin("logout", host) == f"Removing login credentials for {host}\n"


def test_without_login_nothing_is_pushed(tiffin: Tiffin, registry: DockerRegistry) -> None:
    """The registry's refusal is an error with a way out."""
    tiffin("tag", "box:1", f"{registry.host}/private:1")
    assert "login" in tiffin.wrong("push", f"{registry.host}/private:1")
    tiffin("rmi", f"{registry.host}/private:1")


def test_push_and_pull(tiffin: Tiffin, ann: str) -> None:
    """Docker's lines, in a log: what scripts look for stands in them."""
    name = f"{ann}/shop:1"
    tiffin("tag", "box:1", name)
    pushed = tiffin("push", name)
    assert pushed.startswith(f"The push refers to repository [{ann}/shop]\n")
    digest = re.findall(rf"(?m)^1: digest: ({DIGEST}) size: \d+$", pushed)[0]
    tiffin("rmi", name)
    pulled = tiffin("pull", name)
    assert pulled.startswith("1: Pulling from shop\n")
    assert f"\nDigest: {digest}\nStatus: Downloaded newer image for {name}\n{name}\n" in pulled
    again = tiffin("pull", name)
    assert f"Status: Image is up to date for {name}\n" in again
    assert tiffin("pull", "-q", name) == f"{name}\n"
    assert digest in tiffin("images", "--digests", f"{ann}/shop")
    tiffin("rmi", name)


def test_a_plan_before_a_pull(tiffin: Tiffin, ann: str) -> None:
    """--plan lists what would be fetched and fetches nothing; after the pull there is nothing to fetch."""
    name = f"{ann}/planned:1"
    tiffin("tag", "box:1", name)
    tiffin("push", "-q", name)
    tiffin("rmi", name)
    planned = tiffin("pull", "--plan", name)
    assert re.search(r"(?m)^[0-9a-f]{12}: (Already exists|To fetch \d[\d.]*[kM]?B)$", planned)
    assert re.search(
        rf"(?m)^Digest: {DIGEST}\nPlatform: linux/\S+\nTo fetch: \d\S+ in \d of \d layers$", planned
    )
    assert "No such image" in tiffin.wrong("image", "inspect", name)
    tiffin("pull", "-q", name)
    assert "To fetch: 0B in 0 of " in tiffin("pull", "--plan", name)
    assert "--plan is about one image" in tiffin.wrong("pull", "--plan", "-q", name)
    tiffin("rmi", name)


def test_offline_says_what_is_missing(tiffin: Tiffin, ann: str) -> None:
    """With --offline nothing is fetched: the error names the image, for pull and for run."""
    name = f"{ann}/far:1"
    assert f"{name} is not here, and tiffin is offline" in tiffin.wrong("--offline", "pull", name)
    told = tiffin.wrong("--offline", "run", "--rm", name, "true", code=125)
    assert f"{name} is not here, and tiffin is offline" in told
    assert tiffin("--offline", "run", "--rm", "box:1", "echo", "here") == "here\n"


def test_a_push_by_another_compression(tiffin: Tiffin, ann: str) -> None:
    """--compression and its level decide the layers' type; what is not known is refused."""
    name = f"{ann}/packed:1"
    tiffin("tag", "box:1", name)
    plain = tiffin("push", name)
    packed = tiffin("push", "--compression", "zstd", "--compression-level", "5", name)
    assert re.findall(DIGEST, plain) != re.findall(DIGEST, packed)
    image_id = tiffin("images", "-q", "--no-trunc", name)
    tiffin("rmi", name)
    tiffin("pull", "-q", name)
    assert tiffin("images", "-q", "--no-trunc", name) == image_id
    assert "unknown compression 'lz4'" in tiffin.wrong("push", "--compression", "lz4", name)
    assert "invalid compression level 23" in tiffin.wrong(
        "push", "--compression=zstd", "--compression-level=23", name
    )
    tiffin("rmi", name)


def test_info_shows_what_the_settings_say(tiffin: Tiffin, tmp_path: Path) -> None:
    """Mirrors, insecure registries, proxies (without their passwords) and the rest of tiffin.toml."""
    (tmp_path / "tiffin.toml").write_text(
        "offline = true\ndiscard_blobs = true\n"
        '[proxies]\nhttps = "http://ann:secret@proxy.example:3128"\nno = "localhost,.example"\n'
        '[registries."docker.io"]\nmirrors = ["mirror.example:5000"]\n'
        '[registries."lab:5000"]\ntls_verify = false\n'
    )
    told = subprocess.run(
        tiffin.argv("info"),
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TIFFIN_CONFIG": f"{tmp_path}/tiffin.toml"},
    ).stdout.decode()
    for line in (
        "Offline: true",
        "Discard Blobs: true",
        "HTTPS Proxy: http://xxxxx:xxxxx@proxy.example:3128",
        "No Proxy: localhost,.example",
        "Registry docker.io:\n  Mirror: mirror.example:5000",
        "Registry lab:5000: insecure",
    ):
        assert f"\n {line}\n" in told
    assert "secret" not in told


def test_run_fetches_what_is_not_here(tiffin: Tiffin, ann: str) -> None:
    """The pull is told on stderr, so that stdout is the container's alone."""
    name = f"{ann}/fetched:1"
    tiffin("tag", "box:1", name)
    tiffin("push", "-q", name)
    tiffin("rmi", name)
    done = tiffin.run("run", "--rm", name, "echo", "hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert done.stderr.startswith(
        f"Unable to find image '{name}' locally\n1: Pulling from fetched\n".encode()
    )
    tiffin("rmi", name)


def test_all_tags(tiffin: Tiffin, ann: str) -> None:
    """-a takes every tag, both ways."""
    for tag in ("1", "2"):
        tiffin("tag", "box:1", f"{ann}/many:{tag}")
    tiffin("push", "-a", f"{ann}/many")
    tiffin("rmi", f"{ann}/many:1", f"{ann}/many:2")
    tiffin("pull", "-a", f"{ann}/many")
    assert tiffin("images", "--format", "{{.Tag}}", f"{ann}/many").split() == ["1", "2"]
    tiffin("rmi", f"{ann}/many:1", f"{ann}/many:2")
    assert "tag can't be used with --all-tags/-a" in tiffin.wrong("pull", "-a", f"{ann}/many:1")


def test_a_tag_that_is_not_there(tiffin: Tiffin, ann: str) -> None:
    """The error says so and the command fails."""
    tiffin("tag", "box:1", f"{ann}/known:1")
    tiffin("push", "-q", f"{ann}/known:1")
    assert "manifest unknown" in tiffin.wrong("pull", f"{ann}/known:9")
    tiffin("rmi", f"{ann}/known:1")
