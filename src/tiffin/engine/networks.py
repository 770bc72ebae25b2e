"""The verbs of networks: make, look at, remove; connect and disconnect containers."""

from __future__ import annotations

from tiffin.engine import wiring
from tiffin.errors import Conflict, Forbidden, InvalidArgument, NotFound
from tiffin.network import link, living
from tiffin.network.plan import Place
from tiffin.spec.network import EndpointConfig
from tiffin.spec.value import EMPTY, Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tiffin.engine.egress import Attempt
    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.engine.prune import Plan
    from tiffin.spec.network import Pool
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.networks import NetworkRecord

_NO_WISH = EndpointConfig()


class NetworksPruned(Value):
    """What a prune removed (names)."""

    removed: tuple[str, ...]


class Networks:
    """Networks of one engine. Names are names, ids, or unique prefixes of ids everywhere."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._store = engine.store
        self._place = Place(folder=self._store.layout.networks, table=self._store.layout.rules)

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        pools: Sequence[Pool] = (),
        internal: bool = False,
        attachable: bool = False,
        ipv4: bool = True,
        ipv6: bool = False,
        options: Mapping[str, str] = EMPTY,
        labels: Mapping[str, str] = EMPTY,
        only_config: bool = False,
        from_config: str = "",
    ) -> NetworkRecord:
        """Make a network; nothing of it is on the host before its first container starts.

        A pool without a subnet, or none at all, gets one that nothing else has. Raises Conflict (name,
        subnet), InvalidArgument, Unavailable (no subnet is free), Unsupported.
        """
        from tiffin.engine.network_plan import planned

        record = planned(
            self._engine,
            name,
            driver=driver,
            pools=pools,
            internal=internal,
            attachable=attachable,
            ipv4=ipv4,
            ipv6=ipv6,
            options=options,
            labels=labels,
            only_config=only_config,
            from_config=from_config,
        )
        record = self._store.networks.create(record)
        self._tell("create", record)
        return record

    def get(self, name: str) -> NetworkRecord:
        """Return one; raises NotFound."""
        return self._store.networks.resolve(name)

    def list(self, *, filters: Filters = EMPTY) -> tuple[NetworkRecord, ...]:
        """Return networks by name."""
        from tiffin.engine import network_views

        return network_views.filtered(self._engine, self._store.networks.list(), filters)

    def inspect(self, name: str) -> dict[str, Any]:
        """Return docker's JSON of a network, with the containers that run on it."""
        from tiffin.engine import network_views

        record = self.get(name)
        return network_views.inspect(self._store, record, living.read(self._place, record.id))

    def remove(self, name: str) -> None:
        """Remove one; raises Forbidden where containers run on it, or for one that every store has."""
        record = self.get(name)
        if record.predefined:
            message = f"{record.name} is a pre-defined network and cannot be removed"
            raise Forbidden(message)
        active = self.active(record)
        if active:
            listed = ", ".join(f'name:"{self._name(i)}" id:"{i[:12]}"' for i in active)
            message = f"error while removing network: network {record.name} has active endpoints ({listed})"
            raise Forbidden(message, hint="stop these containers, or disconnect them, first")
        self._store.networks.remove(record.id)
        self.settle()
        self._tell("destroy", record)

    def active(self, record: NetworkRecord) -> tuple[str, ...]:
        """Return the ids of the containers that run on a network."""
        facts = living.read(self._place, record.id) or {"leases": {}}
        return tuple(i for i, lease in facts["leases"].items() if atomic.owner_lives(lease["owner"]))

    def _name(self, container_id: str) -> str:
        try:
            return self._store.containers.get(container_id).name
        except NotFound:
            return ""  # a build's step

    def settle(self) -> None:
        """Take away what dead keepers have left of interfaces, rules and leases."""
        if not any(living.every(self._place)):
            return
        allowed = self._engine.settings.privilege
        if allowed.rung != "root" and not allowed.inside:
            self._engine.inside("networks.settle")
            return
        from tiffin.keeper import host

        if allowed.rung == "root":
            self._settle()
        elif not host.visit(allowed, self._settle):
            living.forget(self._place)

    def _settle(self) -> None:
        with link.open_route() as route, living.Lock():
            living.settle(self._place, route)

    # --- containers ----------------------------------------------------------------------------

    def connect(self, name: str, container: str, endpoint: EndpointConfig = _NO_WISH) -> None:
        """Put a container on one more network, at once if it runs; raises Conflict if it is there."""
        record = self._store.containers.resolve(container)
        with self._store.containers.lock(record.id):
            record = self._store.containers.get(record.id)
            self._check_mode(record)
            network = wiring.usable(self._engine, name)
            if network.id in record.networks:
                message = f"endpoint with name {record.name} already exists in network {network.name}"
                raise Conflict(message)
            wanted = wiring.checked(self._engine, network, endpoint)
            wish = wiring.wish(self._engine, record, network, wanted)
            if self._store.containers.state(record.id).running:
                self._ask(record, "connect", wish=wish.pack())
            networks = {**record.networks, network.id: {"Name": network.name, **wanted.to_json()}}
            self._store.containers.update(record.replace(networks=networks))
        self._tell("connect", network, container=record.id)

    def disconnect(self, name: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network; raises NotFound if it is not there."""
        try:
            record = self._store.containers.resolve(container)
        except NotFound:
            if force:
                return
            raise
        network = self.get(name)
        if network.driver == "host":
            message = "container cannot be disconnected from host network or connected to host network"
            raise InvalidArgument(message)
        with self._store.containers.lock(record.id):
            record = self._store.containers.get(record.id)
            if network.id not in record.networks:
                message = f"container {record.id} is not connected to network {network.name}"
                raise NotFound(message)
            if self._store.containers.state(record.id).running:
                self._ask(record, "disconnect", network=network.id)
            networks = {key: value for key, value in record.networks.items() if key != network.id}
            self._store.containers.update(record.replace(networks=networks))
        self._tell("disconnect", network, container=record.id)

    def _check_mode(self, record: ContainerRecord) -> None:
        mode = record.host.network_mode
        if mode == "host":
            message = "container cannot be disconnected from host network or connected to host network"
            raise InvalidArgument(message)
        if mode.startswith("container:"):
            message = (
                "container sharing network namespace with another container or host cannot be connected to "
                "any other network"
            )
            raise InvalidArgument(message)
        if mode == "none":
            wiring.usable(self._engine, "none")

    def _ask(self, record: ContainerRecord, action: str, **words: Any) -> None:
        from tiffin.engine.start import connect

        with connect(self._store, record) as connection:
            connection.network(action, **words)

    # --- ports ---------------------------------------------------------------------------------

    def publish(self, container: str, *texts: str) -> tuple[str, ...]:
        """Publish more ports (`8080:80`), of a running container at once; return where they are."""
        from tiffin.engine.publish import publish

        return publish(self._engine, self._store.containers.resolve(container), texts)

    def unpublish(self, container: str, *texts: str) -> None:
        """Take published ports back (`8080:80`, `80/tcp`); raises NotFound for one that is not published."""
        from tiffin.engine.publish import unpublish

        unpublish(self._engine, self._store.containers.resolve(container), texts)

    # --- egress --------------------------------------------------------------------------------

    def egress(self, container: str) -> tuple[Attempt, ...]:
        """Return what a container with an egress list has tried to reach; raises Conflict without one."""
        from tiffin.engine import egress

        return egress.attempts(self._engine, self._store.containers.resolve(container))

    def change_egress(
        self, container: str, *, allow: Sequence[str] = (), revoke: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Let a container reach more, or less, at once if it runs; return its list."""
        from tiffin.engine import egress

        return egress.change(self._engine, self._store.containers.resolve(container), allow, revoke)

    # --- prune ---------------------------------------------------------------------------------

    def plan_prune(self, *, filters: Filters = EMPTY) -> Plan:
        """Return what a prune would remove: networks that no container has, running or not."""
        from tiffin.engine.prune import Planner

        planner = Planner(self._engine)
        planner.networks(filters)
        return planner.plan(leftovers=False)

    def prune(self, *, filters: Filters = EMPTY, plan: Plan | None = None) -> NetworksPruned:
        """Remove networks that no container has, or those of a plan that none has got since."""
        from tiffin.engine.prune import NETWORK, remove_items

        done = remove_items(self._engine, plan or self.plan_prune(filters=filters))
        return NetworksPruned(
            removed=tuple(name for item in done if item.kind == NETWORK for name in item.names)
        )

    def _tell(self, action: str, network: NetworkRecord, **more: str) -> None:
        attributes = {"name": network.name, "type": network.driver, **more}
        self._store.events.append("network", action, network.id, attributes)
