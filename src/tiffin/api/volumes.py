"""The volumes of the API."""

from __future__ import annotations

from tiffin.api import answers
from tiffin.api.router import Operation
from tiffin.errors import NotFound, Unavailable
from tiffin.spec.members import mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.api.call import Call
    from tiffin.http.message import Response
    from tiffin.store.volumes import VolumeRecord


def shown(record: VolumeRecord) -> dict[str, Any]:
    """Return docker's JSON of a volume."""
    return {
        "CreatedAt": record.created,
        "Driver": "local",
        "Labels": dict(record.labels) or None,
        "Mountpoint": record.path,
        "Name": record.name,
        "Options": dict(record.options) or None,
        "Scope": "local",
    }


def listed(call: Call) -> Response:
    """GET /volumes."""
    found = call.engine.volumes.list(filters=call.filters())
    return answers.document({"Volumes": [shown(record) for record in found], "Warnings": None})


def create(call: Call) -> Response:
    """POST /volumes/create."""
    body = call.body()
    driver = str(body.get("Driver") or "local")
    if driver != "local":
        raise NotFound(f'plugin "{driver}" not found')
    made = call.engine.volumes.create(
        str(body.get("Name") or ""),
        labels=mapping(body.get("Labels")),
        options=mapping(body.get("DriverOpts")),
    )
    return answers.document(shown(made), 201)


def inspect(call: Call) -> Response:
    """GET /volumes/NAME."""
    try:
        return answers.document(shown(call.engine.volumes.get(call.name)))
    except NotFound as error:
        raise NotFound(f"get {call.name}: no such volume") from error


def remove(call: Call) -> Response:
    """DELETE /volumes/NAME."""
    try:
        call.engine.volumes.remove(call.name)
    except NotFound as error:
        if not call.flag("force"):
            raise NotFound(f"get {call.name}: no such volume") from error
    return answers.nothing()


def update(_call: Call) -> Response:
    """PUT /volumes/NAME: of cluster volumes, which there are none of."""
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
        "to connect this node to swarm and try again."
    )


def prune(call: Call) -> Response:
    """POST /volumes/prune: anonymous ones; before 1.42 all that no container has."""
    filters = call.filters()
    every = not call.since((1, 42)) or any(v.lower() in {"1", "true"} for v in filters.pop("all", []))
    done = call.engine.volumes.prune(all=every, filters=filters)
    return answers.document({"VolumesDeleted": list(done.removed), "SpaceReclaimed": done.reclaimed})


OPERATIONS = (
    Operation(method="GET", path="/volumes", act=listed),
    Operation(method="POST", path="/volumes/create", act=create),
    Operation(method="POST", path="/volumes/prune", act=prune),
    Operation(method="GET", path="/volumes/{name}", act=inspect),
    Operation(method="PUT", path="/volumes/{name}", act=update),
    Operation(method="DELETE", path="/volumes/{name}", act=remove),
)
