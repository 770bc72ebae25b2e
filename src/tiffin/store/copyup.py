"""Copy a tree out of a stack of layers, as overlayfs copies a file up: everything but its place."""

from __future__ import annotations

import errno
import os
import posix
import stat

from tiffin.errors import Corrupt
from tiffin.layer import owners, whiteout
from tiffin.layer.duplicate import copy_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.store.overlay import Node, Stack


def copy_tree(stack: Stack, path: str, destination: str) -> None:
    """Copy what is in the folder `path` into the existing empty folder `destination`, with its own looks.

    Owners, modes, times, xattrs (not overlayfs's own), hard links, devices and pipes are kept. The stack is
    of committed layers only.
    """
    canonical = stack.resolve(path)
    start = len(canonical.rstrip("/"))
    links: dict[tuple[int, int], str] = {}
    folders: list[tuple[str, Node]] = []
    for here, node in stack.walk(canonical):
        target = destination + here[start:] if here != canonical else destination
        if node.is_folder:
            if target != destination:
                posix.mkdir(target, 0o700)
            folders.append((target, node))
            continue
        key = (node.info.st_dev, node.info.st_ino)
        if node.info.st_nlink > 1 and key in links:
            posix.link(links[key], target, follow_symlinks=False)
            continue
        links[key] = target
        _copy_entry(node, target)
        copy_looks(node, target)
    for target, node in reversed(folders):
        copy_looks(node, target)


def _copy_entry(node: Node, target: str) -> None:
    mode = node.info.st_mode
    if stat.S_ISREG(mode):
        _copy_file(node, target)
    elif stat.S_ISLNK(mode):
        posix.symlink(posix.readlink(node.places[0]), target)
    else:
        posix.mknod(target, mode, node.info.st_rdev)


def _copy_file(node: Node, target: str) -> None:
    try:
        # A layer does not change, so its path can be opened at once: half of the time of a small file.
        source = posix.open(node.places[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        message = f"{node.places[0]} vanished while it was copied"
        raise Corrupt(message) from None
    try:
        out = posix.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            copy_bytes(source, out)
        finally:
            posix.close(out)
    finally:
        posix.close(source)


def give_tree(path: str, uid: int, gid: int) -> None:
    """Give a file or folder, and all below it, to an owner; links are not followed.

    Nothing is reached by a path that a container could change meanwhile.
    """
    posix.chown(path, uid, gid, follow_symlinks=False)
    if not stat.S_ISDIR(posix.lstat(path).st_mode):
        return
    for _, folders, files, folder in os.fwalk(path, follow_symlinks=False):
        for name in (*folders, *files):
            posix.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)


def keep_owners(stack: Stack, draft: str, xattr: str) -> None:
    """Give files that replace others of the layers below the noted owners of those (see layer.owners).

    A program that writes a file anew and renames it over the old one has lost the note. A folder that was
    removed and made anew is another one, with all that is in it; marks with the prefix `xattr` tell.
    """
    for folder, folders, files in os.walk(draft):
        folders[:] = [name for name in folders if not whiteout.is_opaque(f"{folder}/{name}", xattr)]
        for name in (*folders, *files):
            path = f"{folder}/{name}"
            if not stat.S_ISREG(mode := posix.lstat(path).st_mode) and not stat.S_ISDIR(mode):
                continue
            node = stack.find(path[len(draft) :], follow_last=False)[1]
            if node is not None and not owners.note(path) and (note := owners.note(node.places[0])):
                os.setxattr(path, owners.OWNER, note, follow_symlinks=False)


def copy_looks(node: Node, target: str) -> None:
    """Give an entry the owner, mode, xattrs (not overlayfs's own) and times of another."""
    info, place = node.info, node.places[0]
    posix.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        posix.chmod(target, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(place, follow_symlinks=False):
        if ".overlay." in name or (name.startswith("system.") and stat.S_ISLNK(info.st_mode)):
            continue
        try:
            os.setxattr(target, name, os.getxattr(place, name, follow_symlinks=False), follow_symlinks=False)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EPERM}:
                raise
    posix.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)
