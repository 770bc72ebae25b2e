"""The containers of the API: list, make, look, start, stop, change, remove, copy."""

from __future__ import annotations

import base64

from tiffin.api import answers
from tiffin.api.router import Operation
from tiffin.errors import InvalidArgument, NotFound, StartFailed, TiffinError
from tiffin.http.message import Response
from tiffin.spec import clock, jsontext, lapse
from tiffin.spec.container import ContainerConfig, HostConfig, RestartPolicy
from tiffin.spec.members import an_object
from tiffin.spec.network import EndpointConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from tiffin.api.call import Call
    from tiffin.engine.copy import Outgoing
    from tiffin.engine.stats import Stats
    from tiffin.engine.views import ContainerView
    from tiffin.http.message import Body

_TAR = (("Content-Type", "application/x-tar"),)
_KINDS = {"C": 0, "A": 1, "D": 2}
_CHUNK = 1 << 18


def listed(call: Call) -> Response:
    """GET /containers/json."""
    views = call.engine.containers.list(
        all=call.flag("all"),
        filters=call.filters(),
        last=max(call.number("limit"), 0),
        size=call.flag("size"),
    )
    return answers.document([summary(call, view) for view in views])


def summary(call: Call, view: ContainerView) -> dict[str, Any]:
    """Return docker's JSON of a container in a list."""
    command = " ".join(f"'{word}'" if " " in word else word for word in view.command)
    shown = {
        "Id": view.id,
        "Names": [f"/{view.name}"],
        "Image": view.image,
        "ImageID": view.image_id,
        "Command": command,
        "Created": clock.to_ns(view.created) // 1_000_000_000,
        "Ports": [
            {"IP": ip, "PrivatePort": private, "PublicPort": public, "Type": protocol}
            for ip, public, protocol, private in view.ports
        ],
        "Labels": dict(view.labels),
        "State": view.state.status,
        "Status": lapse.status(view.state),
        "HostConfig": {"NetworkMode": view.networks[0] if view.networks else "default"},
        "NetworkSettings": {"Networks": _networks(call, view)},
        "Mounts": [mount.inspect() for mount in view.mounts],
    }
    if view.size_rw >= 0:
        shown |= {"SizeRw": view.size_rw, "SizeRootFs": view.size_root}
    return shown


def _networks(call: Call, view: ContainerView) -> dict[str, Any]:
    try:
        settings = call.engine.containers.inspect(view.id)["NetworkSettings"]
    except NotFound:
        return {}  # removed since it was listed
    return dict(settings["Networks"])


def create(call: Call) -> Response:
    """POST /containers/create."""
    body = call.body()
    config = ContainerConfig.from_json(body)
    host = HostConfig.from_json(an_object(body.get("HostConfig")))
    if not config.image:
        raise InvalidArgument("no image specified: the container's config needs an Image")
    wanted = an_object(an_object(body.get("NetworkingConfig")).get("EndpointsConfig"))
    networks = {name: EndpointConfig.from_json(an_object(one)) for name, one in wanted.items()}
    if host.network_mode == "default" and len(networks) == 1:
        host = host.replace(network_mode=next(iter(networks)))
    mac = body.get("MacAddress")
    if mac and not any(endpoint.mac for endpoint in networks.values()):
        first = networks.get(host.network_mode, EndpointConfig())
        networks[host.network_mode] = first.replace(mac=str(mac))
    made = call.engine.containers.create(
        config,
        host,
        name=call.text("name").removeprefix("/"),
        platform=call.text("platform"),
        pull="never",
        networks=networks,
    )
    return answers.document({"Id": made.id, "Warnings": list(made.warnings)}, 201)


def inspect(call: Call) -> Response:
    """GET /containers/NAME/json."""
    shown = call.engine.containers.inspect(call.name, size=call.flag("size"))
    return answers.document(shown)


def start(call: Call) -> Response:
    """POST /containers/NAME/start."""
    call.body(needed=False)
    record = call.engine.containers.get(call.name)
    try:
        call.desk.start(record.id)
    except StartFailed as error:
        if record.host.auto_remove:
            _cleaned(call, record.id)
        if error.exit_code == 125:
            return answers.document({"message": error.message}, 500)
        raise
    return answers.nothing()


def _cleaned(call: Call, container: str) -> None:
    try:
        call.engine.containers.cleanup(container)
    except NotFound:
        return  # somebody was faster


