"""The one reader of the environment and of tiffin.toml; decides the rung of privilege once.

Everything else receives `Settings` (and the `Privilege` in it) as plain data; nothing else asks who
it runs as or reads a variable.
"""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Get = Callable[[str], str | None]


class Privilege(Value):
    """What this process may do, as data. `rung` is root, subids, single, or none.

    `xattr` is the prefix of overlayfs's marks (`trusted.` or `user.`); `overlay_options` are words for
    the mount; the maps are (inside, outside, count) triples, () where no user namespace is needed;
    `cgroups` says whether limits can be set.
    """

    rung: str
    xattr: str
    overlay_options: tuple[str, ...]
    uid_map: tuple[tuple[int, int, int], ...] = ()
    gid_map: tuple[tuple[int, int, int], ...] = ()
    cgroups: bool = True


ROOT = Privilege(
    rung="root",
    xattr="trusted.",
    overlay_options=("index=off", "redirect_dir=off", "metacopy=off"),
)


class Settings(Value):
    """Where things lie and how to behave; made by `from_environment` or by hand in tests."""

    root: str
    run: str
    privilege: Privilege
    runtime: str = ""  # an OCI runtime's name or path; "" = crun, else runc
    docker_config: str = ""  # the folder of docker's config.json
    durable: bool = True  # sync images to disk before saying "done"
    debug: bool = False
    parallel_downloads: int = 4
    proxies: Mapping[str, str] = EMPTY  # http, https, no -> value
    environment: Mapping[str, str] = EMPTY  # for `-e NAME` and credential helpers

    @staticmethod
    def from_environment(
        environment: Mapping[str, str] | None = None,
        *,
        root: str = "",
        run: str = "",
        debug: bool = False,
    ) -> Settings:
        """Read TIFFIN_ROOT, TIFFIN_RUN, DOCKER_CONFIG, proxies, ... and tiffin.toml.

        The arguments win over the environment, which wins over the file. Raises InvalidArgument for
        a file that cannot be understood.
        """
        get = (os.environ if environment is None else environment).get
        home = get("HOME") or "/"
        superuser = os.geteuid() == 0
        named = get("TIFFIN_CONFIG") or ""
        file = _read_file(named or _default_file(get, home, superuser=superuser), required=bool(named))
        data_home = get("XDG_DATA_HOME") or f"{home}/.local/share"
        run_home = get("XDG_RUNTIME_DIR") or f"/tmp/tiffin-run-{os.geteuid()}"  # noqa: S108 - checked when made
        default_root = "/var/lib/tiffin" if superuser else f"{data_home}/tiffin"
        default_run = "/run/tiffin" if superuser else f"{run_home}/tiffin"
        chosen_root = root or get("TIFFIN_ROOT") or file.get("root") or default_root
        chosen_run = run or get("TIFFIN_RUN") or file.get("run") or ""
        if not chosen_run:
            # A store of its own gets a run folder of its own, or two stores would share sockets.
            own = chosen_root != default_root
            chosen_run = _run_beside(chosen_root, default_run) if own else default_run
        return Settings(
            root=os.path.abspath(chosen_root),
            run=os.path.abspath(chosen_run),
            privilege=ROOT if superuser else ROOT.replace(rung="none"),
            runtime=get("TIFFIN_RUNTIME") or file.get("runtime") or "",
            docker_config=get("DOCKER_CONFIG") or f"{home}/.docker",
            durable=(get("TIFFIN_DURABLE") or file.get("durable") or "1") not in {"0", "false", "no"},
            debug=debug or get("TIFFIN_DEBUG", "") not in {"", "0"},
            parallel_downloads=_positive(file.get("parallel_downloads") or "4", "parallel_downloads"),
            proxies=_proxies(get),
            environment=environment if environment is not None else os.environ,
        )


def _run_beside(root: str, default_run: str) -> str:
    name = os.path.abspath(root).strip("/").replace("~", "~~").replace("-", "~-").replace("/", "-")
    if len(name) > 100:  # a name in a folder has 255 bytes, and two long roots stay two
        from tiffin.spec import digest

        name = f"{name[:60]}-{digest.short(digest.of(name.encode()))}"
    return f"{default_run}-{name}"


def _default_file(get: Get, home: str, *, superuser: bool) -> str:
    if superuser:
        return "/etc/tiffin/tiffin.toml"
    config_home = get("XDG_CONFIG_HOME") or f"{home}/.config"
    return f"{config_home}/tiffin/tiffin.toml"


_KINDS = {"root": str, "run": str, "runtime": str, "durable": bool, "parallel_downloads": int}
_WORDS = {str: "a string", bool: "true or false", int: "a whole number"}


def _read_file(path: str, *, required: bool) -> dict[str, str]:
    """Return the file's settings as text; nothing where the file may be missing and is."""
    try:
        stream = open(path, "rb")  # noqa: SIM115 - pathlib costs 10 ms at start
    except FileNotFoundError as error:
        if not required:
            return {}
        raise InvalidArgument(f"{path}: no such file", hint="TIFFIN_CONFIG names it") from error
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from error
    import tomllib

    with stream:
        try:
            table = tomllib.load(stream)
        except (ValueError, OSError) as error:
            message = f"{path}: {error}"
            raise InvalidArgument(message, hint="it must be TOML") from error
    for key, value in table.items():
        if key not in _KINDS:
            message = f"{path}: unknown setting {key!r}"
            raise InvalidArgument(message, hint="known are " + ", ".join(sorted(_KINDS)))
        if type(value) is not _KINDS[key]:
            message = f"{path}: {key} must be {_WORDS[_KINDS[key]]}"
            raise InvalidArgument(message)
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in table.items()}


def _positive(text: str, name: str) -> int:
    if not text.isdigit() or int(text) < 1:
        message = f"{name} must be a whole number above 0, not {text!r}"
        raise InvalidArgument(message)
    return int(text)


def _proxies(get: Get) -> Mapping[str, str]:
    found = {}
    for kind in ("http", "https", "no", "all"):
        value = get(f"{kind}_proxy") or get(f"{kind.upper()}_PROXY")
        if value:
            found[kind] = value
    return found or EMPTY
