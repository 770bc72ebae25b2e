"""The mounts of one RUN: what of them is in its cache key, what is there while it runs, what stays: nothing.

Files of the context are copied aside (what .dockerignore leaves out is not there, and what is written is
gone), those of stages and images are mounted from their layers. A mount point that the image lacks is made
by the runtime in the layer, and taken out of it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posix
import posixpath
import stat

from tiffin.build.cache import Listing
from tiffin.build.context import LayerTree
from tiffin.build.failure import Wanted
from tiffin.build.roles import StepMount
from tiffin.build.runmounts import read_mount
from tiffin.errors import NotFound
from tiffin.layer import owners
from tiffin.spec import jsontext
from tiffin.store.snapshots import Draft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tiffin.build.context import Entry, Tree
    from tiffin.build.instructions import Run
    from tiffin.build.roles import Layer, RunRequest
    from tiffin.build.runmounts import RunMount
    from tiffin.build.stage import Stage
    from tiffin.spec.value import Value
    from tiffin.store.overlay import Stack


class _Source:
    """Where a mount's files come from: `path` in `tree`; `entries` where they were listed."""

    def __init__(self, tree: Tree, path: str, info: os.stat_result, entries: list[Entry]) -> None:
        self.tree = tree
        self.path = path
        self.is_folder = stat.S_ISDIR(info.st_mode)
        self.entries = entries


