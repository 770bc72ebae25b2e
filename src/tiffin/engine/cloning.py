"""Git repositories as sources: `git` is run with nothing of anybody's configuration, and no hooks.

Whoever writes a Dockerfile, and whoever owns the repository, may be a stranger: only four protocols are
allowed, no word of theirs can be taken for an option, and Git asks nobody for a password.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
from urllib.parse import urlsplit

from tiffin.errors import Corrupt, InvalidArgument, NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.build.repositories import Checkout
    from tiffin.settings import Settings

_PROTOCOLS = "http:https:git:ssh"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ALWAYS = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.attributesFile=/dev/null",
    "-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main", "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
)  # fmt: skip
_BYTES = 2000
"""How much of what Git complained is passed on."""


def clone(settings: Settings, wanted: Checkout, folder: str) -> str:
    """Check a repository out into an empty folder; return the commit.

    Files are 0644 or 0755, folders 0755. Raises NotFound for a ref that is not there, Unavailable where
    the repository cannot be read, Corrupt for another commit than the checksum says.
    """
    source = wanted.repository
    for word in (source.url, source.ref, source.subdir):
        if word.startswith("-") or any(ord(sign) < 32 for sign in word):
            raise InvalidArgument(f"invalid git source: {word}", hint="URL[#REF[:FOLDER]]")
    with tempfile.TemporaryDirectory(prefix="tiffin-git-") as home:
        git = _Git(folder, _environment(settings, wanted, home))
        git("init", "-q", f"--template={home}")
        git("remote", "add", "--", "origin", source.url)
        commit, name = (source.ref, "") if _COMMIT.fullmatch(source.ref) else _resolve(git, source.ref)
        _fetch(git, commit, name)
        git("checkout", "-q", "--force", "--detach", commit)
        found = git("rev-parse", "HEAD").strip()
        if wanted.checksum and not found.startswith(wanted.checksum):
            message = f"expected checksum to match {wanted.checksum}, got {found}"
            raise Corrupt(message, hint=f"that is what {source.ref or 'the default branch'} is now")
        if os.path.lexists(f"{folder}/.gitmodules"):
            git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    if not wanted.keep_git_dir:
        _forget(folder)
    return found


class _Git:
    """Runs Git in one folder, with its own environment only."""

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    def __call__(self, *words: str) -> str:
        try:
            done = subprocess.run(
                ["git", *_ALWAYS, *words],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                umask=0o022,
                check=False,
            )
        except FileNotFoundError:
            raise Unavailable("git is not installed", hint="install it (Debian: git)") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-_BYTES:]
            message = f"git {words[0]}: {said or f'exit code {done.returncode}'}"
            raise Unavailable(message, hint=_hint(said))
        return done.stdout.decode(errors="replace")


def _hint(said: str) -> str:
    if "ermission denied (publickey" in said:
        return "give the build an agent with the key: --ssh default"
    if "could not read Username" in said or "Authentication failed" in said:
        return "give the build a token: --secret id=GIT_AUTH_TOKEN"
    return ""


def _environment(settings: Settings, wanted: Checkout, home: str) -> dict[str, str]:
    caller = settings.environment
    found = {
        "PATH": caller.get("PATH") or os.defpath,
        "HOME": home,
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_SSH_COMMAND": _ssh(caller.get("HOME", "")),
    }
    for name, value in settings.proxies.items():
        found["no_proxy" if name == "no" else f"{name}_proxy"] = value
    if wanted.ssh:
        found["SSH_AUTH_SOCK"] = wanted.ssh
    header = _authorization(wanted)
    if header:
        parts = urlsplit(wanted.repository.url)
        host = parts.netloc.rpartition("@")[2]
        found["GIT_CONFIG_COUNT"] = "1"
        found["GIT_CONFIG_KEY_0"] = f"http.{parts.scheme}://{host}/.extraHeader"
        found["GIT_CONFIG_VALUE_0"] = f"Authorization: {header}"
    return found


def _ssh(home: str) -> str:
    """Return how to reach a host: with an agent's keys only, and a host's own key believed at first sight."""
    known = f"{home}/.ssh/known_hosts"
    file = f'-o UserKnownHostsFile="{known}"' if home and '"' not in home else ""
    return f"ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new {file}".rstrip()


def _authorization(wanted: Checkout) -> str:
    """Return the header that the build's secrets make for this host, "" for none; never over SSH."""
    parts = urlsplit(wanted.repository.url)
    if parts.scheme.lower() not in {"http", "https"}:
        return ""
    header = _secret(wanted.secrets, "GIT_AUTH_HEADER", parts.hostname or "")
    token = _secret(wanted.secrets, "GIT_AUTH_TOKEN", parts.hostname or "")
    if header or not token:
        return header
    return "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()


def _secret(secrets: Mapping[str, bytes], name: str, host: str) -> str:
    raw = secrets.get(f"{name}.{host}", secrets.get(name, b""))
    text = raw.decode("utf-8", "replace").strip()
    if "\n" in text or "\r" in text:
        raise InvalidArgument(f"the secret {name} has more than one line")
    return text


def _resolve(git: _Git, ref: str) -> tuple[str, str]:
    """Return (commit, the name it has there); a branch wins over a tag of the same name, as in Git."""
    wanted = ref or "HEAD"
    rows = (line.split("\t", 1) for line in git("ls-remote", "--", "origin").splitlines() if "\t" in line)
    known = {name: commit for commit, name in rows}
    for name in (wanted, f"refs/heads/{wanted}", f"refs/tags/{wanted}"):
        if name in known:
            return known.get(f"{name}^{{}}", known[name]), name
    message = f"repository does not contain ref {wanted}"
    hint = "a commit is named by all its digits" if re.fullmatch(r"[0-9a-f]{4,39}", ref) else ""
    raise NotFound(message, hint=hint)


def _fetch(git: _Git, commit: str, name: str) -> None:
    """Fetch one commit without its history; all there is, from a server that knows nothing else."""
    for want in filter(None, (name, commit)):
        try:
            git("fetch", "-q", "--depth=1", "--no-tags", "--", "origin", want)
            git("cat-file", "-e", f"{commit}^{{commit}}")
        except Unavailable:
            continue
        return
    git("fetch", "-q", "--tags", "--", "origin", "+refs/heads/*:refs/remotes/origin/*")


def _forget(folder: str) -> None:
    """Remove what Git keeps about the checkout, also in submodules."""
    shutil.rmtree(f"{folder}/.git", ignore_errors=True)
    for place, folders, files in os.walk(folder):
        if ".git" in files:
            os.unlink(f"{place}/.git")
        if ".git" in folders:
            folders.remove(".git")
