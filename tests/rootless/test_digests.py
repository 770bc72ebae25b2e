"""An image has the same digest whoever builds it, where everything in it is dated and nothing chowns."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.accounts import User

_DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc
COPY --chown=web:mail tree /srv/tree
ADD special.tar /special
ENV PATH=/bin
WORKDIR /made/deep
RUN echo one > a; ln a b; ln -s a c; mkfifo d; mkdir -m 700 e; touch -t 200001010000 old; \
    echo more >> /srv/tree/file; mv /srv/tree/other /srv/tree/moved; chmod 750 /srv
RUN rm -r /srv/tree/below && mkdir /srv/tree/below && echo x > /srv/tree/below/x && cp /srv/tree/holes /holes
RUN rm -r /special/sub && mkdir /special/sub && echo x > /special/sub/x && rm a && ln -sf b c
"""
_CHOWNS = _DOCKERFILE + "RUN chown -R 7:8 /made && mkdir /own && chown 9 /own\n"


def _archive() -> bytes:
    """Return a tar of what is hard to own: a device, a pipe, a symbolic link, folders of somebody's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (
            ("sub", tarfile.DIRTYPE),
            ("sub/file", tarfile.REGTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("link", tarfile.SYMTYPE),
            ("null", tarfile.CHRTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.gid, entry.mtime = kind, 7, 8, 1_700_000_000
            entry.linkname, entry.devmajor, entry.devminor = "sub/file", 1, 3
            archive.addfile(entry)
    return out.getvalue()


def _context(folder: str) -> None:
    os.makedirs(f"{folder}/etc")
    os.makedirs(f"{folder}/tree/below")
    shutil.copy(shutil.which("busybox") or "", f"{folder}/busybox")
    for name, text in (
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n"),
        ("etc/group", "root:x:0:\nweb:x:8:\nmail:x:9:web\n"),
        ("tree/file", "1"),
        ("tree/other", "2"),
        ("tree/below/file", "3"),
        ("tree/names", "4"),
        ("tree/holes", "5"),
        ("Dockerfile", _DOCKERFILE),
        ("Chowns", _CHOWNS),
    ):
        with open(f"{folder}/{name}", "w") as stream:
            stream.write(text)
    os.symlink("file", f"{folder}/tree/link")
    os.link(f"{folder}/tree/names", f"{folder}/tree/names-too")
    os.chmod(f"{folder}/tree/names", 0o6755)  # noqa: S103 - of nobody's
    os.truncate(f"{folder}/tree/holes", 1 << 20)
    os.setxattr(f"{folder}/tree/holes", "user.note", b"not copied")
    with open(f"{folder}/special.tar", "wb") as archive:
        archive.write(_archive())


def _as_root(folder: Path, file: str, *words: str, **variables: str) -> str:
    """Build as root, in a store of its own; return the image's id."""
    at = ("--root", f"{folder}/root", "--run", f"{folder}/run")
    program = "from tiffin.cli.entry import main; main()"
    command = [sys.executable, "-c", program, *at, "build", "-q", *words, "-f", f"{folder}/context/{file}"]
    done = subprocess.run(
        [*command, f"{folder}/context"],
        capture_output=True,
        check=False,
        env=os.environ | {"TIFFIN_DURABLE": "0"} | variables,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def _as_user(user: User, file: str, *words: str, **variables: str) -> str:
    folder = f"{user.home}/same"
    if not os.path.exists(folder):
        _context(folder)
    done = user.run(
        *user.command("build", "-q", *words, "-f", f"{folder}/{file}", folder), timeout=120, **variables
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_root_and_users_build_the_same_image(many: User, single: User, tmp_path: Path) -> None:
    """With --reproducible: others' files, links, pipes and devices, deletions, and what RUN wrote.

    By overlays or copies: a store on overlayfs has those.
    """
    _context(f"{tmp_path}/context")
    made = _as_root(tmp_path, "Dockerfile", "--reproducible")
    for user in (many, single):
        assert _as_user(user, "Dockerfile", "--reproducible") == made
        copies = {"TIFFIN_SNAPSHOTTER": "copy", "TIFFIN_ROOT": f"{user.home}/copies"}
        assert _as_user(user, "Dockerfile", "--reproducible", **copies) == made
        user.tiffin("--root", f"{user.home}/copies", "system", "reset", "-f")


def test_a_run_that_changes_owners_is_the_same_with_subordinate_ids(many: User, tmp_path: Path) -> None:
    """SOURCE_DATE_EPOCH, as a variable or an argument, dates the image; owners are real on both rungs."""
    _context(f"{tmp_path}/context")
    made = _as_root(tmp_path, "Chowns", SOURCE_DATE_EPOCH="1000000000")
    assert _as_user(many, "Chowns", "--build-arg", "SOURCE_DATE_EPOCH=1000000000") == made
    assert made != _as_root(tmp_path, "Chowns", "--reproducible")
    assert _as_root(tmp_path, "Chowns", "--no-cache", SOURCE_DATE_EPOCH="1000000000") == made
