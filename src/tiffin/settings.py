"""The one reader of the environment and of tiffin.toml; decides the rung of privilege once.

Everything else receives `Settings` (and the `Privilege` in it) as plain data; nothing else asks who
it runs as or reads a variable.
"""

from __future__ import annotations

import errno
import os

from tiffin.errors import InvalidArgument
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Get = Callable[[str], str | None]
    Map = tuple[tuple[int, int, int], ...]


class Privilege(Value):
    """What this process may do, as data. `rung` is root, subids, single, or none.

    `xattr` is the prefix of overlayfs's marks (`trusted.` or `user.`), or of our own where the store lies
    on a file system that refuses those (layer.whiteout); `overlay_options` are words for the mount; the maps
    are (inside, outside, count) triples of the user namespace that processes with ids live in, () where none
    is needed, and `inside` says that this process is in it already. `cgroups` says whether limits can be
    set, `controllers` names what can be limited, () for all; `manager` is the socket of the systemd that
    gives cgroups, "" where there is none. `why` is the reason why it is not the rung above, `remedy` the
    command that gets there.
    """

    rung: str
    xattr: str
    overlay_options: tuple[str, ...]
    uid_map: Map = ()
    gid_map: Map = ()
    inside: bool = False
    cgroups: bool = True
    controllers: tuple[str, ...] = ()
    manager: str = ""
    runtime: str = ""  # XDG_RUNTIME_DIR of an ordinary user
    why: str = ""
    remedy: str = ""

    @property
    def hosts(self) -> str:
        """The folder where an ordinary user's network namespaces are found (see keeper.host)."""
        return f"{_user_folder(self.runtime, self.owner)}-hosts"

    @property
    def mark(self) -> str:
        """What a store keeps of this: with another mark, its files' owners mean something else.

        With one id and with no user namespace at all they mean the same.
        """
        if self.rung == "subids":
            return "subids " + " ".join(f"{outside}+{count}" for _, outside, count in self.uid_map)
        return "root" if self.rung == "root" else "single"

    def with_own_marks(self) -> Privilege:
        """Return the same with marks of our own, for a store that cannot have overlayfs's."""
        return self.replace(xattr=f"{self.xattr}tiffin.")

    @property
    def records_owners(self) -> bool:
        """Whether owners other than root are noted beside the files, which all belong to one user."""
        return self.rung in {"single", "none"}

    @property
    def owner(self) -> int:
        """Who this is to the host, which knows nothing of user namespaces."""
        return self.uid_map[0][1] if self.uid_map else 0

    def id_counts(self) -> tuple[int, int]:
        """Return how many user and group ids there are inside, 0 for all."""
        return sum(count for _, _, count in self.uid_map), sum(count for _, _, count in self.gid_map)


ROOT = Privilege(
    rung="root",
    xattr="trusted.",
    overlay_options=("index=off", "redirect_dir=off", "metacopy=off"),
)
_USER = Privilege(rung="none", xattr="user.", overlay_options=("userxattr",), cgroups=False)
_RUNGS = ("none", "single", "subids")
_HELPERS = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin")
_PROFILE = "runtime/tiffin.apparmor"
_ALL_IDS = 0xFFFFFFFF
_SYS_ADMIN = 21
_NEW_USER_AND_NONSENSE = 0x10000001
_SUBUID, _SUBGID = "/etc/subuid", "/etc/subgid"
_CGROUPS = "/sys/fs/cgroup"


def privilege(environment: Mapping[str, str] | None = None) -> Privilege:
    """Decide what this process may do: the one place where it is asked who runs this."""
    get = (os.environ if environment is None else environment).get
    found = _rung(get)
    if found.rung != "root":
        found = found.replace(runtime=get("XDG_RUNTIME_DIR") or "")
    return _with_manager(found)


def _with_manager(allowed: Privilege) -> Privilege:
    """Add the systemd that gives a cgroup of one's own, and to users with it the limits that it hands on.

    Only where cgroups are unified: in v1's trees nothing can be handed on safely.
    """
    home = allowed.runtime
    path = "/run/systemd/private" if allowed.rung == "root" else f"{home}/systemd/private" if home else ""
    if not path or not os.path.exists(path) or not os.path.exists(f"{_CGROUPS}/cgroup.controllers"):
        return allowed
    if allowed.rung == "root":
        return allowed.replace(manager=path)
    own = f"{_CGROUPS}/user.slice/user-{allowed.owner}.slice/user@{allowed.owner}.service"
    controllers = tuple(_first_line(f"{own}/cgroup.controllers").split())
    if allowed.rung == "none" or not controllers:
        return allowed
    return allowed.replace(manager=path, cgroups=True, controllers=controllers)


