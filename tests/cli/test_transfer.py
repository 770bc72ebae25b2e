"""pull, push, login and logout against a real registry, as the command line shows them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.servers import DOCKER_REGISTRY, DockerRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

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
