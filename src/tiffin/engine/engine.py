"""Engine: the one façade. The library, the command line and the API server are guests of it."""

from __future__ import annotations

from tiffin.engine.keepers import Keepers
from tiffin.settings import Settings
from tiffin.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from tiffin.engine.containers import Containers
    from tiffin.engine.images import Images
    from tiffin.engine.manifests import Manifests
    from tiffin.engine.networks import Networks
    from tiffin.engine.system import System
    from tiffin.engine.volumes import Volumes


class Engine:
    """An open store and what can be done with it. No daemon: the work happens in this process.

    Safe to use from several threads, and several engines (also in other processes) may share one
    root. Use it as a context manager or call `close`; containers live on either way.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        root: str = "",
        run: str = "",
        keepers: Keepers | None = None,
        alone: bool = False,
    ) -> None:
        """Open the store, making it if it is not there.

        `keepers` says where the processes come from that stay with containers; the command line hands
        over the one that it forked as its first act. `alone` says that this process belongs to the engine
        and has one thread, so that it may itself become root in a user namespace. Raises Unsupported for a
        store that was made on another rung, StorageFull or InvalidArgument where the root folder cannot be
        used.
        """
        self.store = Store(settings or Settings.from_environment(root=root, run=run))
        if not self.store.settings.snapshotter:
            from tiffin.engine import trial  # once for each store

            trial.choose(self.store)
        self.settings = self.store.settings
        self.keepers = keepers or Keepers(privilege=self.settings.privilege)
        self._alone = alone
        self._entered = False
        if self.store.database.rebooted:
            from tiffin.engine import boot

            boot.settle(self)

    @property
    def containers(self) -> Containers:
        """Create, start, look at, stop and remove containers."""
        from tiffin.engine.containers import Containers

        return Containers(self)

    @property
    def images(self) -> Images:
        """Build, pull, push, name, look at and remove images."""
        from tiffin.engine.images import Images

        return Images(self)

    @property
    def manifests(self) -> Manifests:
        """Make lists of manifests by hand, look at those of registries."""
        from tiffin.engine.manifests import Manifests

        return Manifests(self)

    @property
    def volumes(self) -> Volumes:
        """Make, look at and remove volumes."""
        from tiffin.engine.volumes import Volumes

        return Volumes(self)

    @property
    def networks(self) -> Networks:
        """Make, look at and remove networks; connect containers; publish ports."""
        from tiffin.engine.networks import Networks

        return Networks(self)

    @property
    def system(self) -> System:
        """The engine itself: version, info, fsck, credentials."""
        from tiffin.engine.system import System

        return System(self)

    def logged_in(self, server: str, **credential: str) -> Engine:
        """Return this engine as somebody whom a registry knows (`username` and `password`, or a token).

        The credential is kept nowhere. It shares this engine's store, and is closed with it.
        """
        from tiffin.registry.address import domain_of

        other = Engine.__new__(Engine)
        other.__dict__.update(self.__dict__)
        other.settings = self.settings.replace(logins={domain_of(server): credential})
        return other

    def outside(self) -> bool:
        """Tell whether another process must do what deals with the ids of the store's files (`inside`).

        The command's own process goes into the user namespace itself, here, when it first needs it; then
        all that follows is as if root did it. Most commands never do.
        """
        allowed = self.settings.privilege
        if allowed.inside or self._entered or allowed.rung in {"root", "none"}:
            return False
        from tiffin.engine import lost

        lost.settle_all(self)  # inside, processes of containers cannot be killed any more
        if self._alone:
            from tiffin.keeper import userns

            try:
                userns.enter(allowed)
            except OSError:
                self._alone = False  # there are threads
            else:
                self._entered = True
        return not self._entered

    def inside(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """Let a process in the user namespace do a verb (`images.pull`) of this engine; return its result."""
        from tiffin.engine import inside

        return inside.call(self.settings, verb, arguments, options)

    def close(self) -> None:
        """Close the store's database. Running containers are not touched."""
        self.keepers.close()
        self.store.close()

    def __enter__(self) -> Self:
        """Return the engine."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
