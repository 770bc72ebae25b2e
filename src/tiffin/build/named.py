"""--build-context NAME=SOURCE: what a name in FROM, COPY --from and RUN --mount=from= stands for instead."""

from __future__ import annotations

import os
import threading

from tiffin.build.context import FolderTree, fetched_folder, folder_tree
from tiffin.build.repositories import is_remote
from tiffin.errors import InvalidArgument, NotFound, TiffinError
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.build.context import Fetcher
    from tiffin.build.roles import Options

IMAGE, LAYOUT = "docker-image://", "oci-layout://"


class NamedContexts:
    """The named contexts of one build. A name is an image's as docker has it: `a` is `a:latest`."""

    def __init__(self, options: Options, workspace: Callable[[], str], fetcher: Fetcher) -> None:
        """`workspace` makes empty folders for what is fetched; raises InvalidArgument, NotFound."""
        self._options = options
        self._workspace = workspace
        self._fetcher = fetcher
        self._trees: dict[str, FolderTree] = {}
        self._lock = threading.Lock()
        self._sources = {_normal(name): source for name, source in options.contexts.items()}
        for name, source in options.contexts.items():
            _check(name, source)

    def __contains__(self, name: object) -> bool:
        """Tell whether a name stands for one of them."""
        return bool(self._sources) and _normal(str(name)) in self._sources

    def image(self, name: str) -> str:
        """Return the image that a name stands for (a reference, or `oci-layout://`...), "" for none."""
        source = self._sources.get(_normal(name), "") if self._sources else ""
        if source.startswith(LAYOUT):
            return source
        return source.removeprefix(IMAGE) if source.startswith(IMAGE) else ""

    def tree(self, name: str) -> FolderTree:
        """Return the files that a name stands for, fetched once."""
        source = self._sources[_normal(name)]
        with self._lock:
            if source not in self._trees:
                self._trees[source] = self._open(source)
            return self._trees[source]

    def lasting(self, name: str) -> bool:
        """Tell whether these files are somebody's own folder, worth remembering."""
        return not is_remote(self._sources[_normal(name)])

    def _open(self, source: str) -> FolderTree:
        if not is_remote(source):
            return folder_tree(os.path.abspath(source))
        root, bare = fetched_folder(source, self._workspace, self._fetcher, self._options)
        if bare:
            raise InvalidArgument(f"{source} is no archive", hint="a named context is a folder of files")
        return folder_tree(root)


def _check(name: str, source: str) -> None:
    if not source:
        raise InvalidArgument(f"invalid context value: {name}, expected k=v")
    if source.startswith((IMAGE, LAYOUT)) or is_remote(source):
        return
    if "://" in source:
        hint = "a folder, docker-image://, oci-layout://, a URL or a repository"
        raise InvalidArgument(f"unsupported context source {source} for {name}", hint=hint)
    if not os.path.isdir(source):
        raise NotFound(f"failed to get build context {name}: {source}: no such folder")


def _normal(name: str) -> str:
    try:
        return Reference.parse(name.lower()).tagged().familiar.removesuffix(":latest")
    except TiffinError:
        return name.lower()
