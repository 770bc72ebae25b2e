"""Store: one root folder, opened. Its parts are made when they are first asked for."""

from __future__ import annotations

import os
import posix
import stat

from tiffin.errors import Forbidden, InvalidArgument, Unsupported
from tiffin.store.database import Database
from tiffin.store.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from tiffin.settings import Settings
    from tiffin.store.buildcache import BuildCache
    from tiffin.store.containers import Containers
    from tiffin.store.content import Content
    from tiffin.store.events import Events
    from tiffin.store.images import Images
    from tiffin.store.leases import Lease, Leases
    from tiffin.store.networks import Networks
    from tiffin.store.overlay import Stack
    from tiffin.store.snapshots import Snapshots
    from tiffin.store.volumes import Volumes


class Store:
    """What one root folder holds. Safe for threads; several processes may have the same one open."""

    def __init__(self, settings: Settings, *, kind: str = "engine") -> None:
        """Open it, making it where there is none yet.

        A store is of the kind it was made as: what a registry keeps would be rubbish to an engine's gc.
        Raises Unsupported for a store of another privilege rung or of a newer tiffin, InvalidArgument
        (another kind, too) and StorageFull where the root cannot be one.
        """
        self.layout = Layout(root=settings.root, run=settings.run)
        self.settings = settings
        self.database = Database(self.layout.database, make=self._make)
        self._check_kind(kind)
        self._check_rung()
        self.settings = self._with_snapshotter()

    def _check_kind(self, kind: str) -> None:
        """Raise InvalidArgument where a registry's root is opened as an engine's, or the other way round."""
        made = self.database.meta.get("kind")
        if made is None:
            self.database.execute("INSERT OR IGNORE INTO meta VALUES ('kind', ?)", (kind,))
        elif made != kind:
            self.close()
            other = "a registry's" if kind == "engine" else "an engine's"
            raise InvalidArgument(f"{self.layout.root} is {other} root", hint="each needs a root of its own")

    def _check_rung(self) -> None:
        """Raise Unsupported where the store's owners and marks are those of another rung."""
        allowed, meta = self.settings.privilege, self.database.meta
        made = meta.get("rung") or ("root" if meta.get("xattr") else "")
        if not made:
            self.database.execute("INSERT OR IGNORE INTO meta VALUES ('rung', ?)", (allowed.mark,))
            self._choose_marks()
        elif made != allowed.mark:
            self.close()
            said = f"here it would be {allowed.mark!r}" + (f", because {allowed.why}" if allowed.why else "")
            message = f"{self.layout.root} was made with other privileges (its rung is {made!r}; {said})"
            hint = "use a root folder of its own for each: --root or TIFFIN_ROOT"
            if allowed.rung in {"single", "none"} and made.startswith("subids"):
                hint = f"to be what it was made with again: {allowed.remedy}; or {hint}"
            raise Unsupported(message, hint=hint)
        if allowed.rung != "root":
            self._check_run()

    def _choose_marks(self) -> None:
        """Decide, for a new store, how its layers mark deletions: see layer.whiteout."""
        from tiffin.layer import whiteout

        xattr, folder = self.settings.privilege.xattr, self.layout.drafts
        if self.settings.snapshotter != "copy" and whiteout.can_have(folder, xattr):
            return
        if not whiteout.can_have(folder, self.settings.privilege.with_own_marks().xattr):
            self.close()
            message = f"{self.layout.root} is on a file system without extended attributes"
            raise Unsupported(message, hint="name a root on a local disk: --root or TIFFIN_ROOT")
        self.database.execute("INSERT OR IGNORE INTO meta VALUES ('marks', 'own')")
        self.database.meta["marks"] = "own"

    def _with_snapshotter(self) -> Settings:
        """Return the settings with how this store's containers get their files, as far as it is decided.

        Raises Unsupported for a wish that cannot be had.
        """
        settings, meta = self.settings, self.database.meta
        if meta.get("marks") == "own":
            if settings.snapshotter == "overlay":
                self.close()
                message = f"the layers of {self.layout.root} are not marked as overlayfs wants it"
                raise Unsupported(message, hint="use another root folder: --root or TIFFIN_ROOT")
            return settings.replace(snapshotter="copy", privilege=settings.privilege.with_own_marks())
        if settings.snapshotter:
            return settings
        name, _, device = meta.get("snapshotter", "").partition(" ")
        # Decided anew when the store has moved to another file system.
        known = name and device == str(posix.stat(self.layout.root).st_dev)
        return settings.replace(snapshotter=name) if known else settings

    def remember_snapshotter(self, name: str) -> None:
        """Remember what was found to work here, and use it."""
        text = f"{name} {posix.stat(self.layout.root).st_dev}"
        self.database.execute("INSERT OR REPLACE INTO meta VALUES ('snapshotter', ?)", (text,))
        self.settings = self.settings.replace(snapshotter=name)

    def _check_run(self) -> None:
        """Make an ordinary user's run folder, or raise Forbidden where it is somebody else's."""
        run = self.layout.run
        try:
            info = posix.lstat(run)
        except FileNotFoundError:
            self._make_run(run)
            info = posix.lstat(run)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != posix.geteuid() or info.st_mode & 0o022:
            message = f"{run} is not a folder of yours alone"
            raise Forbidden(message, hint="set XDG_RUNTIME_DIR or TIFFIN_RUN to one that is")

    def _make_run(self, run: str) -> None:
        try:
            os.makedirs(run, 0o700, exist_ok=True)
        except OSError as error:
            message = f"cannot make the run folder {run}: {(error.strerror or '').lower()}"
            raise Forbidden(message, hint="set XDG_RUNTIME_DIR or TIFFIN_RUN to a folder of yours") from error

    def _make(self) -> None:
        """Make the folders below the root."""
        root = self.layout.root
        if os.path.lexists(root) and not os.path.isdir(root):
            message = f"{root} is not a folder"
            raise InvalidArgument(message, hint="name another root for the store")
        os.makedirs(os.path.dirname(root), exist_ok=True)
        layout = self.layout
        folders = (root, layout.content, f"{layout.content}/blobs", f"{layout.content}/blobs/sha256")
        more = (layout.ingest, layout.layers, layout.drafts, layout.containers, layout.volumes)
        for path in (*folders, *more):
            try:
                posix.mkdir(path, 0o711 if path in {root, layout.volumes} else 0o700)
            except FileExistsError:
                continue
        from tiffin.store.snapshots import EMPTY_LAYER

        os.makedirs(f"{layout.layers}/{EMPTY_LAYER}", mode=0o755, exist_ok=True)
        posix.chmod(f"{layout.layers}/{EMPTY_LAYER}", 0o755)
        with open(f"{layout.content}/oci-layout", "w", encoding="ascii") as stream:
            stream.write('{"imageLayoutVersion":"1.0.0"}')

    # Imports stand in the properties: a command pays only for the parts that it uses.

    @property
    def leases(self) -> Leases:
        """What work in flight keeps from gc."""
        made: Leases | None = self.__dict__.get("_leases")
        if made is None:
            from tiffin.store.leases import Leases

            made = self.__dict__.setdefault("_leases", Leases(self.database))
        return made

    @property
    def content(self) -> Content:
        """Blobs by digest."""
        made: Content | None = self.__dict__.get("_content")
        if made is None:
            from tiffin.store.content import Content

            xattr = self.settings.privilege.xattr
            fresh = Content(self.layout, self.database, self.leases, xattr=xattr)
            made = self.__dict__.setdefault("_content", fresh)
        return made

    @property
    def images(self) -> Images:
        """Names, ids, configs."""
        made: Images | None = self.__dict__.get("_images")
        if made is None:
            from tiffin.store.images import Images

            durable = self.settings.durable
            fresh = Images(self.layout, self.database, lambda: self.content, durable=durable)
            made = self.__dict__.setdefault("_images", fresh)
        return made

    @property
    def snapshots(self) -> Snapshots:
        """Layers and writable folders."""
        made: Snapshots | None = self.__dict__.get("_snapshots")
        if made is None:
            from tiffin.store.snapshots import Snapshots

            settings = self.settings
            copying = settings.snapshotter == "copy"
            fresh = Snapshots(self.layout, self.database, self.leases, settings.privilege, copying=copying)
            made = self.__dict__.setdefault("_snapshots", fresh)
        return made

    @property
    def containers(self) -> Containers:
        """Container records, names, locks, states."""
        made: Containers | None = self.__dict__.get("_containers")
        if made is None:
            from tiffin.store.containers import Containers

            fresh = Containers(self.layout, self.database, lambda: self.snapshots)
            made = self.__dict__.setdefault("_containers", fresh)
        return made

    @property
    def volumes(self) -> Volumes:
        """Named and anonymous volumes."""
        made: Volumes | None = self.__dict__.get("_volumes")
        if made is None:
            from tiffin.store.volumes import Volumes

            fresh = Volumes(self.layout, self.database, durable=self.settings.durable)
            made = self.__dict__.setdefault("_volumes", fresh)
        return made

    @property
    def networks(self) -> Networks:
        """Networks by name and id."""
        made: Networks | None = self.__dict__.get("_networks")
        if made is None:
            from tiffin.store.networks import Networks

            made = self.__dict__.setdefault("_networks", Networks(self.database))
        return made

    @property
    def events(self) -> Events:
        """What happened."""
        made: Events | None = self.__dict__.get("_events")
        if made is None:
            from tiffin.store.events import Events

            made = self.__dict__.setdefault("_events", Events(self.layout))
        return made

    @property
    def buildcache(self) -> BuildCache:
        """Results of build steps by what went into them."""
        made: BuildCache | None = self.__dict__.get("_buildcache")
        if made is None:
            from tiffin.store.buildcache import BuildCache

            made = self.__dict__.setdefault("_buildcache", BuildCache(self.database))
        return made

    def lease(self, purpose: str) -> Lease:
        """Open a lease for work in flight (a context manager); see `leases`."""
        return self.leases.begin(purpose)

    def stack(self, layers: Sequence[str], *, upper: str = "") -> Stack:
        """Return the merged view of layers (chain ids, bottom first), `upper` over them."""
        from tiffin.store.overlay import Stack

        folders = [self.layout.layer(chain_id) for chain_id in reversed(layers)]
        if upper:
            folders.insert(0, upper)
        if not folders:
            from tiffin.store.snapshots import EMPTY_LAYER

            folders.append(f"{self.layout.layers}/{EMPTY_LAYER}")
        return Stack(folders, self.settings.privilege.xattr)

    def close(self) -> None:
        """Close the database. Commands do not need to: they end, and the WAL stays."""
        self.database.close()

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
