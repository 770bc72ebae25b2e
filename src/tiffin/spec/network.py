"""Networks and a container's place on them, in the Engine API's shape."""

from __future__ import annotations

from tiffin.spec.members import an_object, mapping, number, strings
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Pool(Value):
    """One subnet of a network; "" leaves the choice of gateway and range."""

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    reserved: Mapping[str, str] = EMPTY

    @staticmethod
    def from_json(value: dict[str, Any]) -> Pool:
        """Read the API's `IPAMConfig`."""
        return Pool(
            subnet=str(value.get("Subnet") or ""),
            gateway=str(value.get("Gateway") or ""),
            ip_range=str(value.get("IPRange") or ""),
            reserved=mapping(value.get("AuxiliaryAddresses")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members, unset ones left out."""
        named = {
            "Subnet": self.subnet,
            "IPRange": self.ip_range,
            "Gateway": self.gateway,
            "AuxiliaryAddresses": dict(self.reserved),
        }
        return {k: v for k, v in named.items() if v}


class EndpointConfig(Value):
    """How a container wants to be on a network: docker's `EndpointSettings` as far as users say it.

    `links` are NAME:ALIAS.
    """

    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    ip4: str = ""
    ip6: str = ""
    link_local: tuple[str, ...] = ()
    mac: str = ""
    driver_opts: Mapping[str, str] = EMPTY
    gw_priority: int = 0

    @staticmethod
    def from_json(value: dict[str, Any]) -> EndpointConfig:
        """Read the API's members."""
        ipam = an_object(value.get("IPAMConfig"))
        return EndpointConfig(
            aliases=strings(value.get("Aliases")),
            links=strings(value.get("Links")),
            ip4=str(ipam.get("IPv4Address") or ""),
            ip6=str(ipam.get("IPv6Address") or ""),
            link_local=strings(ipam.get("LinkLocalIPs")),
            mac=str(value.get("MacAddress") or ""),
            driver_opts=mapping(value.get("DriverOpts")),
            gw_priority=number(value.get("GwPriority")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members, null where nothing is said."""
        ipam: dict[str, Any] = {}
        if self.ip4:
            ipam["IPv4Address"] = self.ip4
        if self.ip6:
            ipam["IPv6Address"] = self.ip6
        if self.link_local:
            ipam["LinkLocalIPs"] = list(self.link_local)
        return {
            "IPAMConfig": ipam or None,
            "Links": list(self.links) or None,
            "Aliases": list(self.aliases) or None,
            "MacAddress": self.mac,
            "DriverOpts": dict(self.driver_opts) or None,
            "GwPriority": self.gw_priority,
        }
