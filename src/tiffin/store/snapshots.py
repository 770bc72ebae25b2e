"""Snapshots: drafts that become layers, and the writable folders of containers.

A draft is a folder below `drafts/` whose name carries its owner (boot, pid, start time): when the
process is gone, so is the reason to keep it. A layer counts when it has its row; see `content` for how
file and row come together, and `images.commit` for when they are believed after a power cut.
"""

from __future__ import annotations

import os
import posix
import stat
import time

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec import digest as digests
from tiffin.store import atomic, mountpoints
from tiffin.store.overlay import BY_NAME, OverlayMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from tiffin.settings import Privilege
    from tiffin.store.copied import Copied
    from tiffin.store.database import Database
    from tiffin.store.layout import Layout
    from tiffin.store.leases import Leases
    from tiffin.store.overlay import Node, Stack

EMPTY_LAYER = "empty"
"""The folder below `layers` that stands in for "no layers": overlayfs wants at least one."""
OWNER = ".owner"
"""A symlink in a container's folder whose text is the owner tag of the process that made it."""


BECOMING = "becoming"
"""A symlink in a container's folder whose text is the name of the layer that its upper folder becomes."""


class Draft:
    """A layer in the making; `path` is its root folder. Commit it by `Snapshots.commit` or discard it."""

    def __init__(self, path: str) -> None:
        """Take over a folder below `drafts`."""
        self.path = path

    def discard(self) -> None:
        """Remove it and all in it; harmless when it has become a layer."""
        atomic.delete_tree(self.path)

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Discard what was not committed."""
        self.discard()


class Snapshots:
    """The layers of a store and the writable folders over them."""

    def __init__(
        self,
        layout: Layout,
        database: Database,
        leases: Leases,
        privilege: Privilege,
        *,
        copying: bool = False,
    ) -> None:
        """Keep them below that layout; the privilege says how overlayfs is to be mounted.

        With `copying` new containers get a copy of their layers, and nothing is mounted. What a container
        was made with stays with it.
        """
        self._layout = layout
        self._database = database
        self._leases = leases
        self._privilege = privilege
        self._copying = copying

    # Layers

    def begin(self) -> Draft:
        """Make an empty draft (mode 0755, owned by the store's own root)."""
        path = self._draft_path()
        try:
            posix.mkdir(path, 0o755)
            posix.chmod(path, 0o755)  # whatever the umask says
        except OSError as error:
            raise atomic.storage_error(error, "make a draft") from error
        return Draft(path)

    def _draft_path(self) -> str:
        return f"{self._layout.drafts}/{atomic.owner_tag()}-{posix.urandom(6).hex()}"

    def has(self, chain_id: str) -> bool:
        """Tell whether a layer is here. Open leases of this process hold what is found."""
        if not self._leases.any_open:
            return self._has(chain_id)
        with self._database.transaction():
            found = self._has(chain_id)
            if found:
                self._leases.hold_found(chain_id)
            return found

    def _has(self, chain_id: str) -> bool:
        row = self._database.one("SELECT 1 FROM layers WHERE chain_id=?", (chain_id,))
        return row is not None and os.path.isdir(self._layout.layer(chain_id))

    def commit(
        self,
        draft: Draft,
        *,
        parent: str,
        diff_id: str,
        size: int,
        tar_size: int = 0,
        foreign: bool = False,
        implied: Iterable[str] = (),
    ) -> str:
        """Make a draft the layer over `parent` ("" at the bottom); return its chain id.

        `tar_size` is the length of the uncompressed tar, where it is known. `foreign` says that the tar
        was made elsewhere (pull, load), so our serialiser may not give its bytes back. `implied` are
        folders (relative to the root) that the tar did not list: they get owner, mode and times of the
        same folder in the layers below. A layer that is here already is kept and the draft dropped.
        Raises NotFound if the parent is not here.
        """
        from tiffin.layer.diff import SERIALIZER

        chain_id = digests.chain_id(parent, diff_id)
        self._inherit(draft.path, parent, implied)
        serializer = 0 if foreign else SERIALIZER
        row = (chain_id, parent, diff_id, size, serializer, tar_size, time.time_ns())
        try:
            with self._database.transaction():
                if parent and not self._has(parent):
                    message = f"commit layer {diff_id}: parent {parent} not found"
                    raise NotFound(message)
                if not self._has(chain_id):
                    self._place(draft.path, self._layout.layer(chain_id))
                    self._database.execute(
                        "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, 0)", row
                    )
                self._leases.hold_found(chain_id)
        except OSError as error:
            raise atomic.storage_error(error, f"commit layer {diff_id}") from error
        draft.discard()
        return chain_id

    def _place(self, source: str, destination: str) -> None:
        """Move a draft to a layer's place; what a crash left there without a row is moved away first."""
        try:
            posix.rename(source, destination)
        except PermissionError:
            # Who is not root must be allowed to write into what he moves.
            mode = stat.S_IMODE(posix.stat(source).st_mode)
            posix.chmod(source, mode | 0o700)
            posix.rename(source, destination)
            posix.chmod(destination, mode)
        except OSError as error:
            if not os.path.lexists(destination):
                raise
            rubbish = self._draft_path()
            try:
                posix.rename(destination, rubbish)
            except OSError:
                raise error from None
            posix.rename(source, destination)
            atomic.delete_tree(rubbish)

    def _inherit(self, path: str, parent: str, implied: Iterable[str]) -> None:
        """Give folders that a tar only implied the looks of those below them, deepest first.

        The times of a folder are set last, so nothing in it may be touched afterwards.
        """
        wanted = sorted({name.strip("/") for name in implied}, key=lambda name: -name.count("/"))
        if not wanted or not parent:
            return
        from tiffin.store.copyup import copy_looks
        from tiffin.store.overlay import Stack

        below = [self._layout.layer(chain_id) for chain_id in self.chain(parent)]
        lower, own = Stack(below[::-1], self._privilege.xattr), Stack([path], self._privilege.xattr)
        for name in wanted:
            # The same place by the same name in both: a link or a `..` on the way means another folder.
            source, target = _folder(lower, f"/{name}"), _folder(own, f"/{name}")
            if source and target:
                copy_looks(source, target.places[0])

    def chain(self, chain_id: str) -> tuple[str, ...]:
        """Return a layer and those below it, bottom first; raise NotFound where one is missing."""
        found: list[str] = []
        while chain_id:
            row = self._database.one("SELECT parent FROM layers WHERE chain_id=?", (chain_id,))
            if row is None:
                message = f"layer {chain_id} not found"
                raise NotFound(message)
            found.append(chain_id)
            chain_id = row[0]
        return tuple(reversed(found))

    def size(self, chain_id: str) -> int:
        """Return the bytes of one layer's files, as they were counted when it was made."""
        row = self._database.one("SELECT size FROM layers WHERE chain_id=?", (chain_id,))
        if row is None:
            message = f"layer {chain_id} not found"
            raise NotFound(message)
        return int(row[0])

    def diff_id(self, chain_id: str) -> str:
        """Return the digest of one layer's uncompressed tar."""
        row = self._database.one("SELECT diff_id FROM layers WHERE chain_id=?", (chain_id,))
        if row is None:
            message = f"layer {chain_id} not found"
            raise NotFound(message)
        return str(row[0])

    def tar_size(self, chain_id: str) -> int:
        """Return the length of a built layer's uncompressed tar; 0 for one that came from elsewhere."""
        row = self._database.one("SELECT tar_size FROM layers WHERE chain_id=?", (chain_id,))
        if row is None:
            message = f"layer {chain_id} not found"
            raise NotFound(message)
        return int(row[0])

    # Writable folders

    def prepare(self, key: str, layers: Sequence[str]) -> OverlayMount:
        """Make the writable folders of a container (or of a build step) over layers, bottom first.

        They are `upper`, `work` and `rootfs` in `layout.container(key)`; what is there stays, so that a
        second start finds what the first wrote. The upper root looks like the topmost layer's root.
        Without overlayfs there is only `rootfs`, with everything in it.
        """
        mount = self.mount(key, layers)
        folder = self._layout.container(key)
        try:
            mountpoints.ensure(self._layout, layers, self._privilege.xattr)
            if not os.path.isdir(folder):
                # Never without its owner: gc would have to guess whether it is still being made.
                draft = self._draft_path()
                posix.mkdir(draft, 0o700)
                posix.symlink(atomic.owner_tag(), f"{draft}/{OWNER}")
                posix.rename(draft, folder)
            if not mount.lower:
                self._copy(mount.target, layers)
                return mount
            if not os.path.isdir(mount.upper) and not self._take_back(folder):
                self._make_upper(mount, layers)
            for path in (mount.work, mount.target):
                if not os.path.isdir(path):
                    posix.mkdir(path, 0o755)
            if mount.base != self._layout.layers and not os.path.isdir(mount.base):
                self._make_links(mount.base, layers)
        except OSError as error:
            raise atomic.storage_error(error, f"prepare {key[:12]}") from error
        return mount

    def _copy(self, target: str, layers: Sequence[str]) -> None:
        if not os.path.isdir(target):
            from tiffin.store import copied

            below = self._lower_names(layers)
            copied.make(os.path.dirname(target), below, self._layout.layers, self._privilege.xattr)

    def _make_links(self, folder: str, layers: Sequence[str]) -> None:
        """Make a folder with a link of a few letters to each lower folder: see `mount`."""
        made = atomic.temporary_name(folder)
        posix.mkdir(made, 0o755)
        for number, name in enumerate(self._lower_names(layers)):
            posix.symlink(f"../../../{os.path.basename(self._layout.layers)}/{name}", f"{made}/{number}")
        posix.rename(made, folder)

    def _lower_names(self, layers: Sequence[str]) -> tuple[str, ...]:
        names = tuple(self._layout.layer_name(chain_id) for chain_id in reversed(layers))
        return (self._layout.mount_points_name(layers[-1] if layers else ""), *names)

    def is_ready(self, layers: Sequence[str]) -> bool:
        """Tell whether `prepare` has nothing to do that only the owner of all ids may."""
        if self._copying or not os.path.isdir(
            f"{self._layout.layers}/{self._layout.mount_points_name(layers[-1] if layers else '')}"
        ):
            return False
        info = posix.stat(self._layout.layer(layers[-1])) if layers else None
        return info is None or (info.st_uid == posix.geteuid() and info.st_gid == posix.getegid())

    def _make_upper(self, mount: OverlayMount, layers: Sequence[str]) -> None:
        points = self._layout.mount_points_name(layers[-1] if layers else "")
        info = posix.stat(f"{self._layout.layers}/{points}")
        posix.mkdir(mount.upper, 0o755)
        if info.st_uid or info.st_gid:
            posix.chown(mount.upper, info.st_uid, info.st_gid)
        posix.chmod(mount.upper, stat.S_IMODE(info.st_mode))

    def mount(self, key: str, layers: Sequence[str]) -> OverlayMount:
        """Return the words of the mount of `prepare`, making nothing.

        Folders that would not fit into the kernel's page of options by their names have links with short
        ones in the container's folder.
        """
        folder = self._layout.container(key)
        if not key or "/" in key or key.startswith("."):
            message = f"invalid snapshot key {key!r}"
            raise InvalidArgument(message)
        base, names = self._layout.layers, self._lower_names(layers)
        if self._is_copied(key):
            return OverlayMount(base=base, lower=(), upper="", work="", target=f"{folder}/rootfs")
        if len(names) > BY_NAME:
            base, names = f"{folder}/lower", tuple(map(str, range(len(names))))
        return OverlayMount(
            base=base,
            lower=names,
            upper=f"{folder}/upper",
            work=f"{folder}/work",
            target=f"{folder}/rootfs",
            options=self._privilege.overlay_options,
        )

    def _is_copied(self, key: str) -> bool:
        """Tell whether a container's files are a copy, or would be."""
        folder = self._layout.container(key)
        if self._copying:
            return not os.path.isdir(f"{folder}/upper")
        return os.path.exists(f"{folder}/copied")

    def _copied(self, key: str) -> Copied:
        from tiffin.store.copied import Copied

        folder = self._layout.container(key)
        if not os.path.isdir(f"{folder}/rootfs"):
            message = f"snapshot {key} not found"
            raise NotFound(message)
        return Copied(folder, self._layout.layers, self._privilege.xattr)

    def view(self, key: str, layers: Sequence[str], *, points: bool = False) -> Stack:
        """Return what a container sees of its own files, with `points` also its bare mount points."""
        from tiffin.store.overlay import Stack

        folder = self._layout.container(key)
        if self._is_copied(key):
            return Stack([f"{folder}/rootfs"], self._privilege.xattr)
        names = self._lower_names(layers)
        lower = [f"{self._layout.layers}/{name}" for name in names[0 if points else 1 :]]
        upper = self._upper(folder)
        own = [upper] if os.path.isdir(upper) else []
        return Stack([*own, *lower] or [f"{self._layout.layers}/{EMPTY_LAYER}"], self._privilege.xattr)

    def changes(self, key: str, layers: Sequence[str], own: int = 0) -> list[tuple[str, str]]:
        """Return (path, C changed, A added or D deleted) of what a container wrote, sorted by path.

        The topmost `own` of the layers are what it wrote before it was forked.
        """
        if not os.path.isdir(self._layout.container(key)):
            return []
        from tiffin.store import changes

        # As it is mounted, so with the mount points that an image lacks.
        points, *lower = (f"{self._layout.layers}/{name}" for name in self._lower_names(layers))
        xattr = self._privilege.xattr
        if self._is_copied(key):
            last = [(one.path, one.kind) for one in self._copied(key).changes()]
        else:
            mountpoints.ensure(self._layout, layers, xattr)
            last = changes.of_upper(self._upper(self._layout.container(key)), [points, *lower], xattr)
        if not own:
            return last
        merged = self.view(key, layers, points=True)
        return changes.together(last, merged, lower[:own], [points, *lower[own:]], xattr)

    def adopt_upper(self, key: str) -> Draft:
        """Turn what a build step or a container wrote into a draft. It must not be mounted, and loses it."""
        if self._is_copied(key):
            copied = self._copied(key)
            draft = self.begin()
            try:
                copied.fill(draft.path)
            except BaseException:
                draft.discard()
                raise
            return draft
        path = self._draft_path()
        try:
            posix.rename(f"{self._layout.container(key)}/upper", path)
        except FileNotFoundError:
            message = f"snapshot {key} not found"
            raise NotFound(message) from None
        except OSError as error:
            if error.errno == 16:
                message = f"snapshot {key} is still mounted"
                raise Conflict(message) from error
            raise atomic.storage_error(error, f"commit {key[:12]}") from error
        return Draft(path)

    def copy_upper(self, key: str, draft: Draft) -> None:
        """Copy what a container wrote into an empty draft; it keeps its own and may run meanwhile.

        Raises Conflict if something changes while it is copied.
        """
        from tiffin.layer.duplicate import duplicate

        xattr = self._privilege.xattr
        try:
            if self._is_copied(key):
                self._copied(key).fill(draft.path)
            else:
                duplicate(self._upper(self._layout.container(key)), draft.path, xattr=xattr)
        except OSError as error:
            raise atomic.storage_error(error, f"commit {key[:12]}") from error

    def commit_written(self, draft: Draft, *, parent: str) -> str:
        """Make what `copy_upper` copied the layer over `parent`; return its chain id, "" if nothing was."""
        from tiffin.layer import diff, tar

        made = diff.measure(draft.path, xattr=self._privilege.xattr)
        if made.tar_size <= len(tar.END):
            return ""
        return self.commit(draft, parent=parent, diff_id=made.diff_id, size=made.size, tar_size=made.tar_size)

    # What a container wrote, as a layer that others stand on too: see `store.forks`.

    def is_copied(self, key: str) -> bool:
        """Tell whether a container has a copy of its layers instead of an upper folder over them."""
        return self._is_copied(key)

    def becoming(self, key: str) -> str:
        """Return the name of the layer that a container's upper folder is becoming, "" for none."""
        try:
            return posix.readlink(f"{self._layout.container(key)}/{BECOMING}")
        except OSError:
            return ""

    def _upper(self, folder: str) -> str:
        """Return where a container's upper folder is: in the middle of a fork it has moved already."""
        upper = f"{folder}/upper"
        if not os.path.isdir(upper) and (name := self.becoming(os.path.basename(folder))):
            return f"{self._layout.layers}/{name}"
        return upper

    def _take_back(self, folder: str) -> bool:
        """Undo a fork that was killed after the upper folder had moved and before any row said so."""
        moved = self._upper(folder)
        if moved == f"{folder}/upper" or not os.path.isdir(moved):
            return False
        start = f"sha256:{os.path.basename(moved)}"
        query = "SELECT 1 FROM layers WHERE chain_id>=? AND chain_id<?"
        with self._database.transaction():
            if self._database.one(query, (start, f"{start}g")):
                atomic.remove_file(f"{folder}/{BECOMING}")
                return False  # it is done: the layer is one
            posix.rename(moved, f"{folder}/upper")
        atomic.remove_file(f"{folder}/{BECOMING}")
        return True

    def remove(self, key: str) -> None:
        """Remove the folder of a container or a build step; a missing one is fine.

        It moves out of sight at once (to `drafts`, as ours) and is deleted after that.
        """
        aside = self._draft_path()
        try:
            posix.rename(self._layout.container(key), aside)
        except FileNotFoundError:
            return
        atomic.delete_tree(aside)

    def claim(self, key: str) -> None:
        """Make this process the owner of a folder whose row is about to go: if it dies, gc takes over."""
        owner = f"{self._layout.container(key)}/{OWNER}"
        temporary = atomic.temporary_name(owner)
        try:
            posix.symlink(atomic.owner_tag(), temporary)
            posix.rename(temporary, owner)
        except OSError:
            return  # no folder, or no room: gc then asks for the folder's age

    def usage(self, key: str) -> int:
        """Return the bytes of what a container has written."""
        if self._is_copied(key):
            return self._copied(key).size()
        return atomic.tree_size(f"{self._layout.container(key)}/upper")


def _folder(stack: Stack, path: str) -> Node | None:
    canonical, node = stack.find(path, follow_last=False)
    return node if node and node.is_folder and canonical == path else None
