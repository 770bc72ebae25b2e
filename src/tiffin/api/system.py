"""The engine as a whole: ping, version, info, disk use, events, credentials."""

from __future__ import annotations

import os
import time

from tiffin.api import answers
from tiffin.api.router import Operation
from tiffin.errors import InvalidArgument
from tiffin.http.message import Response
from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.api.call import Call

_CACHES = (("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"))
_DETAILS = (
    *("ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion"),
    *("GitCommit", "GoVersion", "BuildTime"),
)
_KINDS = frozenset({"container", "image", "volume", "build-cache"})


def ping(call: Call) -> Response:
    """GET and HEAD /_ping."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    headers = (kind, ("Builder-Version", "1"), ("Swarm", "inactive"), *_CACHES)
    return Response(status=200, headers=headers, body=b"OK" if call.request.method == "GET" else b"")


def version(call: Call) -> Response:
    """GET /version."""
    shown = call.engine.system.version()
    shown |= {"GitCommit": "", "GoVersion": f"Python {shown.pop('Python')}", "BuildTime": ""}
    for component in shown["Components"]:
        if component["Name"] == "Engine":
            component["Details"] = {name: shown[name] for name in _DETAILS} | {"Experimental": "false"}
    return answers.document(shown)


def info(call: Call) -> Response:
    """GET /info."""
    said = call.engine.system.info()
    runtime = said["DefaultRuntime"]
    networks = sorted({"bridge", "host", "none"} & {n.driver for n in call.engine.networks.list()} | {"null"})
    shown: dict[str, Any] = {
        "ID": "",
        "SystemTime": clock.now(),
        "DriverStatus": [],
        "Plugins": {
            "Volume": ["local"],
            "Network": networks,
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        "CgroupDriver": "cgroupfs",
        "OSVersion": "",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "GenericResources": None,
        "Labels": [],
        "ExperimentalBuild": False,
        "Runtimes": {runtime: {"path": runtime}},
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False},
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "MemoryLimit": True,
        "SwapLimit": True,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": True,
        "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")),
        "NGoroutines": 0,
        "NEventsListener": 0,
    }
    return answers.document(shown | said)


def disk_usage(call: Call) -> Response:
    """GET /system/df."""
    from tiffin.api import images, volumes

    wanted = set(call.request.parameters("type")) or _KINDS
    if wanted - _KINDS:
        raise InvalidArgument(f"unknown object type: {min(wanted - _KINDS)}")
    usage = call.engine.system.df()
    shown: dict[str, Any] = {}
    if "image" in wanted:
        rows = {row.type: row for row in usage.rows}
        shown["LayersSize"] = rows["Images"].size
        shown["Images"] = [
            images.summary(one.view, version=call.version)
            | {"SharedSize": one.size - one.unique, "Containers": one.containers}
            for one in usage.images
        ]
    if "container" in wanted:
        from tiffin.api.containers import summary

        shown["Containers"] = [summary(call, view) for view in usage.containers]
    if "volume" in wanted:
        records = {record.name: record for record in call.engine.volumes.list()}
        shown["Volumes"] = [
            volumes.shown(records[one.name]) | {"UsageData": {"Size": one.size, "RefCount": one.links}}
            for one in usage.volumes
            if one.name in records
        ]
    if "build-cache" in wanted:
        shown["BuildCache"] = [
            {
                "ID": step.id,
                "Type": step.kind,
                "Description": "",
                "InUse": False,
                "Shared": step.shared,
                "Size": step.size,
                "CreatedAt": clock.from_ns(step.created),
                "LastUsedAt": clock.from_ns(step.last_used) if step.last_used else None,
                "UsageCount": step.uses,
            }
            for step in usage.steps
        ]
    return answers.document(shown)


def events(call: Call) -> Response:
    """GET /events."""
    since, until = call.text("since"), call.text("until")
    if since and until and _later(since, until):
        raise InvalidArgument("`since` time cannot be after `until` time")
    found = call.engine.system.events(
        since=since, until=until, filters=call.filters(), gone=call.request.gone
    )
    return answers.documents(event.to_json() for event in found)


def _later(since: str, until: str) -> bool:
    from tiffin.engine.filters import moment

    now = time.time_ns()
    return moment(since, now) > moment(until, now)


def auth(call: Call) -> Response:
    """POST /auth: try credentials with their registry; they are kept by the client."""
    body = call.body()
    server = str(body.get("serveraddress") or "docker.io")
    username, password = (str(body.get(member) or "") for member in ("username", "password"))
    token = call.engine.system.check_login(server, username, password)
    return answers.document({"Status": "Login Succeeded", "IdentityToken": token})


def session(_call: Call) -> Response:
    """POST /session and /grpc, of BuildKit's protocol, which is not spoken here."""
    from tiffin.errors import NotFound

    raise NotFound("page not found", hint="docker build needs DOCKER_BUILDKIT=0 here")


OPERATIONS = (
    Operation(method="GET", path="/_ping", act=ping),
    Operation(method="HEAD", path="/_ping", act=ping),
    Operation(method="GET", path="/version", act=version),
    Operation(method="GET", path="/info", act=info),
    Operation(method="GET", path="/system/df", act=disk_usage),
    Operation(method="GET", path="/events", act=events),
    Operation(method="POST", path="/auth", act=auth),
    Operation(method="POST", path="/session", act=session),
    Operation(method="POST", path="/grpc", act=session),
)