def stop(call: Call) -> Response:
    """POST /containers/NAME/stop."""
    call.engine.containers.stop(call.name, timeout=_seconds(call), signal=call.text("signal"))
    return answers.nothing()


def restart(call: Call) -> Response:
    """POST /containers/NAME/restart."""
    call.engine.containers.restart(call.name, timeout=_seconds(call), signal=call.text("signal"))
    return answers.nothing()


def _seconds(call: Call) -> int | None:
    return call.number("t") if call.text("t") else None


def kill(call: Call) -> Response:
    """POST /containers/NAME/kill."""
    call.engine.containers.kill(call.name, call.text("signal") or "KILL")
    return answers.nothing()


def pause(call: Call) -> Response:
    """POST /containers/NAME/pause."""
    call.engine.containers.pause(call.name)
    return answers.nothing()


def unpause(call: Call) -> Response:
    """POST /containers/NAME/unpause."""
    call.engine.containers.unpause(call.name)
    return answers.nothing()


def rename(call: Call) -> Response:
    """POST /containers/NAME/rename."""
    call.engine.containers.rename(call.name, call.text("name"))
    return answers.nothing()


def resize(call: Call) -> Response:
    """POST /containers/NAME/resize."""
    record = call.engine.containers.get(call.name)
    call.desk.resize(record.id, call.number("h"), call.number("w"))
    return answers.nothing(200)


def update(call: Call) -> Response:
    """POST /containers/NAME/update."""
    body = call.body()
    given = HostConfig.from_json(body)
    fresh = HostConfig()
    changes: dict[str, Any] = {
        name: getattr(given, name) for name in given.as_dict() if getattr(given, name) != getattr(fresh, name)
    }
    if isinstance(body.get("RestartPolicy"), dict) and body["RestartPolicy"].get("Name"):
        changes["restart_policy"] = RestartPolicy.from_json(body["RestartPolicy"])
    warnings = call.engine.containers.update(call.name, **changes)
    return answers.document({"Warnings": list(warnings)})


def remove(call: Call) -> Response:
    """DELETE /containers/NAME."""
    if call.flag("link"):
        raise InvalidArgument("links between containers are not made here: there is none to remove")
    call.engine.containers.remove(call.name, force=call.flag("force"), volumes=call.flag("v"))
    return answers.nothing()


def prune(call: Call) -> Response:
    """POST /containers/prune."""
    done = call.engine.containers.prune(filters=call.filters())
    return answers.document(
        {"ContainersDeleted": list(done.removed) or None, "SpaceReclaimed": done.reclaimed}
    )


def wait(call: Call) -> Response:
    """POST /containers/NAME/wait: the head of the answer at once, the exit code when it is known."""
    condition = call.text("condition") or "not-running"
    ending = call.engine.containers.ending(call.name, condition=condition, gone=call.request.gone)

    def told() -> Iterator[bytes]:
        try:
            yield jsontext.dumps_bytes({"StatusCode": ending()}) + b"\n"
        except TiffinError as error:
            said = {"StatusCode": -1, "Error": {"Message": error.message}}
            yield jsontext.dumps_bytes(said) + b"\n"

    return Response(status=200, headers=(("Content-Type", "application/json"),), body=told())


def top(call: Call) -> Response:
    """GET /containers/NAME/top."""
    table = call.engine.containers.top(call.name, call.text("ps_args").split())
    return answers.document({"Titles": list(table.titles), "Processes": [list(row) for row in table.rows]})


def changes(call: Call) -> Response:
    """GET /containers/NAME/changes."""
    found = [{"Path": one.path, "Kind": _KINDS[one.kind]} for one in call.engine.containers.diff(call.name)]
    return answers.document(found or None)


def stats(call: Call) -> Response:
    """GET /containers/NAME/stats."""
    record = call.engine.containers.get(call.name)
    watched = call.engine.containers.stats(record.id, all=True, gone=call.request.gone)
    if call.flag("stream", default=True):
        return answers.documents(_samples(watched))
    for sample in _samples(watched):
        return answers.document(sample)
    raise NotFound(f"No such container: {call.name}")


def _samples(watched: Iterator[Any]) -> Iterator[dict[str, Any]]:
    before: dict[str, Any] = {}
    for found in watched:
        for one in found:
            sample = _sample(one)
            yield sample | {"precpu_stats": before or sample["cpu_stats"], "preread": sample["read"]}
            before = sample["cpu_stats"]


