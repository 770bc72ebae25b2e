"""The process that copies into and out of a container: it makes the container's file system its root first.

`main` is all it runs, in a fresh interpreter (see `engine.visit`). Descriptor 0 is the archive, read or
written; to descriptor 1 go lines of JSON: what was found, and how it ended. A container may change its files
while they are copied, swap folders for symbolic links among them: whatever a path leads to, it lies in the
container. So that this stays true, nothing is imported once the root has changed, and what could open a way
out (a link of /proc that another process's privileges guard) is given up.
"""

from __future__ import annotations

import errno
import glob
import os
import posixpath
import stat
import sys

from tiffin.errors import Conflict, Forbidden, InvalidArgument, NotFound, TiffinError
from tiffin.keeper import kernel, premount, userns
from tiffin.layer.limits import Limits
from tiffin.layer.pack import Packer
from tiffin.layer.reader import TarReader
from tiffin.layer.unpack import Unpacker, explain
from tiffin.layer.worker import Source
from tiffin.settings import Privilege
from tiffin.spec import clock, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.layer.tar import Entry

_PLACE = os.O_PATH | os.O_CLOEXEC
_ROOM = _PLACE | os.O_DIRECTORY
_PATTERN = frozenset("*?[")

# Go's os.FileMode has bits of its own above the permissions (docs of package io/fs).
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def main(text: str) -> None:
    """Do what one request (JSON) says, report it whatever happens, and end this process."""
    try:
        request = jsontext.load_object(text)
        request["process"] = _reach(request["place"])
        _tell({})  # nothing of the archive has been touched so far
        _tell(_VERBS[request["verb"]](request))
    except TiffinError as error:
        _tell({"error": type(error).__name__, "message": error.message, "hint": error.hint})
    except BrokenPipeError:
        pass  # whoever wanted it has gone
    except OSError as error:
        gone = error.errno in {errno.ENOENT, errno.ENOTDIR}
        outcome = NotFound("no such file or directory") if gone else explain(error)
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _tell({"error": type(outcome).__name__, "message": where + outcome.message, "hint": ""})
    os._exit(0)  # a thread that reads ahead may wait for ever


def _tell(report: dict[str, Any]) -> None:
    line = jsontext.dumps(report).encode("utf-8", "surrogateescape") + b"\n"
    while line:
        line = line[os.write(1, line) :]


# --- verbs --------------------------------------------------------------------------------------


def _look(request: dict[str, Any]) -> dict[str, Any]:
    """Say what lies at a path."""
    _enter(request)
    return {"stat": _stat(request["path"], request)}


def _give(request: dict[str, Any]) -> dict[str, Any]:
    """Write what lies at a path, or at each that a pattern means, as a tar to descriptor 0."""
    _enter(request)
    path = request["path"]
    found = []
    if request["pattern"] and not os.path.lexists(path) and not _PATTERN.isdisjoint(path):
        found = sorted(glob.glob(path))
    where = _followed if request["follow"] else str
    first = found[0] if found else path
    _tell({"stat": _stat(where(first), request), "top": _base(first), "matches": len(found)})
    packer = Packer(_write, noted=request["noted"])
    for name in found or [path]:
        packer.add(os.fsencode(where(name)), os.fsencode(_base(name)))
    packer.finish()
    return {}


