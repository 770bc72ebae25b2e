"""An ordinary user's store on overlayfs, as in a pod that is not root's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.store.parts import mounted

if TYPE_CHECKING:
    from tests.rootless.conftest import User

_DOCKERFILE = """\
FROM base:1
RUN rm /owned /data/seed && mkdir -p /srv/deep && echo x > /srv/deep/old
RUN rm -r /srv/deep && mkdir -m 700 /srv/deep && echo new > /srv/deep/new && ! test -e /owned
"""


def test_a_store_on_overlayfs_works_by_copies(user: User) -> None:
    """Build, run, start again, diff, commit, and removal, with files of other ids where there are some."""
    for name in ("lower", "upper", "work", "on"):
        os.mkdir(f"{user.home}/over-{name}")
        os.chown(f"{user.home}/over-{name}", user.uid, user.uid)
    places = {name: f"{user.home}/over-{name}" for name in ("lower", "upper", "work")}
    options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**places)
    with mounted("overlay", f"{user.home}/over-on", options) as folder:
        root = ("--root", f"{folder}/root")
        with open(f"{user.home}/context/Steps", "w") as stream:
            stream.write(_DOCKERFILE)
        context = f"{user.home}/context"
        user.tiffin(*root, "build", "-q", "-t", "base:1", context)
        user.tiffin(*root, "build", "-q", "-t", "steps:1", "-f", f"{context}/Steps", context)
        assert "Storage Driver: vfs" in user.tiffin(*root, "info")
        doctor = user.tiffin(*root, "doctor")
        assert "a copy of its image's files" in doctor
        script = "ls /owned /data/seed 2>/dev/null; cat /srv/deep/new; echo once >> /data/once"
        out = user.tiffin(*root, "run", "--name", "one", "steps:1", "sh", "-c", script)
        assert out == "new\n"
        assert user.tiffin(*root, "diff", "one") == "C /data\nA /data/once\n"
        assert user.tiffin(*root, "start", "-a", "one") == "new\n"
        user.tiffin(*root, "commit", "one", "two:1")
        assert user.tiffin(*root, "run", "--rm", "two:1", "cat", "/data/once") == "once\nonce\n"
        owned = user.tiffin(*root, "run", "--rm", "base:1", "stat", "-c", "%u:%g", "/owned")
        assert owned == ("7:9\n" if "with subordinate ids" in doctor else "0:0\n")
        user.tiffin(*root, "rm", "one")
        assert user.tiffin(*root, "fsck") == "the store is whole\n"
        assert os.listdir(f"{folder}/root/containers") == []
        user.tiffin(*root, "system", "reset", "-f")
