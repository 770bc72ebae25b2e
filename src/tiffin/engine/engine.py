"""Engine: the one façade. The library, the command line and the API server are guests of it."""

from __future__ import annotations

from tiffin.engine.keepers import Keepers
from tiffin.errors import Unsupported
from tiffin.settings import Settings
from tiffin.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tiffin.engine.containers import Containers
    from tiffin.engine.images import Images
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
    ) -> None:
        """Open the store, making it if it is not there.

        `keepers` says where the processes come from that stay with containers; the command line hands
        over the one that it forked as its first act. Raises Unsupported where this user may not run
        containers, and StorageFull or InvalidArgument where the root folder cannot be used.
        """
        self.settings = settings or Settings.from_environment(root=root, run=run)
        if self.settings.privilege.rung == "none":
            message = "tiffin must run as root"
            raise Unsupported(
                message, hint="use sudo, or a root shell; running without root is not built yet"
            )
        self.store = Store(self.settings)
        self.keepers = keepers or Keepers()

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
    def volumes(self) -> Volumes:
        """Make, look at and remove volumes."""
        from tiffin.engine.volumes import Volumes

        return Volumes(self)

    @property
    def system(self) -> System:
        """The engine itself: version, info, fsck, credentials."""
        from tiffin.engine.system import System

        return System(self)

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
