"""COPY, ADD and WORKDIR as steps: what goes in decides the cache key, what comes out is a layer."""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import ExitStack
from functools import partial

from tiffin.build import history, ownership
from tiffin.build.cache import Listing
from tiffin.build.context import FolderTree, is_archive, match
from tiffin.build.parser import chomped
from tiffin.build.patterns import Patterns, has_wildcards
from tiffin.build.repositories import is_remote
from tiffin.build.words import Lexer, WordError
from tiffin.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.build.context import Entry, Tree
    from tiffin.build.copier import Copier
    from tiffin.build.instructions import Copy, Workdir
    from tiffin.build.stage import Outcome, Stage
    from tiffin.store.snapshots import Draft


class _Source:
    """One thing to be copied: `name` in a folder, `entries` what it consists of."""

    __slots__ = ("entries", "name", "parent", "unpack")

    def __init__(self, name: str, parent: str, entries: list[Entry], *, unpack: bool) -> None:
        self.name = name
        self.unpack = unpack
        self.parent = parent  # with --parents: the folders to be kept above it
        self.entries = entries

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.entries[0].info.st_mode)


class _Job:
    """One COPY or ADD with its words expanded."""

    def __init__(self, stage: Stage, instruction: Copy) -> None:
        expand = stage.expander(instruction)
        self.stage = stage
        self.instruction = instruction
        self.paths = [expand(source) for source in instruction.sources]
        self.written = expand(instruction.destination)
        self.chown = expand(instruction.chown) if instruction.chown else ""
        self.chmod = expand(instruction.chmod) if instruction.chmod else ""
        self.excluded = Patterns(map(expand, instruction.exclude)) if instruction.exclude else None
        if not self.written:
            message = f"{instruction.statement.keyword} destination is blank"
            raise instruction.statement.error(message, caret=instruction.destination, prefix=False)
        self.destination = stage.absolute(self.written)
        self.inline = [(h.name, self._content(h.name)) for h in instruction.inline]
        self.mode = ownership.mode(self.chmod) if self.chmod else None
        read = stage.session.stack(stage.chain).read
        self.owner = ownership.owner(self.chown, read) if self.chown else None
        self._check()

    def _check(self) -> None:
        keyword = self.instruction.statement.keyword
        count = len(self.paths) + len(self.inline)
        if count > 1 and not self.destination.endswith("/"):
            message = (
                f"When using {keyword} with more than one source file, "
                "the destination must be a directory and end with a /"
            )
            raise self.instruction.statement.error(message, caret=self.instruction.destination, prefix=False)
        remote = [path for path in self.paths if keyword == "ADD" and is_remote(path)]
        self.checksum = ""
        if self.instruction.checksum:
            from tiffin.build.remote import check_sum

            self.checksum = self.stage.expander(self.instruction)(self.instruction.checksum)
            check_sum(self.instruction, self.checksum, self.paths, remote)

    def _content(self, name: str) -> bytes:
        heredoc = next(h for h in self.instruction.inline if h.name == name)
        text = chomped(heredoc)
        if heredoc.expand:
            lexer = Lexer(self.stage.environment(), escape=self.stage.escape, quotes=False)
            try:
                text = lexer.word(text)
            except WordError as error:
                raise self.instruction.statement.error(str(error), caret=name, prefix=False) from None
        return text.encode("utf-8", "surrogateescape")

    def sources(self, tree: Tree, held: ExitStack) -> list[_Source]:
        """Look the sources up, or fetch them; raise DockerfileError, in docker's words, for a missing one."""
        found = []
        for path in self.paths:
            if self.instruction.statement.keyword == "ADD" and is_remote(path):
                found.append(self._remote(path, held))
                continue
            matched = match(tree, path, recursive=self.instruction.parents)
            if not matched:
                self._missing(tree, path)
            for name, real, _ in matched:
                entries = tree.scan(real, self.excluded)
                base = posixpath.basename(posixpath.normpath(name))
                source = _Source(base, self._parent(path, name), entries, unpack=self.instruction.unpack)
                if self.excluded and not source.is_folder and self.excluded.matches(base)[0]:
                    continue
                found.append(source)
        return found

    def _remote(self, url: str, held: ExitStack) -> _Source:
        from tiffin.build.remote import cloned, fetched
        from tiffin.build.repositories import repository

        wanted = repository(url)
        if wanted is not None:
            entries = cloned(self.stage, self.instruction, wanted, self.checksum, held, self.excluded)
            return _Source("", "", entries, unpack=False)
        name, entries = fetched(self.stage, self.instruction, url, self.checksum, held)
        return _Source(name, "", entries, unpack=self.instruction.unpack_remote)

    def _missing(self, tree: Tree, path: str) -> None:
        if has_wildcards(path):
            # docker is silent here: `COPY package.json yarn.lock* ./` is a habit.
            line = self.instruction.statement.line
            self.stage.session.warn(f"{self.instruction.statement.keyword} {path}: nothing matches", line)
            return
        shown = "/" + posixpath.normpath("/" + path).strip("/")
        hint = tree.absent(path)
        if path.startswith("..") and not hint:
            hint = "a source cannot lie outside of the build context"
        message = (
            f'failed to compute cache key: failed to calculate checksum of "{shown}": "{shown}": not found'
        )
        raise self.instruction.statement.error(message, caret=path, hint=hint, prefix=False)

    def _parent(self, written: str, name: str) -> str:
        """Return the folders that --parents keeps: those behind a `/./`, if there is one."""
        if not self.instruction.parents:
            return ""
        pivot, dot, _ = written.partition("/./")
        if dot and "**" in pivot:
            message = f"COPY --parents with ** before ./ is not supported: {written}"
            raise Unsupported(message, hint="name the folder whose parents are not wanted")
        skip = len([part for part in pivot.split("/") if part not in {"", "."}]) if dot else 0
        return posixpath.dirname("/".join(name.split("/")[skip:]))

    def ingredients(self) -> dict[str, Any]:
        """Return what decides the result, but for the files."""
        stage, instruction = self.stage, self.instruction
        found: dict[str, Any] = {
            "kind": instruction.statement.keyword,
            "parent": stage.top,
            "sources": self.paths,
            "destination": self.destination,
            "owner": list(self.owner) if self.owner else [],
            "chmod": self.chmod,
            "exclude": list(instruction.exclude),
        }
        if instruction.parents:
            found["parents"] = True
        if instruction.link:
            found["link"] = True
        if instruction.unpack:
            found["unpack"] = True
        if instruction.unpack_remote:
            found["unpack_remote"] = True
        return found