def _take(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack what descriptor 0 gives into a folder."""
    source = Source(limits := Limits(), growing=False)  # which imports what inflates it
    reader = TarReader(source.chunk, name_max=limits.name_length)
    _enter(request)
    source.start()
    path = request["path"]
    info = _found(os.stat, path, request)
    if not stat.S_ISDIR(info.st_mode):
        raise InvalidArgument("extraction point is not a directory")
    os.chdir(path)
    if os.statvfs(".").f_flag & os.ST_RDONLY:
        here = os.getcwd() + "/"
        mounted = any(here.startswith(posixpath.realpath(v) + "/") for v in request["volumes"])
        what = "mounted volume" if mounted else "container rootfs"
        raise Forbidden(f"{what} is marked read-only", hint="write into a volume or a tmpfs of it instead")
    os.umask(0)
    unpacker = Unpacker(
        reader,
        xattr=request["xattr"],
        whiteouts=False,
        limits=limits,
        careful=True,
        whole=request.get("whole", False),
    )
    unpacker.stay()
    while entry := reader.next():
        _adjust(entry, request["rename"], request["owner"])
        unpacker.add(entry)
    reader.drain()
    unpacker.finish()
    return {"size": unpacker.size, "entries": unpacker.entries}


_VERBS = {"look": _look, "give": _give, "take": _take}


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(0, view) :]


def _adjust(entry: Entry, rename: list[str], owner: list[int]) -> None:
    """Give an entry another first name, and another owner, where that is wanted."""
    if rename:
        old, new = map(os.fsencode, rename)
        entry.path = _renamed(entry.path, old, new)
        entry.link = _renamed(entry.link, old, new) if entry.kind == b"1" else entry.link
    if owner:
        entry.uid, entry.gid = owner


def _renamed(path: bytes, old: bytes, new: bytes) -> bytes:
    if old == b".":
        return new + b"/" + path if path else new
    return new + path[len(old) :] if path == old or path.startswith(old + b"/") else path


def _base(path: str) -> str:
    """Return the name that an archive of a path begins with: `.` for the content of a folder."""
    return posixpath.basename(path.rstrip("/")) or "."


def _followed(path: str) -> str:
    """Return where a path leads, the last part included; its spelling (`/`, `/.`) stays."""
    end = "/." if path.endswith("/.") else "/" if path.endswith("/") else ""
    return posixpath.realpath(path) + end


def _found(look: Any, path: str, request: dict[str, Any]) -> os.stat_result:
    try:
        found: os.stat_result = look(path)
    except (FileNotFoundError, NotADirectoryError):
        message = f"Could not find the file {path} in container {request['name']}"
        raise NotFound(message) from None
    return found


def _stat(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return docker's stat of a path: the last part is not followed, where its link leads is said."""
    info = _found(os.lstat, path, request)
    kind = stat.S_IFMT(info.st_mode)
    mode = stat.S_IMODE(info.st_mode) & 0o777 | _GO_KINDS.get(kind, 0)
    for bit, shown in _GO_BITS.items():
        mode |= shown if info.st_mode & bit else 0
    return {
        "name": _base(path) if path != "/" else "/",
        "size": info.st_size,
        "mode": mode,
        "mtime": clock.from_ns(info.st_mtime_ns),
        "link_target": posixpath.realpath(path) if stat.S_ISLNK(info.st_mode) else "",
    }


# --- on the way in ------------------------------------------------------------------------------


def _enter(request: dict[str, Any]) -> None:
    """Make the place that a request names this process's root, for good."""
    place = request["place"]
    privilege = Privilege(**{k: _tuples(v) for k, v in request["privilege"].items()})
    if "pid" in place:
        _enter_running(*request["process"])
    elif "overlay" in place:
        _enter_stopped(place, privilege)
    else:
        userns.enter(privilege)
        os.chdir(place["folder"])
        os.chroot(".")
    os.chdir("/")
    # From here on every file is the container's: none of them may become code of this process.
    sys.meta_path[:] = [finder for finder in sys.meta_path if "importlib_external" not in str(finder)]
    kernel.keep_file_capabilities()


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _reach(place: dict[str, Any]) -> tuple[int, int] | None:
    """Open root and user namespace of a container's first process; raise Conflict if it has gone."""
    if "pid" not in place:
        return None
    try:
        process = os.open(f"/proc/{place['pid']}", _ROOM)
        with open(os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process), "rb") as stream:
            words = stream.read().rpartition(b")")[2].split()
        root = os.open("root", _ROOM, dir_fd=process)
        ids = os.open("ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    except (FileNotFoundError, ProcessLookupError):
        words = []
    # The open folder is of one process, whoever gets its number next.
    if not words or int(words[19]) != place["start"]:
        raise Conflict("the container stopped while it was looked for")
    return root, ids


def _enter_running(root: int, ids: int) -> None:
    """Go where a container's first process is, with all that is mounted there."""
    if not os.path.samestat(os.fstat(ids), os.stat("/proc/self/ns/user")):
        kernel.join_ids(ids)
        os.setgid(0)
        os.setuid(0)
    os.fchdir(root)
    os.chroot(".")


def _enter_stopped(place: dict[str, Any], privilege: Privilege) -> None:
    """Mount what the container would see, but for what is in memory only, where nobody else sees it."""
    userns.enter(privilege)
    kernel.own_mounts()
    base, target, data = place["overlay"]
    if data:
        kernel.mount_overlay(base, target, data)
    else:  # its files are at the target already
        kernel.bind(target, target, recursive=False)
    premount.mount_all(place["before"])
    sources = [os.open(source, _PLACE) for source, *_ in place["binds"]]
    numbers = os.open("/proc/self/fd", _ROOM)
    os.chdir(target)
    os.chroot(".")
    for source, (_, where, read_only, recursive) in zip(sources, place["binds"], strict=True):
        _make_mount_point(where, folder=stat.S_ISDIR(os.fstat(source).st_mode))
        # What is mounted goes by its descriptor, which /proc still names; where to, by the new root.
        os.fchdir(numbers)
        kernel.bind(str(source), where, recursive=recursive)
        os.chdir("/")
        if read_only:
            kernel.make_read_only(where)
    if place["read_only"]:
        kernel.make_read_only("/")


def _make_mount_point(path: str, *, folder: bool) -> None:
    if os.path.exists(path):
        return
    if folder:
        os.makedirs(path, 0o755, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o755))
