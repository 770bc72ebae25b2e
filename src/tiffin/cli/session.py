"""Session: what every command of one invocation shares, and the engine once somebody needs it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from tiffin.engine.engine import Engine
    from tiffin.settings import Settings


class Session:
    """The global flags, and the keeper that was forked first (its channel, or None)."""

    def __init__(
        self,
        *,
        root: str = "",
        run: str = "",
        config: str = "",
        debug: bool = False,
        offline: bool = False,
        keeper: _socket.socket | None = None,
    ) -> None:
        """Open nothing yet."""
        self._root = root
        self._run = run
        self._config = config
        self._debug = debug
        self._offline = offline
        self._keeper = keeper
        self._settings: Settings | None = None
        self._engine: Engine | None = None

    @property
    def settings(self) -> Settings:
        """The settings, read once; raises InvalidArgument for a broken tiffin.toml."""
        if self._settings is None:
            from tiffin.settings import Settings

            settings = Settings.from_environment(
                root=self._root, run=self._run, debug=self._debug, offline=self._offline
            )
            if self._config:
                settings = settings.replace(docker_config=self._config)
            self._settings = settings
        return self._settings

    @property
    def debug(self) -> bool:
        """Whether tracebacks are shown."""
        return self._debug or (self._settings is not None and self._settings.debug)

    @property
    def engine(self) -> Engine:
        """The engine, opened at first use and never closed: the process ends with `os._exit`."""
        if self._engine is None:
            from tiffin.engine.engine import Engine
            from tiffin.engine.keepers import Keepers

            keepers = Keepers(self._keeper, privilege=self.settings.privilege)
            self._engine = Engine(self.settings, keepers=keepers, alone=True)
        return self._engine