def _rung(get: Get) -> Privilege:
    """Decide the rung.

    What can be seen without trying is looked at; entering the namespace (keeper.userns) still may fail, and
    says why. TIFFIN_RUNG asks for a lower one.
    """
    if os.geteuid() == 0:
        uids = _current_map("/proc/self/uid_map")
        if not uids or uids[0][2] == _ALL_IDS:
            if _may_mount():
                return ROOT
            return _users(get)  # in a container, for example: no more than any user
        # The root of a user namespace that somebody has made: ours, or a container's.
        rung = "subids" if sum(count for _, _, count in uids) > 1 else "single"
        gids = _current_map("/proc/self/gid_map")
        return _USER.replace(rung=rung, uid_map=uids, gid_map=gids, inside=True, why="in a user namespace")
    return _users(get)


def _users(get: Get) -> Privilege:
    """Decide the rung of an ordinary user."""
    wanted = get("TIFFIN_RUNG") or "subids"
    if wanted not in _RUNGS:
        message = f"TIFFIN_RUNG is {wanted!r}"
        raise InvalidArgument(message, hint="an ordinary user's rungs are " + ", ".join(_RUNGS))
    uid, gid = os.geteuid(), os.getegid()
    reason = _no_namespaces() if wanted != "none" else ("TIFFIN_RUNG says so", "unset TIFFIN_RUNG")
    if reason:
        return _USER.replace(why=reason[0], remedy=reason[1])
    single = _USER.replace(rung="single", uid_map=((0, uid, 1),), gid_map=((0, gid, 1),))
    reason = _no_helpers() if wanted == "subids" else ("TIFFIN_RUNG says so", "unset TIFFIN_RUNG")
    if reason:
        return single.replace(why=reason[0], remedy=reason[1])
    name = user_name(uid)
    uids, gids = subordinate(_SUBUID, name, uid), subordinate(_SUBGID, name, uid, own=gid)
    if not uids or not gids:
        reason = _no_range(_SUBGID if uids else _SUBUID, name, uid)
        return single.replace(why=reason[0], remedy=reason[1])
    return _USER.replace(
        rung="subids",
        uid_map=((0, uid, 1), *uids),
        gid_map=((0, gid, 1), *gids),
        why="you are not root",
        remedy="sudo tiffin (with a store of its own)",
    )


def _current_map(path: str) -> Map:
    """Return the maps of the namespace that this process is in."""
    try:
        with open(path, "rb") as stream:
            rows = [tuple(map(int, line.split())) for line in stream]
    except OSError:
        return ()
    return tuple((inside, outside, count) for inside, outside, count in rows)


