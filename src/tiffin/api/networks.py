"""The networks of the API."""

from __future__ import annotations

from tiffin.api import answers
from tiffin.api.router import Operation
from tiffin.errors import InvalidArgument
from tiffin.spec.members import a_list, an_object, mapping
from tiffin.spec.network import EndpointConfig, Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.api.call import Call
    from tiffin.http.message import Response


def listed(call: Call) -> Response:
    """GET /networks: as inspected, but without the containers on them."""
    found = [call.engine.networks.inspect(n.id) for n in call.engine.networks.list(filters=call.filters())]
    return answers.document([network | {"Containers": {}} for network in found])


def inspect(call: Call) -> Response:
    """GET /networks/NAME."""
    return answers.document(call.engine.networks.inspect(call.name))


def create(call: Call) -> Response:
    """POST /networks/create."""
    body = call.body()
    name = str(body.get("Name") or "")
    if not name:
        raise InvalidArgument("network name cannot be blank")
    ipam = an_object(body.get("IPAM"))
    ipv4 = body.get("EnableIPv4")
    made = call.engine.networks.create(
        name,
        driver=str(body.get("Driver") or "bridge"),
        pools=tuple(Pool.from_json(an_object(pool)) for pool in a_list(ipam.get("Config"))),
        internal=bool(body.get("Internal")),
        attachable=bool(body.get("Attachable")),
        ipv4=True if ipv4 is None else bool(ipv4),
        ipv6=bool(body.get("EnableIPv6")),
        options=mapping(body.get("Options")),
        labels=mapping(body.get("Labels")),
        only_config=bool(body.get("ConfigOnly")),
        from_config=str(an_object(body.get("ConfigFrom")).get("Network") or ""),
    )
    return answers.document({"Id": made.id, "Warning": ""}, 201)


def remove(call: Call) -> Response:
    """DELETE /networks/NAME."""
    call.engine.networks.remove(call.name)
    return answers.nothing()


def connect(call: Call) -> Response:
    """POST /networks/NAME/connect."""
    body = call.body()
    wanted = EndpointConfig.from_json(an_object(body.get("EndpointConfig")))
    call.engine.networks.connect(call.name, str(body.get("Container") or ""), wanted)
    return answers.nothing(200)


def disconnect(call: Call) -> Response:
    """POST /networks/NAME/disconnect."""
    body = call.body()
    container, force = str(body.get("Container") or ""), bool(body.get("Force"))
    call.engine.networks.disconnect(call.name, container, force=force)
    return answers.nothing(200)


def prune(call: Call) -> Response:
    """POST /networks/prune."""
    done = call.engine.networks.prune(filters=call.filters())
    return answers.document({"NetworksDeleted": list(done.removed) or None})


OPERATIONS = (
    Operation(method="GET", path="/networks", act=listed),
    Operation(method="POST", path="/networks/create", act=create),
    Operation(method="POST", path="/networks/prune", act=prune),
    Operation(method="GET", path="/networks/{name}", act=inspect),
    Operation(method="DELETE", path="/networks/{name}", act=remove),
    Operation(method="POST", path="/networks/{name}/connect", act=connect),
    Operation(method="POST", path="/networks/{name}/disconnect", act=disconnect),
)
