"""How containers of a store get their files: by overlayfs if that works where the store lies, else by copies.

It is really tried, once, by a process of its own that makes the namespaces of a keeper: a file system may
refuse to lie under an overlay (another overlay, NFS), a kernel may lack it or keep it from ordinary users.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tiffin.errors import TiffinError
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.store.store import Store

_PROGRAM = """\
import sys
sys.path[:] = sys.argv[2].split("\\n")
from tiffin.engine.trial import attempt
code, text = attempt(sys.argv[1])
sys.stderr.write(text)
sys.exit(code)
"""
_NO_NAMESPACE = 3
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def choose(store: Store) -> None:
    """Decide for a store and let it remember; where nothing can run at all, nothing is decided."""
    if store.settings.privilege.rung == "none":
        return
    folder = f"{store.layout.drafts}/{atomic.owner_tag()}-{os.urandom(6).hex()}"
    os.mkdir(folder)
    try:
        namespace, mount = run(folder)
    finally:
        atomic.delete_tree(folder)
    if not namespace:
        store.remember_snapshotter("copy" if mount else "overlay")


def run(folder: str) -> tuple[str, str]:
    """Try in an empty folder; return why there is no namespace and why no overlay, "" where there is."""
    paths = "\n".join(dict.fromkeys([_PACKAGES, *filter(None, sys.path)]))
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, folder, paths]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    said = (done.stdout + done.stderr).strip().rpartition("\n")[2]
    if done.returncode == 0:
        return "", ""
    return (said, "") if done.returncode == _NO_NAMESPACE else ("", said or "no overlay could be mounted")


def attempt(folder: str) -> tuple[int, str]:
    """Be the process that tries; return its exit code and what went wrong."""
    from tiffin.keeper import kernel, userns
    from tiffin.settings import privilege

    allowed = privilege()
    try:
        userns.enter(allowed)
        kernel.own_mounts()
    except TiffinError as error:
        return _NO_NAMESPACE, error.message
    except OSError as error:
        return _NO_NAMESPACE, f"{error.filename}: {error.strerror}"
    try:
        for name in ("lower/replaced", "upper", "work", "root"):
            os.makedirs(f"{folder}/{name}")
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        kernel.mount_overlay(folder, f"{folder}/root", ",".join((options, *allowed.overlay_options)))
        try:
            # Needs a whiteout first and an attribute then, which not every file system has.
            os.rmdir(f"{folder}/root/replaced")
            os.mkdir(f"{folder}/root/replaced")
        finally:
            kernel.unmount(f"{folder}/root")
    except OSError as error:
        return 1, f"no overlay can be mounted below {os.path.dirname(folder)} ({error.strerror})"
    finally:
        for name in ("lower", "upper", "work", "root"):
            if os.path.isdir(f"{folder}/{name}"):
                atomic.delete_tree(f"{folder}/{name}")  # some of it is nobody's but of a process inside
    return 0, ""
