"""What a keeper is told about networks: plain values, sent by marshal."""

from __future__ import annotations

from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def _frozen(value: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}


class Net(Value):
    """One bridge network. `subnets`, `gateways` and `ranges` belong together, "" for none.

    With `automatic` the IPv4 subnet was not asked for by anybody: another may take its place while no
    container is there. `avoid` are the subnets that this must not be.
    """

    id: str
    name: str
    bridge: str
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    automatic: bool = False
    avoid: tuple[str, ...] = ()
    internal: bool = False
    neighbours: bool = True
    masquerade: bool = True
    mtu: int = 0
    prefix: str = "eth"
    resolves: bool = True  # names are answered here; not on the default network


class Wish(Value):
    """How one container wants to be on one network. "" leaves the choice; `names` are what it answers to.

    `links` map a name to the one that it stands for. `priority` decides whose gateway is used.
    """

    net: Net
    ip4: str = ""
    ip6: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    links: Mapping[str, str] = EMPTY
    local: tuple[str, ...] = ()
    priority: int = 0

    def pack(self) -> dict[str, Any]:
        """Return it as marshal takes it."""
        return {**self.as_dict(), "net": self.net.as_dict(), "links": dict(self.links)}

    @staticmethod
    def unpack(value: dict[str, Any]) -> Wish:
        """Read what `pack` wrote, also after it has been JSON."""
        words, net = _frozen(value), _frozen(value["net"])
        words["net"] = Net(**net)
        return Wish(**words)


class Port(Value):
    """A port to publish: `first` to `last` on the host are tried in turn (0 is any free one).

    One that `follows` takes the number that the one before it got.
    """

    host: str  # an address, "0.0.0.0" and "::" for all
    first: int
    last: int
    protocol: str
    target: int
    follows: bool = False

    def pack(self) -> dict[str, Any]:
        """Return it as marshal takes it."""
        return self.as_dict()


class Place(Value):
    """Where the facts of a store's networks lie, and what its table of rules is called."""

    folder: str
    table: str