def _first_line(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.readline().decode().strip()
    except OSError:
        return ""


def _no_namespaces() -> tuple[str, str] | None:
    """Return why this host gives an ordinary user no user namespace, and what changes that."""
    for name, closed, opened in (
        ("user.max_user_namespaces", "0", "10000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
    ):
        if _first_line("/proc/sys/" + name.replace(".", "/")) == closed:
            return f"{name} is {closed}", f"sudo sysctl -w {name}={opened}"
    if "Seccomp:\t2" in _status() and _is_filtered():
        advice = "start this pod or container with a seccomp profile that allows unshare, or with none"
        return "a seccomp filter refuses them (as a pod's does by default)", advice
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if _first_line("/proc/sys/" + name.replace(".", "/")) != "1":
        return None
    # Confined by a profile we are probably allowed to: ours does nothing else.
    if _first_line("/proc/self/attr/apparmor/current") != "unconfined":
        return None
    profile, target = f"{os.path.dirname(os.path.abspath(__file__))}/{_PROFILE}", "/etc/apparmor.d/tiffin"
    return f"{name} is 1", f"sudo cp {profile} {target} && sudo apparmor_parser -r {target}"


def _status() -> str:
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _may_mount() -> bool:
    """Tell whether a process of root has root's power over mounts, which containers' do not have."""
    mask = _status().partition("\nCapEff:\t")[2].partition("\n")[0]
    return not mask or bool(int(mask, 16) >> _SYS_ADMIN & 1)


def _is_filtered() -> bool:
    """Ask for a user namespace in a way that the kernel refuses by EINVAL: a filter comes before it."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.unshare(_NEW_USER_AND_NONSENSE)) and ctypes.get_errno() != errno.EINVAL


def _no_helpers() -> tuple[str, str] | None:
    """Return why newuidmap and newgidmap cannot give this user ids, and what changes that."""
    for name in ("newuidmap", "newgidmap"):
        path = find_helper(name)
        if not path:
            return f"{name} is not installed", "sudo apt-get install uidmap"
        info = os.stat(path)
        if not (info.st_mode & 0o4000 and info.st_uid == 0) and not _has_capability(path):
            return f"{path} is not set-uid root", f"sudo chown root {path} && sudo chmod u+s {path}"
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return f"{path} lies on a file system mounted nosuid", "mount it without nosuid"
    if "\nNoNewPrivs:\t1" in _status():
        return "this process may not gain privileges (no_new_privs)", "start it without no_new_privs"
    return None


def _has_capability(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def find_helper(name: str) -> str:
    """Return the path of a program that gives ids, "" where there is none."""
    for folder in _HELPERS:
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""


def user_name(uid: int) -> str:
    """Return how a user is called, or the number of one that has no name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _no_range(file: str, name: str, uid: int) -> tuple[str, str]:
    """Return why a file gives a user no subordinate ids, and what changes that."""
    wrong = [text for text in _lines(file) if text.partition(":")[0] in {name, str(uid)}]
    if wrong:
        return f"{file} has no good line for {name}: {wrong[0]!r}", f"correct it: {name}:FIRST:COUNT"
    start = max(_end(_SUBUID), _end(_SUBGID))
    ids = f"{start}-{start + 65535}"
    remedy = f"sudo usermod --add-subuids {ids} --add-subgids {ids} {name}"
    if start + 65536 > _ALL_IDS:
        remedy = f"all ids are given away: take a range from somebody in {_SUBUID} and {_SUBGID}"
    return f"{file} gives {name} no range of ids", remedy


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return [line.strip() for line in stream]
    except OSError:
        return []


def _end(path: str) -> int:
    """Return the first id behind all ranges of a file."""
    rows = [line.split(":")[1:] for line in _lines(path)]
    return max([100_000, *(sum(map(int, r)) for r in rows if len(r) == 2 and all(w.isdigit() for w in r))])


def subordinate(path: str, name: str, uid: int, own: int = -1) -> Map:
    """Return the map of the ranges that a file gives a user, from 1 on; lines that are wrong give none.

    Neither does a range that overlaps another, or holds the user's `own` id: the kernel takes no such map.
    """
    taken = [(uid if own < 0 else own, 1)]
    found: list[tuple[int, int, int]] = []
    inside = 1
    for line in _lines(path):
        owner, _, numbers = line.partition(":")
        start, _, count = numbers.partition(":")
        if owner not in {name, str(uid)} or not (start.isdigit() and count.isdigit()):
            continue
        if int(start) < 1 or int(count) < 1 or int(start) + int(count) > _ALL_IDS:
            continue
        first, size = int(start), int(count)
        if any(first < other + length and other < first + size for other, length in taken):
            continue
        taken.append((first, size))
        found.append((inside, first, size))
        inside += size
    return tuple(found)


class RegistrySettings(Value):
    """How one registry is spoken to: `mirrors` are hosts asked before it, in this order.

    Without `tls_verify` its certificate is not looked at, and plain HTTP will do where it has none.
    """

    mirrors: tuple[str, ...] = ()
    tls_verify: bool = True


class Settings(Value):
    """Where things lie and how to behave; made by `from_environment` or by hand in tests."""

    root: str
    run: str
    privilege: Privilege
    runtime: str = ""  # an OCI runtime's name or path; "" = crun, else runc
    snapshotter: str = ""  # overlay or copy: how containers get their files; "" = what works for the store
    docker_config: str = ""  # the folder of docker's config.json
    durable: bool = True  # sync images to disk before saying "done"
    debug: bool = False
    offline: bool = False  # touch no network
    discard_blobs: bool = False  # keep no compressed copy of a layer that was pulled
    parallel_downloads: int = 4
    # What one archive (a layer, an ADD, a saved image) may hold before it is taken for an attack.
    max_entries: int = 2_000_000
    max_name_length: int = 4096
    max_unpacked_bytes: int = 1 << 40
    max_ratio: int = 10_000
    publish_address: str = ""  # where ports are published if no address is given; "" is everywhere
    proxies: Mapping[str, str] = EMPTY  # http, https, no -> value
    registries: Mapping[str, RegistrySettings] = EMPTY  # by HOST[:PORT], as in names of images
    logins: Mapping[str, Mapping[str, str]] = (
        EMPTY  # by domain: fields of a Credential, before docker_config's
    )
    environment: Mapping[str, str] = EMPTY  # for `-e NAME` and credential helpers

    @property
    def driver(self) -> str:
        """Docker's name of the snapshotter."""
        return "vfs" if self.snapshotter == "copy" else "overlay2"

    @staticmethod
    def from_environment(
        environment: Mapping[str, str] | None = None,
        *,
        root: str = "",
        run: str = "",
        debug: bool = False,
        offline: bool = False,
    ) -> Settings:
        """Read TIFFIN_ROOT, TIFFIN_RUN, DOCKER_CONFIG, proxies, ... and tiffin.toml.

        The arguments win over the environment, which wins over the file. Raises InvalidArgument for
        a file that cannot be understood.
        """
        get = (os.environ if environment is None else environment).get
        home = get("HOME") or "/"
        allowed = privilege(environment)
        superuser = allowed.rung == "root"
        named = get("TIFFIN_CONFIG") or ""
        path = named or _default_file(get, home, superuser=superuser)
        table = _read_file(path, required=bool(named))
        registries, proxies = _registries(path, table), _proxies(get, path, table)
        file = _scalars(path, table)
        data_home = get("XDG_DATA_HOME") or f"{home}/.local/share"
        default_root = "/var/lib/tiffin" if superuser else f"{data_home}/tiffin"
        default_run = "/run/tiffin" if superuser else _user_run(get, allowed)
        chosen_root = root or get("TIFFIN_ROOT") or file.get("root") or default_root
        chosen_run = run or get("TIFFIN_RUN") or file.get("run") or ""
        if not chosen_run:
            # A store of its own gets a run folder of its own, or two stores would share sockets.
            own = chosen_root != default_root
            chosen_run = _run_beside(chosen_root, default_run) if own else default_run
        return Settings(
            root=os.path.abspath(chosen_root),
            run=os.path.abspath(chosen_run),
            privilege=allowed,
            runtime=get("TIFFIN_RUNTIME") or file.get("runtime") or "",
            snapshotter=_snapshotter(get("TIFFIN_SNAPSHOTTER") or file.get("snapshotter") or ""),
            docker_config=get("DOCKER_CONFIG") or f"{home}/.docker",
            durable=_truth(get("TIFFIN_DURABLE") or file.get("durable") or "1"),
            debug=debug or get("TIFFIN_DEBUG", "") not in {"", "0"},
            offline=offline or _truth(get("TIFFIN_OFFLINE") or file.get("offline") or "0"),
            discard_blobs=_truth(get("TIFFIN_DISCARD_BLOBS") or file.get("discard_blobs") or "0"),
            parallel_downloads=_positive(file.get("parallel_downloads") or "4", "parallel_downloads"),
            publish_address=get("TIFFIN_PUBLISH_ADDRESS") or file.get("publish_address") or "",
            proxies=proxies,
            registries=registries,
            logins=EMPTY,
            **_limits(get, file),
            environment=environment if environment is not None else os.environ,
        )


def _user_run(get: Get, allowed: Privilege) -> str:
    """Return an ordinary user's run folder; the store checks that nobody else has made it."""
    uid = allowed.owner if allowed.inside else os.geteuid()
    return _user_folder(get("XDG_RUNTIME_DIR") or "", uid)


def _user_folder(runtime: str, uid: int) -> str:
    return f"{runtime}/tiffin" if runtime else f"/tmp/tiffin-run-{uid}"  # noqa: S108 - see above


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


_LIMITS = ("max_entries", "max_name_length", "max_ratio", "max_unpacked_bytes")
_KINDS = {
    "root": str,
    "run": str,
    "runtime": str,
    "snapshotter": str,
    "durable": bool,
    "offline": bool,
    "discard_blobs": bool,
    "parallel_downloads": int,
    "publish_address": str,
    **dict.fromkeys(_LIMITS, int),
}
SNAPSHOTTERS = ("overlay", "copy")
_TABLES = ("proxies", "registries")
_WORDS = {str: "a string", bool: "true or false", int: "a whole number"}


def _read_file(path: str, *, required: bool) -> dict[str, Any]:
    """Return the file's tables; nothing where the file may be missing and is."""
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
            return tomllib.load(stream)
        except (ValueError, OSError) as error:
            message = f"{path}: {error}"
            raise InvalidArgument(message, hint="it must be TOML") from error


def _scalars(path: str, table: dict[str, Any]) -> dict[str, str]:
    """Return the settings of one value each, as text; raise InvalidArgument for what is not known."""
    for key, value in table.items():
        if key not in _KINDS:
            message = f"{path}: unknown setting {key!r}"
            raise InvalidArgument(message, hint="known are " + ", ".join(sorted([*_KINDS, *_TABLES])))
        if type(value) is not _KINDS[key]:
            message = f"{path}: {key} must be {_WORDS[_KINDS[key]]}"
            raise InvalidArgument(message)
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in table.items()}


def _snapshotter(text: str) -> str:
    if text and text not in SNAPSHOTTERS:
        message = f"unknown snapshotter {text!r}"
        raise InvalidArgument(message, hint="known are " + ", ".join(SNAPSHOTTERS))
    return text


def _positive(text: str, name: str) -> int:
    if not text.isdigit() or int(text) < 1:
        message = f"{name} must be a whole number above 0, not {text!r}"
        raise InvalidArgument(message)
    return int(text)


def _limits(get: Get, file: Mapping[str, str]) -> dict[str, int]:
    """Return the limits that are set: TIFFIN_MAX_ENTRIES and so on, or by the same names in the file."""
    found = {}
    for name in _LIMITS:
        variable = f"TIFFIN_{name.upper()}"
        if text := get(variable):
            found[name] = _positive(text, variable)
        elif text := file.get(name, ""):
            found[name] = _positive(text, name)
    return found


def _truth(text: str) -> bool:
    return text not in {"0", "false", "no"}


def _registries(path: str, table: dict[str, Any]) -> Mapping[str, RegistrySettings]:
    """Take `[registries."HOST"]` out of the file's tables."""
    found = {}
    for host, said in _table(path, table, "registries").items():
        where = f'{path}: registries."{host}"'
        if not isinstance(said, dict):
            raise InvalidArgument(f"{where} must be a table")
        for key in said.keys() - {"mirrors", "tls_verify"}:
            message = f"{where}: unknown setting {key!r}"
            raise InvalidArgument(message, hint="known are mirrors, tls_verify")
        mirrors, verify = said.get("mirrors", []), said.get("tls_verify", True)
        if not isinstance(mirrors, list) or not all(isinstance(m, str) and m for m in mirrors):
            raise InvalidArgument(f"{where}: mirrors must be a list of HOST[:PORT]")
        if any("://" in mirror for mirror in mirrors):
            raise InvalidArgument(f"{where}: a mirror is written HOST[:PORT], without a scheme")
        if not isinstance(verify, bool):
            raise InvalidArgument(f"{where}: tls_verify must be true or false")
        found[host] = RegistrySettings(mirrors=tuple(mirrors), tls_verify=verify)
    return found or EMPTY


def _table(path: str, table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.pop(name, {})
    if not isinstance(found, dict):
        raise InvalidArgument(f"{path}: {name} must be a table")
    return found


def _proxies(get: Get, path: str, table: dict[str, Any]) -> Mapping[str, str]:
    """Return proxies from the environment and, where it says nothing, from `[proxies]` of the file."""
    said = _table(path, table, "proxies")
    kinds = ("http", "https", "no", "all")
    for key, value in said.items():
        if key not in kinds or not isinstance(value, str):
            message = f"{path}: proxies.{key} is no proxy"
            raise InvalidArgument(message, hint="known are all, http, https and no, each a string")
    found = {}
    for kind in kinds:
        value = get(f"{kind}_proxy") or get(f"{kind.upper()}_PROXY") or said.get(kind)
        if value:
            found[kind] = value
    return found or EMPTY
