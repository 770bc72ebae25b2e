"""Addresses of Git repositories and of web files, as ADD and build contexts write them."""

from __future__ import annotations

import re

from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SCP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!//).+")
"""`git@example.com:group/project.git`"""


class Repository(Value):
    """A repository, what of it is wanted ("" for its default branch), and which folder ("" for all)."""

    url: str
    ref: str = ""
    subdir: str = ""


class Checkout(Value):
    """What is to be checked out, and what may be used for it.

    `checksum` is how the commit's name must begin; `ssh` an agent's socket; `secrets` may hold
    GIT_AUTH_TOKEN and GIT_AUTH_HEADER, with `.HOST` for one host only.
    """

    repository: Repository
    keep_git_dir: bool = False
    checksum: str = ""
    ssh: str = ""
    secrets: Mapping[str, bytes] = EMPTY


def repository(text: str) -> Repository | None:
    """Read `URL[#[REF][:FOLDER]]`; None for what is no address of a repository."""
    url, _, fragment = text.partition("#")
    lower = url.lower()
    if lower.startswith(("http://", "https://")):
        if not url.endswith(".git"):
            return None
    elif not lower.startswith(("git://", "ssh://")) and not _SCP.fullmatch(url):
        return None
    ref, _, subdir = fragment.partition(":")
    return Repository(url=url, ref=ref, subdir=subdir)


def is_url(text: str) -> bool:
    """Tell whether a text is the address of a web file."""
    return text.lower().startswith(("http://", "https://")) and repository(text) is None


def is_remote(text: str) -> bool:
    """Tell whether a text is the address of either."""
    return is_url(text) or repository(text) is not None
