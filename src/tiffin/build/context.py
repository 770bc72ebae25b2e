"""Where a build's files come from: the context (a folder or a tar) and the layers of stages and images.

Both are *trees* that answer the same four questions, so that COPY has one way to go. A context is
hostile: symlinks are followed inside it only (its top is their root), nothing but regular files,
folders and symlinks is taken from it.
"""

from __future__ import annotations

import io
import os
import posix
import stat

from tiffin.build.patterns import Patterns, component, has_wildcards, unescaped
from tiffin.build.repositories import Checkout, is_remote, repository
from tiffin.errors import InvalidArgument, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO, Protocol

    from tiffin.build.roles import Options
    from tiffin.store.overlay import Node, Stack
else:
    Protocol = object

_LINKS = 40
_HEAD = 1 << 21
_DOCKERFILE = 16 << 20
_IGNORE = 1 << 20


class Entry:
    """One file, folder or symlink to be copied. `name` is relative to the source, "" for itself."""

    __slots__ = ("attributes", "info", "link", "name", "place")

    def __init__(
        self,
        name: str,
        info: os.stat_result,
        place: str,
        *,
        link: str = "",
        attributes: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        """`place` is its host path, `link` a symlink's text, `attributes` the extended ones to keep."""
        self.name = name
        self.info = info
        self.place = place
        self.link = link
        self.attributes = attributes


class Tree(Protocol):
    """What COPY reads from. Paths are relative to the top, without leading `/`; "" is the top."""

    def find(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return (where a path really is, what is there), symlinks followed; None for nothing."""

    def names(self, path: str) -> list[str]:
        """Return the sorted names in the folder that a resolved path is."""

    def scan(self, path: str, excluded: Patterns | None = None) -> list[Entry]:
        """Return what a resolved path is and all below it, folders before what they hold, sorted.

        `excluded` are `--exclude`'s patterns, relative to the path.
        """

    def absent(self, path: str) -> str:
        """Say what else may help somebody whose path is not there, "" for nothing."""


class FolderTree:
    """A folder of the host, less what `.dockerignore` excludes."""

    def __init__(self, root: str, ignore: Patterns | None = None, *, special: bool = False) -> None:
        """Read below `root`, which is trusted; nothing in it is. `special` lets devices and pipes pass."""
        self.root = root
        self._special = special
        self.ignore = ignore or Patterns(())

    def find(self, path: str) -> tuple[str, os.stat_result | None]:
        """See Tree. Absolute targets and `..` end at the context's top."""
        todo = _components(path)[::-1]
        here: list[str] = []
        links = 0
        info: os.stat_result | None = posix.stat(self.root)
        while todo:
            name = todo.pop()
            if name == "..":
                del here[-1:]
                continue
            here.append(name)
            info = self._lstat("/".join(here))
            if info is None:
                return "/".join((*here, *reversed(todo))), None
            if stat.S_ISLNK(info.st_mode):
                links += 1
                if links > _LINKS:
                    message = f"{path}: too many levels of symbolic links"
                    raise InvalidArgument(message)
                target = posix.readlink(f"{self.root}/{'/'.join(here)}")
                here.pop()
                if target.startswith("/"):
                    here.clear()
                todo += _components(target)[::-1]
        found = "/".join(here)
        info = self._lstat(found) if found else posix.stat(self.root)
        if info is None or (found and not self._shown(found, info)):
            return found, None
        return found, info

    def _lstat(self, path: str) -> os.stat_result | None:
        try:
            return posix.lstat(f"{self.root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == 36:  # ENAMETOOLONG
                return None
            raise

    def _shown(self, path: str, info: os.stat_result) -> bool:
        if not self.ignore or not self.ignore.matches(path)[0]:
            return True
        # An excluded folder is there for what a `!` pattern takes back.
        return stat.S_ISDIR(info.st_mode) and self.ignore.negations and len(self.scan(path)) > 1

    def names(self, path: str) -> list[str]:
        """See Tree."""
        prefix = f"{path}/" if path else ""
        found = []
        for name in sorted(posix.listdir(f"{self.root}/{path}")):
            info = self._lstat(prefix + name)
            if info is not None and (not self.ignore or self._shown(prefix + name, info)):
                found.append(name)
        return found

    def absent(self, path: str) -> str:
        """See Tree: names the pattern that excludes it, or a file with nearly that name."""
        from tiffin.build.flags import closest

        path = "/".join(part for part in _components(path) if part != "..")
        if self._lstat(path) is not None and self.ignore:
            pattern = self.ignore.deciding(path)
            if pattern:
                return f'it is there, but .dockerignore excludes it ("{pattern}")'
        folder, _, name = path.rpartition("/")
        try:
            near = closest(name, tuple(posix.listdir(f"{self.root}/{folder}")))
        except OSError:
            return "sources are looked up in the build context only"
        return f"did you mean {f'{folder}/' if folder else ''}{near}?" if near else ""

    def scan(self, path: str, excluded: Patterns | None = None) -> list[Entry]:
        """See Tree. Sockets are skipped; raises InvalidArgument for a device or a pipe."""
        top = f"{self.root}/{path}" if path else self.root
        info = posix.lstat(top)
        found = [Entry("", info, top)]
        if not stat.S_ISDIR(info.st_mode):
            self._check_kind(found[0], path)
            return found
        filters = [_Filter(self.ignore, f"{path}/" if path else "")] if self.ignore else []
        if excluded:
            filters.append(_Filter(excluded, ""))
        states = [f.start(path) for f in filters]
        self._below("", top, filters, states, found)
        return found

    def _below(
        self,
        folder: str,
        place: str,
        filters: list[_Filter],
        states: list[tuple[bool, ...]],
        found: list[Entry],
    ) -> None:
        with os.scandir(place) as listing:
            children = sorted(listing, key=_name)
        for child in children:
            name = f"{folder}{child.name}"
            inner = states
            hidden = False
            if filters:
                answers = [f.patterns.below(s, f.prefix + name) for f, s in zip(filters, states, strict=True)]
                hidden = any(matched for matched, _ in answers)
                inner = [state for _, state in answers]
            if child.is_dir(follow_symlinks=False):
                if hidden and not any(f.patterns.negations for f in filters):
                    continue
                before = len(found)
                found.append(Entry(name, child.stat(follow_symlinks=False), child.path))
                self._below(f"{name}/", child.path, filters, inner, found)
                if hidden and len(found) == before + 1:
                    found.pop()
            elif not hidden:
                entry = Entry(name, child.stat(follow_symlinks=False), child.path)
                if child.is_symlink():
                    entry.link = posix.readlink(child.path)
                elif not child.is_file(follow_symlinks=False):
                    if stat.S_ISSOCK(entry.info.st_mode):
                        continue
                    self._check_kind(entry, name)
                found.append(entry)

    def _check_kind(self, entry: Entry, path: str) -> None:
        mode = entry.info.st_mode
        if not self._special and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            kind = "named pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
            message = f"the build context holds a {kind}: {path or entry.name}"
            raise InvalidArgument(message, hint="exclude it in .dockerignore")


class _Filter:
    """Patterns and where the scanned folder stands in them."""

    def __init__(self, patterns: Patterns, prefix: str) -> None:
        self.patterns = patterns
        self.prefix = prefix

    def start(self, path: str) -> tuple[bool, ...]:
        return self.patterns.matches(path)[1] if self.prefix and path else ()


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


class LayerTree:
    """The files of a stage or an image, seen through its layers."""

    def __init__(self, stack: Stack, layers: tuple[str, ...] = ()) -> None:
        """Read through that stack, which is of those layers."""
        self.stack = stack
        self.layers = layers

    def find(self, path: str) -> tuple[str, os.stat_result | None]:
        """See Tree."""
        canonical, node = self.stack.find(path)
        return canonical.strip("/"), node.info if node else None

    def names(self, path: str) -> list[str]:
        """See Tree."""
        return self.stack.listdir(f"/{path}") or []

    def absent(self, path: str) -> str:
        """See Tree."""
        folder = os.path.dirname(f"/{path}".rstrip("/"))
        names = self.stack.listdir(folder)
        return "" if names is None else f"{folder} holds {', '.join(names[:8]) or 'nothing'}"

    def scan(self, path: str, excluded: Patterns | None = None) -> list[Entry]:
        """See Tree. Raises Unsupported for a device."""
        found: list[Entry] = []
        top = "/" + path.strip("/")
        skip = len(top) if top == "/" else len(top) + 1
        for canonical, node in self.stack.walk(top):
            name = canonical[skip:]
            if name and excluded and excluded.matches(name)[0]:
                continue
            found.append(_layer_entry(name, canonical, node))
        return found


def _layer_entry(name: str, canonical: str, node: Node) -> Entry:
    mode, place = node.info.st_mode, node.places[0]
    entry = Entry(name, node.info, place)
    if stat.S_ISLNK(mode):
        entry.link = posix.readlink(place)
    elif stat.S_ISREG(mode):
        entry.attributes = tuple(
            (key, os.getxattr(place, key, follow_symlinks=False))
            for key in sorted(os.listxattr(place, follow_symlinks=False))
            if key == "security.capability"
            or (key.startswith("user.") and not key.startswith(("user.overlay.", "user.tiffin.")))
        )
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        message = f"COPY of a device is not supported: {canonical}"
        raise Unsupported(message, hint="a container gets its devices when it starts")
    return entry


def match(tree: Tree, source: str, *, recursive: bool = False) -> list[tuple[str, str, os.stat_result]]:
    """Return what a COPY source names: one path, or what a pattern matches, sorted.

    Each is (path as named, path with symlinks resolved, what is there). `..` is dropped at the top, as
    docker does. Nothing found is []. With `recursive`, `**` stands for any number of folders.
    """
    found = [""]
    for part in _components(source):
        if recursive and part == "**":
            found = [below for path in found for below in _folders(tree, path)]
            continue
        if not has_wildcards(part):
            found = [_joined(path, unescaped(part)) for path in found]
            continue
        pattern = component(part)
        matched = []
        for path in found:
            real, info = tree.find(path)
            if info is not None and stat.S_ISDIR(info.st_mode):
                matched += [_joined(path, name) for name in tree.names(real) if pattern.fullmatch(name)]
        found = matched
    answers = []
    for path in found:
        real, info = tree.find(path)
        if info is not None:
            answers.append((path, real, info))
    return answers


def _folders(tree: Tree, path: str) -> list[str]:
    """Return a folder and all folders below it; none for what is no folder."""
    real, info = tree.find(path)
    if info is None or not stat.S_ISDIR(info.st_mode):
        return []
    below = [entry.name for entry in tree.scan(real) if stat.S_ISDIR(entry.info.st_mode)]
    return [_joined(path, name) if name else path for name in below]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


# Contexts


class Context:
    """What was given to build from: a tree, and the text of the Dockerfile."""

    def __init__(self, tree: FolderTree, *, text: bytes, file: str, name: str, lasting: bool) -> None:
        """`file` is how messages call the Dockerfile; `name` tells this project from others.

        `lasting` says that the folder is somebody's own, worth remembering its files' digests.
        """
        self.lasting = lasting
        self.tree = tree
        self.text = text
        self.file = file
        self.name = name


class Fetcher(Protocol):
    """Brings contexts that lie elsewhere (who resolves images plays it)."""

    def fetch(self, url: str, place: str) -> int:
        """Write what a URL gives to a new file."""

    def clone(self, wanted: Checkout, folder: str) -> str:
        """Check a repository out into an empty folder."""


def open_context(
    source: str | BinaryIO | None,
    *,
    workspace: Callable[[], str],
    fetcher: Fetcher,
    options: Options,
    dockerfile: bytes | str = b"",
    file: str = "",
) -> Context:
    """Open a folder, a tar or a bare Dockerfile (path, URL or stream), a repository (URL), or nothing.

    `dockerfile` is a text that stands in for the file; `file` its path: as docker has it, relative to
    the working directory, or else to the context. `workspace` makes the empty folder that a tar is
    unpacked into. Raises NotFound, InvalidArgument, Corrupt, Unavailable.
    """
    text = dockerfile.encode() if isinstance(dockerfile, str) else dockerfile
    if source is None:
        root = workspace()
    elif not isinstance(source, str):
        root, bare = _from_stream(source, workspace)
        text = text or bare
        if bare and not file:
            file = "Dockerfile"
    elif is_remote(source):
        root, bare = fetched_folder(source, workspace, fetcher, options)
        text = text or bare
        file = "" if bare else file
    else:
        root = _from_path(source, workspace)
    name = os.path.realpath(source) if isinstance(source, str) else "-"
    shown = file or "Dockerfile"
    tree = FolderTree(root)
    place = ""
    if not text:
        text, place = _dockerfile(tree, file, own=not (isinstance(source, str) and is_remote(source)))
    tree.ignore = _ignore(tree, place)
    lasting = isinstance(source, str) and os.path.isdir(source)
    return Context(tree, text=text, file=shown, name=f"{name} {shown}", lasting=lasting)


def fetched_folder(
    source: str, workspace: Callable[[], str], fetcher: Fetcher, options: Options
) -> tuple[str, bytes]:
    """Fetch a context from a URL or a repository; return (root, text of a bare Dockerfile)."""
    wanted = repository(source)
    root = workspace()
    if wanted is None:
        place = f"{root}/context"
        fetcher.fetch(source, place)
        with open(place, "rb", buffering=0) as stream:
            return _from_stream(stream, workspace)
    checkout = Checkout(
        repository=wanted,
        keep_git_dir=options.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in {"1", "true"},
        ssh=options.ssh.get("default", ""),
        secrets=options.secrets,
    )
    fetcher.clone(checkout, root)
    real, info = FolderTree(root).find(wanted.subdir)
    if info is None or not stat.S_ISDIR(info.st_mode):
        message = f'unable to prepare context: "{wanted.subdir}" is no folder of {wanted.url}'
        raise NotFound(message)
    return f"{root}/{real}", b""


def folder_tree(root: str) -> FolderTree:
    """Return a folder's files less what its own .dockerignore excludes."""
    tree = FolderTree(root)
    tree.ignore = Patterns.parse(_inside(tree, ".dockerignore", _IGNORE) or b"")
    return tree


def _from_path(source: str, workspace: Callable[[], str]) -> str:
    if os.path.isdir(source):
        return os.path.abspath(source)
    try:
        with open(source, "rb", buffering=0) as stream:
            root, bare = _from_stream(stream, workspace)
    except (FileNotFoundError, NotADirectoryError):
        message = f'unable to prepare context: path "{source}" not found'
        raise NotFound(message) from None
    if bare:
        message = f"unable to prepare context: {source} is neither a folder nor a tar"
        raise InvalidArgument(message, hint="name the Dockerfile with -f and the folder last")
    return root


def _from_stream(stream: BinaryIO, workspace: Callable[[], str]) -> tuple[str, bytes]:
    """Unpack a tar, or take the stream for a Dockerfile; return (root, text of a bare Dockerfile)."""
    from tiffin.layer import apply

    head = b""
    while len(head) < _HEAD and (data := stream.read(_HEAD - len(head))):
        head += data
    root = workspace()
    if not head:
        raise InvalidArgument("unable to prepare context: the stream is empty")
    if not is_archive(io.BytesIO(head).read):
        rest = stream.read() if len(head) == _HEAD else b""
        return root, head + rest
    pieces: Iterable[bytes] = iter((head,))

    def read(size: int) -> bytes:
        return next(pieces, b"") or stream.read(size)  # type: ignore[call-overload]

    apply.apply_stream(read, root, xattr="user.", whiteouts=False)
    return root, b""


def is_archive(read: Callable[[int], bytes]) -> bool:
    """Tell whether a stream begins a tar, compressed or not; only the content decides, as docker has it.

    Reads as little as will do: small pieces, so that a bomb cannot fill the memory, and up to the
    longest block of bzip2, which says nothing before its end.
    """
    from tiffin.errors import Corrupt
    from tiffin.layer import compression

    piece = read(512)
    kind = compression.sniff(piece)
    if not kind:
        return _tar_header(piece)
    inflater = compression.Decompressor(kind)
    head, consumed = b"", 0
    while piece and len(head) < 512 and consumed < _HEAD:
        try:
            head += inflater.feed(piece)
        except Corrupt:
            return False
        consumed += len(piece)
        piece = read(512)
    return _tar_header(head[:512])


def _tar_header(block: bytes) -> bool:
    if len(block) < 512 or not block.strip(b"\0"):
        return False
    digits = block[148:156].strip(b" \0")
    if not digits or not digits.isdigit():
        return False
    try:
        stated = int(digits, 8)
    except ValueError:
        return False
    return stated == sum(block) - sum(block[148:156]) + 8 * 32


def _dockerfile(tree: FolderTree, file: str, *, own: bool) -> tuple[bytes, str]:
    """Return the Dockerfile's text and its path: absolute on the host, or relative in the context.

    A path of the host is the user's own word; one inside the context does not lead out of it. A context
    that comes from elsewhere is not the user's `own`: its Dockerfile is in it.
    """
    if own and file and (os.path.isabs(file) or os.path.exists(file)):
        try:
            with open(file, "rb") as stream:
                return stream.read(_DOCKERFILE), os.path.abspath(file)
        except FileNotFoundError:
            raise _no_dockerfile(file) from None
        except IsADirectoryError:
            message = f"failed to read dockerfile: {file} is a folder"
            raise InvalidArgument(message) from None
    # docker falls back to the lower case for those who write it so
    for name in (file,) if file else ("Dockerfile", "dockerfile"):
        text = _inside(tree, name, _DOCKERFILE)
        if text is not None:
            return text, name
    raise _no_dockerfile(file or "Dockerfile")


def _no_dockerfile(name: str) -> NotFound:
    message = f"failed to read dockerfile: open {name}: no such file or directory"
    return NotFound(message, hint="name it with -f FILE; - is stdin")


def _inside(tree: FolderTree, path: str, limit: int) -> bytes | None:
    """Read a regular file of the context, whatever is ignored in it; None if there is none."""
    real, info = tree.find(path)
    if info is None:
        return None
    if not stat.S_ISREG(info.st_mode):
        message = f"{path} is not a regular file"
        raise InvalidArgument(message)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(posix.open(f"{tree.root}/{real}", flags), "rb") as stream:
        return stream.read(limit)


def _ignore(tree: FolderTree, dockerfile: str) -> Patterns:
    """Read the exclusions: `<Dockerfile>.dockerignore` wins over `.dockerignore`."""
    own = f"{dockerfile or 'Dockerfile'}.dockerignore"
    if not os.path.isabs(own):
        text = _inside(tree, own, _IGNORE)
    elif os.path.isfile(own):
        with open(own, "rb") as stream:
            text = stream.read(_IGNORE)
    else:
        text = None
    if text is None:
        text = _inside(tree, ".dockerignore", _IGNORE)
    return Patterns.parse(text or b"")
