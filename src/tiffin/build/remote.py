"""Remote sources of ADD, fetched aside before the step is looked up: their bytes are what is in its key."""

from __future__ import annotations

import hashlib
import posix
import posixpath
import re
import stat
from urllib.parse import unquote, urlsplit

from tiffin.build.context import FolderTree
from tiffin.build.repositories import Checkout, repository
from tiffin.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack

    from tiffin.build.context import Entry
    from tiffin.build.instructions import Copy
    from tiffin.build.patterns import Patterns
    from tiffin.build.repositories import Repository
    from tiffin.build.stage import Stage

_SUM = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20


def check_sum(instruction: Copy, checksum: str, paths: list[str], remote: list[str]) -> None:
    """Raise DockerfileError for a --checksum that cannot be meant."""
    problem = ""
    if len(remote) == 1 and len(paths) == 1 and repository(remote[0]):
        if not re.fullmatch("[0-9a-f]{1,64}", checksum):
            problem = f"invalid checksum {checksum}: of a repository it is the commit, or how it begins"
    elif not _SUM.fullmatch(checksum):
        problem = f"invalid checksum {checksum}: it is sha256: and 64 hex digits"
    elif len(paths) != 1:
        problem = "checksum can't be specified for multiple sources"
    elif not remote:
        problem = "checksum can't be specified for non-HTTP(S) sources"
    if problem:
        raise instruction.statement.error(problem, caret="--checksum", prefix=False)


def cloned(  # noqa: PLR0917 - what to fetch, for whom, and for how long
    stage: Stage,
    instruction: Copy,
    wanted: Repository,
    checksum: str,
    held: ExitStack,
    excluded: Patterns | None,
) -> list[Entry]:
    """Check a repository out for as long as `held` is open; return the files of the folder that is wanted."""
    session = stage.session
    draft = held.enter_context(session.draft())
    checkout = Checkout(
        repository=wanted,
        keep_git_dir=instruction.keep_git_dir,
        checksum=checksum,
        ssh=session.options.ssh.get("default", ""),
        secrets=session.options.secrets,
    )
    session.clone(checkout, draft.path)
    tree = FolderTree(draft.path)
    real, info = tree.find(wanted.subdir)
    if info is None or not stat.S_ISDIR(info.st_mode):
        message = f'subdir "{wanted.subdir}" is no folder of {wanted.url}'
        raise instruction.statement.error(message, caret=wanted.subdir, prefix=False)
    return tree.scan(real, excluded)


def fetched(
    stage: Stage, instruction: Copy, url: str, checksum: str, held: ExitStack
) -> tuple[str, list[Entry]]:
    """Fetch a URL for as long as `held` is open; return its file's name and the file.

    Its mode is 0600, its time what the server says; raises Corrupt where it is not what --checksum says.
    """
    name = posixpath.basename(unquote(urlsplit(url).path))
    if name in {"", ".", ".."} or "\0" in name:
        if instruction.destination.endswith("/"):
            message = f"can't determine remote source filename from {url}"
            hint = "name the file: a destination that does not end with /"
            raise instruction.statement.error(message, caret=url, hint=hint, prefix=False)
        name = "download"
    draft = held.enter_context(stage.session.draft())
    place = f"{draft.path}/{name}"
    modified = stage.session.fetch(url, place)
    if checksum:
        _compare(place, url, checksum)
    posix.chmod(place, 0o600)
    posix.utime(place, ns=(modified, modified))
    return name, FolderTree(draft.path).scan(name)


def _compare(place: str, url: str, checksum: str) -> None:
    digest = hashlib.sha256()
    with open(place, "rb") as stream:
        while data := stream.read(_CHUNK):
            digest.update(data)
    found = f"sha256:{digest.hexdigest()}"
    if found != checksum:
        raise Corrupt(
            f"digest mismatch {found}: {checksum} ({url})", hint="the file is not the one you meant"
        )