def copy(stage: Stage, instruction: Copy) -> Outcome:
    """Carry out a COPY or an ADD; what it fetches is there until it is done."""
    with ExitStack() as held:
        return _copy(stage, instruction, held)


def _copy(stage: Stage, instruction: Copy, held: ExitStack) -> Outcome:
    session = stage.session
    job = _Job(stage, instruction)
    tree, digests = session.source(stage, instruction.source, instruction.statement)
    sources = job.sources(tree, held)
    listing = Listing()
    for source in sources:
        listing.add(posixpath.join(source.parent, source.name), source.entries, digests)
    for name, data in job.inline:
        listing.add_text(name, data)
    digests.save()
    text = history.copy(instruction, job.paths, job.written, job.chown, job.chmod)
    return session.steps.make(
        stage, instruction, job.ingredients(), listing, text, lambda draft: _write(job, sources, draft)
    )


def _write(job: _Job, sources: list[_Source], draft: Draft) -> None:
    stage = job.stage
    link = job.instruction.link
    copier = stage.session.copier(stage, draft, owner=job.owner, mode=job.mode, alone=link)
    for source in sources:
        _place(job, copier, source, draft, alone=len(sources) + len(job.inline) == 1)
    for name, data in job.inline:
        real, node = copier.find(job.destination)
        into = job.destination.endswith("/") or (node is not None and node.is_folder)
        copier.put_bytes(data, posixpath.join(real, name) if into else real)
    copier.finish()


def _place(job: _Job, copier: Copier, source: _Source, draft: Draft, *, alone: bool) -> None:
    destination = job.destination
    into = destination.endswith("/") or bool(source.parent)
    if source.parent:
        destination = posixpath.join(destination, source.parent)
    if job.instruction.parents and source.is_folder:
        destination = posixpath.join(destination, source.name)
    real, node = copier.find(destination)
    entry = source.entries[0]
    if source.is_folder:
        copier.put_tree(source.entries, real)
        return
    if source.unpack and _is_archive(entry):
        _unpack(job, copier, entry, real, draft)
        return
    if into or (node is not None and node.is_folder):
        copier.put_file(entry, copier.folder(real), source.name)
        return
    if not alone:
        message = (
            f"When using {job.instruction.statement.keyword} with more than one source file, "
            "the destination must be a directory and end with a /"
        )
        raise InvalidArgument(message)
    above, _, name = real.rpartition("/")
    if not name:
        message = f"cannot replace to directory {destination} with file"
        raise InvalidArgument(message)
    copier.put_file(entry, copier.folder(above), name)


def _is_archive(entry: Entry) -> bool:
    if not stat.S_ISREG(entry.info.st_mode):
        return False
    descriptor = os.open(entry.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        return is_archive(stream.read)


def _unpack(job: _Job, copier: Copier, entry: Entry, path: str, draft: Draft) -> None:
    """Unpack a local archive into a folder, merged with what the image has there."""
    from tiffin.layer import apply

    session = job.stage.session
    unpack = partial(apply.apply, xattr=session.xattr, limits=session.limits, whiteouts=False)
    with open(entry.place, "rb", buffering=0) as stream:
        if job.owner is None and copier.empty(path):
            unpack(stream.fileno(), draft.path, inside=path)
            return
        with session.draft() as aside:
            unpack(stream.fileno(), aside.path)
            copier.put_tree(FolderTree(aside.path, special=True).scan(""), path, links=True)


def make_workdir(stage: Stage, instruction: Workdir, path: str, text: str) -> Outcome:
    """Make the working directory and its parents, as root, in a layer of their own."""

    def write(draft: Draft) -> None:
        copier = stage.session.copier(stage, draft)
        copier.folder(copier.find(path)[0])
        copier.finish()

    ingredients = {"kind": "WORKDIR", "parent": stage.top, "destination": path}
    return stage.session.steps.make(stage, instruction, ingredients, None, text, write)
