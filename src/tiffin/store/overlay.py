"""Overlayfs: the words of the mount, and where a path really is through a stack of layers.

`Stack` answers without a mount what a mount would show (kernel: filesystems/overlayfs.rst): whiteouts
(character device 0:0) hide what lies below, opaque folders end a merge, a file over a folder hides it,
folders of one name are merged. Symlinks are followed inside the stack only: `..` and absolute targets
end at its root. Nothing of a layer is ever followed by the host's own path lookup.
"""

from __future__ import annotations

import os
import posix
import stat

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LINKS = 40
"""How many symlinks a path may lead through (Linux: MAXSYMLINKS)."""
_OPTIONS_PAGE = 4095
BY_NAME = 128
"""So many lower folders fit into the page by their names; for more there are short links."""
_DEPTH = 500
"""Linux: OVL_MAX_STACK. One of them holds the mount points that an image lacks."""


class OverlayMount(Value):
    """What mount(2) is to be told. The caller changes to `base` first: `lower` is relative to it.

    `lower` is topmost first; `options` are words of the privilege rung. Without `upper` it is a
    read-only view; without `lower` there is nothing to mount, as the files are at `target` already.
    """

    base: str
    lower: tuple[str, ...]
    upper: str
    work: str
    target: str
    options: tuple[str, ...] = ()

    def data(self) -> str:
        """Return the options string, "" for no mount; Unsupported for more folders than the kernel mounts."""
        if not self.lower:
            return ""
        words = ["lowerdir=" + ":".join(map(_escaped, self.lower))]
        if self.upper:
            words += [f"upperdir={_escaped(self.upper)}", f"workdir={_escaped(self.work)}"]
        text = ",".join((*words, *self.options))
        if len(self.lower) > _DEPTH or len(text.encode()) > _OPTIONS_PAGE:
            message = "max depth exceeded"
            raise Unsupported(message, hint=f"the kernel mounts up to {_DEPTH - 1} layers: squash some")
        return text


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def is_whiteout(info: os.stat_result) -> bool:
    """Tell whether this is a mark for "nothing here": a character device 0:0, or ours (layer.whiteout)."""
    return info.st_mode == stat.S_IFSOCK or (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0)


class Node(Value):
    """One entry of the merged tree.

    `info` is lstat's answer for what is on top; `places` are the host paths it consists of: one, or
    for a folder all that are merged, topmost first.
    """

    info: os.stat_result
    places: tuple[str, ...]

    @property
    def is_folder(self) -> bool:
        """Whether it has children."""
        return stat.S_ISDIR(self.info.st_mode)


