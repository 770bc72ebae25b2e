"""The engine itself: what it is, what it needs, whether its store is whole, and who it is to registries."""

from __future__ import annotations

import os

import tiffin
from tiffin.errors import NotFound
from tiffin.settings import RegistrySettings
from tiffin.spec.value import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tiffin.engine.boot import Revived
    from tiffin.engine.df import DiskUsage
    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.engine.prune import Carried, Plan
    from tiffin.store.events import Event
    from tiffin.store.fsck import Finding

API_VERSION = "1.50"


class System:
    """Questions about one engine as a whole."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._store = engine.store

    def version(self) -> dict[str, Any]:
        """Return what `docker version` shows of a server, in the API's words."""
        from tiffin.spec.platform import Platform

        here = Platform.here()
        name, runtime_version = self._runtime()
        uname = os.uname()
        return {
            "Platform": {"Name": "Tiffin"},
            "Version": tiffin.__version__,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": "1.24",
            "Os": here.os,
            "Arch": here.architecture,
            "KernelVersion": uname.release,
            "Python": _python_version(),
            "Components": [
                {"Name": "Engine", "Version": tiffin.__version__, "Details": {}},
                {"Name": name, "Version": runtime_version, "Details": {}},
            ],
        }

    def runtime(self) -> str:
        """Return the path of what runs containers that name no runtime, "" where there is none."""
        from tiffin.runtime import oci

        settings = self._engine.settings
        try:
            return oci.find(settings.runtime, settings.environment.get("PATH", ""))
        except NotFound:
            return ""

    def _runtime(self) -> tuple[str, str]:
        from tiffin.runtime import oci

        path = self.runtime()
        return (oci.kind(path), _first_line(path)) if path else ("none", "")

    def info(self) -> dict[str, Any]:
        """Return what `docker info` shows, in the API's words, and tiffin's own facts beside it."""
        states = [self._store.containers.state(r.id).status for r in self._store.containers.list()]
        runtime, runtime_version = self._runtime()
        uname = os.uname()
        settings = self._engine.settings
        return {
            "ServerVersion": tiffin.__version__,
            "Containers": len(states),
            "ContainersRunning": states.count("running"),
            "ContainersPaused": states.count("paused"),
            "ContainersStopped": len(states) - states.count("running") - states.count("paused"),
            "Images": len(self._store.images.list()),
            "Driver": settings.driver,
            "LoggingDriver": "json-file",
            "LoggingBounds": "100MB x 3 (--log-opt max-size=-1 lifts it)",
            "CgroupVersion": _cgroup_version(),
            "DefaultRuntime": runtime,
            "RuntimeVersion": runtime_version,
            "KernelVersion": uname.release,
            "OperatingSystem": _os_name(),
            "OSType": "linux",
            "Architecture": uname.machine,
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "Name": uname.nodename,
            "DockerRootDir": settings.root,
            "RunDir": settings.run,
            "Rung": settings.privilege.rung,
            "RungReason": settings.privilege.why,
            "RungRemedy": settings.privilege.remedy,
            "Durable": settings.durable,
            "Offline": settings.offline,
            "DiscardBlobs": settings.discard_blobs,
            "HttpProxy": _without_password(settings.proxies.get("http", "")),
            "HttpsProxy": _without_password(settings.proxies.get("https", "")),
            "NoProxy": settings.proxies.get("no", ""),
            "RegistryConfig": {
                "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
                "IndexConfigs": {
                    host: _index_config(host, said) for host, said in settings.registries.items()
                },
                "Mirrors": list(settings.registries.get("docker.io", RegistrySettings()).mirrors),
            },
            "MaxEntries": settings.max_entries,
            "MaxNameLength": settings.max_name_length,
            "MaxRatio": settings.max_ratio,
            "MaxUnpackedBytes": settings.max_unpacked_bytes,
            "Warnings": self._warnings(runtime),
        }

    def _warnings(self, runtime: str) -> list[str]:
        warnings = []
        if runtime == "none":
            warnings.append("no OCI runtime: containers cannot run (install crun)")
        cached = getattr(tiffin, "__cached__", None)
        if not cached or not os.path.exists(cached):
            warnings.append("tiffin's modules are not compiled: every start is slower (python -m compileall)")
        return warnings

    def events(
        self, *, since: str = "", until: str = "", filters: Filters = EMPTY, gone: int = -1
    ) -> Iterator[Event]:
        """Yield what happens from now on, or from `since` to `until` (moments, or durations before now).

        Ends at once when the other side of the socket `gone` has left.
        """
        from tiffin.engine.happenings import follow

        return follow(self._engine, since=since, until=until, filters=filters, gone=gone)

    def start(self) -> Iterator[Revived]:
        """Start what its restart policy wants after a boot, one after the other; yield how it went."""
        from tiffin.engine.boot import start

        return start(self._engine)

    def fsck(self, *, repair: bool = False) -> Sequence[Finding]:
        """Find what does not belong in the store, and put it right with `repair`."""
        if self._engine.outside():
            return self._engine.inside("system.fsck", repair=repair)  # type: ignore[no-any-return]
        from tiffin.store import fsck

        return fsck.check(self._store, repair=repair)

    def plan_prune_build_cache(
        self, *, all: bool = False, filters: Filters = EMPTY, keep_bytes: int = 0
    ) -> Plan:
        """Return which build steps' results a prune would forget: those no image has, or `all`.

        With `keep_bytes` the longest unused go until the cache is no larger than that.
        """
        if self._engine.outside():
            words = {"all": all, "filters": filters, "keep_bytes": keep_bytes}
            return self._engine.inside("system.plan_prune_build_cache", **words)  # type: ignore[no-any-return]
        from tiffin.engine.prune import Planner

        planner = Planner(self._engine)
        planner.steps(every=all, filters=filters, keep=keep_bytes)
        return planner.plan()

    def prune_build_cache(
        self,
        *,
        all: bool = False,
        filters: Filters = EMPTY,
        keep_bytes: int = 0,
        plan: Plan | None = None,
    ) -> int:
        """Forget results of build steps (or those of a plan, unless used since); return bytes freed."""
        return self.prune(
            plan or self.plan_prune_build_cache(all=all, filters=filters, keep_bytes=keep_bytes)
        ).reclaimed

    def plan_prune(self, *, all: bool = False, volumes: bool = False, filters: Filters = EMPTY) -> Plan:
        """Return what a prune of everything would remove: containers, `volumes`, images, build cache."""
        if self._engine.outside():
            return self._engine.inside("system.plan_prune", all=all, volumes=volumes, filters=filters)  # type: ignore[no-any-return]
        from tiffin.engine.prune import system

        return system(self._engine, every=all, volumes=volumes, filters=filters)

    def prune(self, plan: Plan) -> Carried:
        """Remove what a plan of any kind lists, less what came into use since it was made."""
        if self._engine.outside():
            return self._engine.inside("system.prune", plan)  # type: ignore[no-any-return]
        from tiffin.engine.prune import carry_out

        return carry_out(self._engine, plan)

    def df(self) -> DiskUsage:
        """Return what takes how much of the disk, and how much of it could go."""
        if self._engine.outside():
            return self._engine.inside("system.df")  # type: ignore[no-any-return]
        from tiffin.engine.df import disk_usage

        return disk_usage(self._engine)

    def login(self, server: str, username: str, password: str) -> str:
        """Check credentials with a registry and keep them; return where they are kept.

        Raises Unauthorized if the registry does not accept them.
        """
        from tiffin.registry.client import login

        return login(server, username, password, self._engine.settings)

    def check_login(self, server: str, username: str, password: str) -> str:
        """Check credentials with a registry, keep nothing; return its identity token, if it gives one."""
        from tiffin.registry import address, client
        from tiffin.registry.credentials import Credential

        credential = Credential(username=username, password=password)
        return client.check_login(address.domain_of(server), credential, self._engine.settings).identity_token

    def logout(self, server: str) -> bool:
        """Forget a registry's credentials; tell whether there were any."""
        from tiffin.registry.credentials import Credentials

        return Credentials(self._engine.settings).erase(server)


def _first_line(program: str) -> str:
    """Return the first line of what `PROGRAM --version` prints."""
    import subprocess

    try:
        done = subprocess.run([program, "--version"], capture_output=True, check=False, text=True)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0]


def _python_version() -> str:
    import sys

    return sys.version.split()[0]


def _cgroup_version() -> str:
    return "2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1"


def _os_name() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            for line in stream:
                key, _, value = line.strip().partition("=")
                if key == "PRETTY_NAME":
                    return value.strip('"')
    except OSError:
        pass
    return "Linux"


def _index_config(host: str, said: RegistrySettings) -> dict[str, Any]:
    """Return docker's words for the settings of one registry."""
    return {
        "Name": host,
        "Mirrors": list(said.mirrors),
        "Secure": said.tls_verify,
        "Official": host == "docker.io",
    }


def _without_password(proxy: str) -> str:
    scheme, separator, rest = proxy.rpartition("://")
    login, at, host = rest.rpartition("@")
    return f"{scheme}{separator}xxxxx:xxxxx@{host}" if at and login else proxy