def _sample(one: Stats) -> dict[str, Any]:
    import os
    import time

    usage = one.usage
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as stream:
        system = sum(map(int, stream.readline().split()[1:9])) * (1_000_000_000 // ticks)
    memory: dict[str, Any] = {"usage": usage.memory, "limit": one.memory_limit, "stats": {}}
    return {
        "id": one.id,
        "name": f"/{one.name}",
        "read": clock.from_ns(time.time_ns()),
        "num_procs": 0,
        "pids_stats": {"current": usage.processes} if one.running else {},
        "cpu_stats": {
            "cpu_usage": {"total_usage": usage.cpu, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "system_cpu_usage": system,
            "online_cpus": os.cpu_count() or 1,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        },
        "memory_stats": memory if one.running else {},
        "networks": {"eth0": {"rx_bytes": one.network_received, "tx_bytes": one.network_sent}},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 0, "minor": 0, "op": "read", "value": usage.bytes_read},
                {"major": 0, "minor": 0, "op": "write", "value": usage.bytes_written},
            ]
        },
    }


def export(call: Call) -> Response:
    """GET /containers/NAME/export."""
    from tiffin.api.pipes import written

    record = call.engine.containers.get(call.name)
    return Response(
        status=200, headers=_TAR, body=written(lambda out: call.engine.containers.export(record.id, out))
    )


# --- archives -------------------------------------------------------------------------------------


def look(call: Call) -> Response:
    """HEAD /containers/NAME/archive."""
    stat = call.engine.containers.stat_path(call.name, _path(call))
    return Response(status=200, headers=(("X-Docker-Container-Path-Stat", _packed(stat.to_json())),))


def take(call: Call) -> Response:
    """GET /containers/NAME/archive."""
    outgoing = call.engine.containers.copy_out(call.name, _path(call))
    headers = (*_TAR, ("X-Docker-Container-Path-Stat", _packed(outgoing.stat.to_json())))
    return Response(status=200, headers=headers, body=_archive(outgoing))


def _archive(outgoing: Outgoing) -> Iterator[bytes]:
    with outgoing:
        while data := outgoing.read():
            yield data
        outgoing.finish()


def put(call: Call) -> Response:
    """PUT /containers/NAME/archive."""
    stream: BinaryIO = Incoming(call.request.body)  # type: ignore[assignment]
    call.engine.containers.copy_into(call.name, _path(call), stream)
    return answers.nothing(200)


class Incoming:
    """A request's body as a stream that is read once."""

    def __init__(self, body: Body) -> None:
        """Read from a body."""
        self._body = body

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes (all, if it is negative), b"" at the end."""
        if size >= 0:
            return self._body.read(min(size, _CHUNK)) if size else b""
        return b"".join(iter(self._body.read, b""))


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    return path


def _packed(value: dict[str, Any]) -> str:
    return base64.b64encode(jsontext.dumps_bytes(value)).decode("ascii")


OPERATIONS = (
    Operation(method="GET", path="/containers/json", act=listed),
    Operation(method="POST", path="/containers/create", act=create),
    Operation(method="POST", path="/containers/prune", act=prune),
    Operation(method="GET", path="/containers/{name}/json", act=inspect),
    Operation(method="POST", path="/containers/{name}/start", act=start),
    Operation(method="POST", path="/containers/{name}/stop", act=stop),
    Operation(method="POST", path="/containers/{name}/restart", act=restart),
    Operation(method="POST", path="/containers/{name}/kill", act=kill),
    Operation(method="POST", path="/containers/{name}/pause", act=pause),
    Operation(method="POST", path="/containers/{name}/unpause", act=unpause),
    Operation(method="POST", path="/containers/{name}/rename", act=rename),
    Operation(method="POST", path="/containers/{name}/resize", act=resize),
    Operation(method="POST", path="/containers/{name}/update", act=update),
    Operation(method="POST", path="/containers/{name}/wait", act=wait),
    Operation(method="GET", path="/containers/{name}/top", act=top),
    Operation(method="GET", path="/containers/{name}/changes", act=changes),
    Operation(method="GET", path="/containers/{name}/stats", act=stats),
    Operation(method="GET", path="/containers/{name}/export", act=export),
    Operation(method="HEAD", path="/containers/{name}/archive", act=look),
    Operation(method="GET", path="/containers/{name}/archive", act=take),
    Operation(method="PUT", path="/containers/{name}/archive", act=put),
    Operation(method="DELETE", path="/containers/{name}", act=remove),
)