class Mounting:
    """The mounts of one RUN, their words expanded and their sources looked up."""

    def __init__(self, stage: Stage, instruction: Run) -> None:
        """Raise DockerfileError for a source that is not there."""
        self.listing = Listing()
        self._stage = stage
        self._statement = instruction.statement
        expand = stage.expander(instruction)
        self.mounts = [self._placed(read_mount(self._statement, m.text, expand)) for m in instruction.mounts]
        self._facts: list[dict[str, Any]] = []
        self._sources: dict[RunMount, _Source] = {}
        self._found: dict[RunMount, StepMount] = {}
        for mount in self.mounts:
            facts = mount.as_dict()
            del facts["text"]
            if mount.kind == "bind" or mount.origin:
                facts["layers"] = self._look(mount)
            self._facts.append(facts)
        stack = stage.session.stack(stage.chain)
        self._points = [_missing(stack, mount.target) for mount in self.mounts if mount.target]
        self._stack = stack

    def _placed(self, mount: RunMount) -> RunMount:
        if not mount.target:
            return mount
        target = self._stage.absolute(mount.target).rstrip("/")
        if not target:
            hint = "it is the root folder: set a WORKDIR before"
            message = f'invalid mount target "{mount.target}"'
            raise self._statement.error(message, caret=mount.target, hint=hint, prefix=False)
        return mount.replace(target=target)

    def _look(self, mount: RunMount) -> str:
        """Look a source up and list its files; all of an image is known by its layers instead."""
        session = self._stage.session
        tree, digests = session.source(self._stage, mount.origin, self._statement)
        path, info = tree.find(mount.source)
        if info is None:
            message = f'failed to calculate checksum of "/{path}": "/{path}": not found'
            message = f"failed to compute cache key: {message}"
            hint = tree.absent(mount.source)
            raise self._statement.error(message, caret=mount.source, hint=hint, prefix=False)
        if isinstance(tree, LayerTree) and not path:
            self._sources[mount] = _Source(tree, path, info, [])
            return tree.layers[-1] if tree.layers else ""
        entries = tree.scan(path)
        self._sources[mount] = _Source(tree, path, info, entries)
        self.listing.add(f"{mount.origin or '.'}/{path}", entries, digests)
        digests.save()
        return ""

    def ingredients(self) -> list[dict[str, Any]]:
        """Return what decides the result: options and sources, and of secrets only their names."""
        return self._facts

    # While it runs

    @contextlib.contextmanager
    def ready(self, request: RunRequest) -> Iterator[RunRequest]:
        """Yield the request with its mounts; caches are held and copies are there until the end."""
        with contextlib.ExitStack() as held:
            env = list(request.env)
            found = self._found = {}
            # Caches in one order everywhere: two builds that lock two of them must not wait in a circle.
            for mount in sorted(self.mounts, key=lambda m: (m.kind != "cache", self._cache_key(m))):
                made = self._one(mount, held, env, len(found))
                if made is not None:
                    found[mount] = made
            mounts = tuple(sorted(found.values(), key=lambda m: m.target.count("/")))
            yield request.replace(env=tuple(env), mounts=mounts)

    def kept(self, commit: Callable[[Draft, str], Layer]) -> list[Value]:
        """Return what a failed step had, for later: `commit` makes layers of the files of the context.

        Secrets and agents are not kept, only where they were.
        """
        kept: list[Value] = []
        for mount in self.mounts:
            made = self._found.get(mount)
            if mount.kind in {"secret", "ssh"}:
                words = {name: getattr(mount, name) for name in ("kind", "id", "env", "mode", "uid", "gid")}
                kept.append(Wanted(**words, target=made.target if made else mount.target))
            elif made and mount.kind == "bind" and made.kind == "bind":
                folder, name = os.path.split(made.place)
                chain = commit(Draft(folder), "").chain_id
                kept.append(made.replace(kind="image", place=name, layers=(chain,), read_only=True))
            elif made:
                kept.append(made)
        return kept

    def _one(
        self, mount: RunMount, held: contextlib.ExitStack, env: list[str], number: int
    ) -> StepMount | None:
        if mount.kind == "secret":
            return self._secret(mount, env)
        if mount.kind == "ssh":
            return self._ssh(mount, env, number)
        if mount.kind == "tmpfs":
            return StepMount(kind="tmpfs", target=mount.target, size=mount.size)
        if mount.kind == "cache":
            place = held.enter_context(
                self._stage.session.cache_mounts.hold(
                    self._cache_key(mount),
                    mount.id or mount.target,
                    sharing=mount.sharing,
                    fill=lambda folder: self._fill(mount, folder),
                    stopped=lambda: self._stage.session.stopped,
                )
            )
            return StepMount(kind="bind", target=mount.target, place=place, read_only=mount.read_only)
        return self._bind(mount, held)

    def _secret(self, mount: RunMount, env: list[str]) -> StepMount | None:
        data = self._stage.session.options.secrets.get(mount.id)
        if data is None:
            if mount.required:
                hint = f"give it: --secret id={mount.id},src=FILE, or env=VARIABLE"
                raise NotFound(f"secret {mount.id}: not found", hint=hint)
            return None
        if mount.env:
            env.append(f"{mount.env}={data.decode('utf-8', 'surrogateescape')}")
        if not mount.target:
            return None
        return StepMount(
            kind="secret",
            target=mount.target,
            data=data,
            mode=mount.mode,
            uid=mount.uid,
            gid=mount.gid,
            read_only=True,
        )

    def _ssh(self, mount: RunMount, env: list[str], number: int) -> StepMount | None:
        agent = self._stage.session.options.ssh.get(mount.id)
        if agent is None:
            if mount.required:
                hint = f"give it: --ssh {mount.id}, with an agent at $SSH_AUTH_SOCK"
                raise NotFound(f'no SSH key "{mount.id}" forwarded from the client', hint=hint)
            return None
        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        if not any(pair.startswith("SSH_AUTH_SOCK=") for pair in env):
            env.append(f"SSH_AUTH_SOCK={target}")
        if not mount.target:
            self._points.append(_missing(self._stack, target))
        return StepMount(
            kind="ssh", target=target, place=agent, mode=mount.mode, uid=mount.uid, gid=mount.gid
        )

    def _bind(self, mount: RunMount, held: contextlib.ExitStack) -> StepMount:
        source = self._sources[mount]
        if mount.read_only and isinstance(source.tree, LayerTree) and source.tree.layers:
            place, layers = source.path, source.tree.layers
            return StepMount(kind="image", target=mount.target, place=place, layers=layers, read_only=True)
        draft = held.enter_context(self._stage.session.draft())
        self._copy(source, draft.path, "source")
        place = f"{draft.path}/source"
        return StepMount(kind="bind", target=mount.target, place=place, read_only=mount.read_only)

    def _copy(self, source: _Source, folder: str, name: str) -> None:
        """Copy a source into a folder, under a name, or (a folder's contents) under none."""
        copier = self._stage.session.aside(folder)
        entries = source.entries or source.tree.scan(source.path)
        if source.is_folder:
            copier.put_tree(entries, name)
        else:
            copier.put_file(entries[0], copier.folder(""), name)
        copier.finish()
        if isinstance(source.tree, LayerTree):  # who owns what is no matter of a folder of the host
            for entry in entries:
                place = posixpath.join(folder, name, entry.name).rstrip("/")
                if entry.info.st_uid or entry.info.st_gid:
                    owners.give(place, entry.info.st_uid, entry.info.st_gid)

    def _cache_key(self, mount: RunMount) -> str:
        if mount.kind != "cache":
            return ""
        source = self._sources.get(mount)
        layers = source.tree.layers if source and isinstance(source.tree, LayerTree) else ()
        facts = [posixpath.normpath(mount.id or mount.target), mount.mode, mount.uid, mount.gid]
        facts += [mount.origin, mount.source, list(layers)]
        return hashlib.sha256(jsontext.dumps_bytes({"cache": facts})).hexdigest()[:32]

    def _fill(self, mount: RunMount, folder: str) -> None:
        """Make a new cache what it begins as."""
        source = self._sources.get(mount)
        if source is not None and source.is_folder:
            self._copy(source, folder, "")
        if mount.uid or mount.gid:
            owners.give(folder, mount.uid, mount.gid)
        posix.chmod(folder, mount.mode)

    # Afterwards

    def tidy(self, draft: Draft) -> Draft:
        """Take the mount points that were made for the mounts out of what the command changed."""
        for missing in self._points:
            for path in missing:
                if not _remove_empty(f"{draft.path}/{path}"):
                    break
            else:
                if missing:
                    self._forget_parents(draft, posixpath.dirname(missing[-1]))
        return draft

    def _forget_parents(self, draft: Draft, path: str) -> None:
        """Take out folders that are in the layer only because a mount point was made in them."""
        while path:
            place = f"{draft.path}/{path}"
            below = self._stack.lstat(f"/{path}")
            if below is None or not os.path.isdir(place) or os.path.islink(place):
                return
            now = posix.lstat(place)
            alike = (now.st_mode, now.st_uid, now.st_gid) == (below.st_mode, below.st_uid, below.st_gid)
            opaque = any(name.endswith("overlay.opaque") for name in os.listxattr(place))
            if not alike or opaque or not _remove_empty(place):
                return
            path = posixpath.dirname(path)


def _missing(stack: Stack, target: str) -> list[str]:
    """Return the paths of a mount point that are not there, the deepest first."""
    path, node = stack.find(target)
    path = path.strip("/")
    found = []
    while path and node is None:
        found.append(path)
        path = posixpath.dirname(path)
        node = stack.find(f"/{path}")[1]
    return found


def _remove_empty(place: str) -> bool:
    """Remove an empty folder or file; tell whether nothing is there now."""
    try:
        info = posix.lstat(place)
        if stat.S_ISDIR(info.st_mode):
            posix.rmdir(place)
        elif stat.S_ISREG(info.st_mode) and not info.st_size:
            posix.unlink(place)
        else:
            return False
    except FileNotFoundError:
        return True
    except OSError:  # it is not empty
        return False
    return True