class Stack:
    """A merged view of layer folders, topmost first; the upper folder of a container may be one.

    Layers do not change, so answers about them are safe. The upper folder of a running container does:
    `open` and `read` then still never leave the layer (each component is opened without following).
    """

    def __init__(self, layers: Sequence[str], xattr: str) -> None:
        """Look through these host folders; `xattr` is the prefix of the opaque mark."""
        self.layers = tuple(layers)
        self._opaque = f"{xattr}overlay.opaque"

    # One step

    def root(self) -> Node:
        """Return the root folder."""
        places = []
        for layer in self.layers:
            places.append(layer)
            if self._is_opaque(layer):
                break
        if not places:
            message = "a stack without layers has no files"
            raise InvalidArgument(message)
        return Node(info=posix.lstat(places[0]), places=tuple(places))

    def child(self, folder: Node, name: str) -> Node | None:
        """Return one entry of a folder, or None. `name` is one component, not `..`."""
        found: os.stat_result | None = None
        places: list[str] = []
        for place in folder.places:
            path = f"{place}/{name}"
            try:
                info = posix.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                if len(os.fsencode(name)) > 255:
                    return None  # ENAMETOOLONG: there is no such entry
                raise
            if not stat.S_ISDIR(info.st_mode):
                if found is None and not is_whiteout(info):
                    return Node(info=info, places=(path,))
                break
            found = found or info
            places.append(path)
            if self._is_opaque(path):
                break
        return Node(info=found, places=tuple(places)) if found else None

    def _is_opaque(self, path: str) -> bool:
        try:
            return os.getxattr(path, self._opaque, follow_symlinks=False) == b"y"
        except OSError:
            return False

    def names(self, folder: Node) -> list[str]:
        """Return what a folder shows, sorted."""
        shown: set[str] = set()
        hidden: set[str] = set()
        for place in folder.places:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name in shown or entry.name in hidden:
                        continue
                    if _may_be_whiteout(entry) and is_whiteout(entry.stat(follow_symlinks=False)):
                        hidden.add(entry.name)
                    else:
                        shown.add(entry.name)
        return sorted(shown)

    # Paths

    def find(self, path: str, *, follow_last: bool = True) -> tuple[str, Node | None]:
        """Return (canonical path, entry or None) of a path, absolute or taken from the root.

        Where the path leads to nothing, the canonical one still says where it would be made: symlinks
        on the way are resolved and the missing rest is appended. `.` and `..` after what is no folder,
        or is not there, are taken by their letters, where the kernel would refuse the path. Raises
        InvalidArgument for a path with too many symlinks or a NUL.
        """
        if "\0" in path:
            message = f"invalid path {path!r}"
            raise InvalidArgument(message)
        follow_last = follow_last or path.endswith("/")
        todo = _components(path)
        todo.reverse()
        trail: list[tuple[str, Node]] = [("", self.root())]
        missing: list[str] = []
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                _go_up(trail, missing)
                continue
            node = None
            if not missing and trail[-1][1].is_folder:
                node = self.child(trail[-1][1], name)
            if node is None:
                missing.append(name)
            elif stat.S_ISLNK(node.info.st_mode) and (todo or follow_last):
                links += 1
                if links > _LINKS:
                    message = f"{path}: too many levels of symbolic links"
                    raise InvalidArgument(message)
                target = posix.readlink(node.places[0])
                if target.startswith("/"):
                    del trail[1:]
                todo += reversed(_components(target))
            else:
                trail.append((name, node))
        canonical = "/" + "/".join([name for name, _ in trail[1:]] + missing)
        return canonical, None if missing else trail[-1][1]

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """Return the canonical path; see `find`."""
        return self.find(path, follow_last=follow_last)[0]

    def lstat(self, path: str) -> os.stat_result | None:
        """Return what lstat would say (symlinks on the way are followed, the last is not), or None."""
        node = self.find(path, follow_last=False)[1]
        return node.info if node else None

    def stat(self, path: str) -> os.stat_result | None:
        """Return what stat would say, or None."""
        node = self.find(path)[1]
        return node.info if node else None

    def readlink(self, path: str) -> str | None:
        """Return the text of a symlink, None for anything else."""
        node = self.find(path, follow_last=False)[1]
        if node is None or not stat.S_ISLNK(node.info.st_mode):
            return None
        return posix.readlink(node.places[0])

    def listdir(self, path: str) -> list[str] | None:
        """Return the sorted names in a folder (a symlink to one is followed), None if it is none."""
        node = self.find(path)[1]
        return self.names(node) if node and node.is_folder else None

    def real(self, path: str, *, follow_last: bool = True) -> str | None:
        """Return the host path of what a path leads to (a folder's topmost part), or None."""
        node = self.find(path, follow_last=follow_last)[1]
        return node.places[0] if node else None

    def open(self, path: str) -> int | None:
        """Open a regular file for reading and return its descriptor; None if there is none."""
        node = self.find(path)[1]
        if node is None or not stat.S_ISREG(node.info.st_mode):
            return None
        return self.open_place(node.places[0])

    def open_place(self, place: str) -> int | None:
        """Open a host path of a `Node` without following any symlink below its layer; None if it is gone."""
        layer = next(layer for layer in self.layers if place == layer or place.startswith(f"{layer}/"))
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        folder = posix.open(layer, flags)
        names = _components(place[len(layer) :])
        try:
            for name in names[:-1]:
                inner = posix.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
                posix.close(folder)
                folder = inner
            final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return posix.open(names[-1] if names else ".", final, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == 40:  # ELOOP: replaced by a symlink meanwhile
                return None
            raise
        finally:
            posix.close(folder)

    def read(self, path: str, limit: int = 1 << 20) -> bytes | None:
        """Return a regular file's bytes, None if there is none or it is longer than `limit`."""
        descriptor = self.open(path)
        if descriptor is None:
            return None
        with open(descriptor, "rb", buffering=0) as stream:
            data = b""
            while len(data) <= limit and (chunk := stream.read(limit + 1 - len(data))):
                data += chunk
        return data if len(data) <= limit else None

    def walk(self, path: str = "/") -> Iterator[tuple[str, Node]]:
        """Yield (canonical path, entry) of what a path leads to and of all below it, parents first.

        Names come sorted; symlinks below are yielded, not followed. Nothing there yields nothing.
        """
        canonical, node = self.find(path)
        if node is None:
            return
        todo = [(canonical, node)]
        while todo:
            here, node = todo.pop()
            yield here, node
            if not node.is_folder:
                continue
            prefix = "" if here == "/" else here
            for name in reversed(self.names(node)):
                child = self.child(node, name)
                if child is not None:
                    todo.append((f"{prefix}/{name}", child))


def _go_up(trail: list[tuple[str, Node]], missing: list[str]) -> None:
    """Take one `..`: out of what is missing first, then up, and never above the root."""
    if missing:
        missing.pop()
    elif len(trail) > 1:
        trail.pop()


def _may_be_whiteout(entry: os.DirEntry[str]) -> bool:
    """Spare the stat of what the folder itself says is something else."""
    return not (
        entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False) or entry.is_symlink()
    )


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]
