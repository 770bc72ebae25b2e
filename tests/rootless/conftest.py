"""Ordinary users, made for the tests: one with subordinate ids, one without; each with a home of its own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.accounts import NEEDED, account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.accounts import User

_DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc
RUN mkdir -p /data /tmp && chmod 1777 /tmp && echo seed > /data/seed
COPY --chown=web:mail owned /owned
ENV PATH=/bin
CMD ["sh"]
"""


def _user(rung: str) -> Iterator[User]:
    if os.geteuid() != 0:
        pytest.skip("making users needs root")
    for program in (*NEEDED, "busybox"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    with account(rung) as user:
        yield user
        user.rung = ""
        names = user.tiffin("ps", "-aq").split()
        if names:
            user.tiffin("rm", "-f", "-v", *names)


def _with_image(user: User) -> User:
    context = f"{user.home}/context"
    os.makedirs(f"{context}/etc")
    shutil.copy(shutil.which("busybox") or "", f"{context}/busybox")
    files = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n",
        "etc/group": "root:x:0:\nweb:x:8:\nmail:x:9:web\n",
        "owned": "web's",
        "Dockerfile": _DOCKERFILE,
    }
    for name, text in files.items():
        with open(f"{context}/{name}", "w") as stream:
            stream.write(text)
    user.tiffin("build", "-q", "-t", "base:1", context)
    return user


@pytest.fixture(scope="session")
def many() -> Iterator[User]:
    """A user with subordinate ids, whose store has `base:1`."""
    for user in _user("subids"):
        yield _with_image(user)


@pytest.fixture(scope="session")
def single() -> Iterator[User]:
    """A user with one id, whose store has `base:1`."""
    for user in _user("single"):
        yield _with_image(user)


@pytest.fixture(params=["many", "single"])
def user(request: pytest.FixtureRequest) -> User:
    """Each of the two in turn."""
    found: User = request.getfixturevalue(request.param)
    return found
