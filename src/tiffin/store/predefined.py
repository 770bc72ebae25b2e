"""The networks that every store has from the first time that somebody asks for one."""

from __future__ import annotations

from tiffin.spec.network import Pool
from tiffin.store.networks import NetworkRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def records(new_id: Callable[[], str], now: str) -> tuple[NetworkRecord, ...]:
    """Return bridge, host and none; the bridge's subnet is docker's, as long as nothing else has it."""
    options = {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104 - docker's default
        "com.docker.network.driver.mtu": "1500",
    }
    pool = Pool(subnet="172.17.0.0/16", gateway="172.17.0.1")
    return (
        NetworkRecord(
            id=new_id(), name="bridge", created=now, pools=(pool,), automatic=True, options=options
        ),
        NetworkRecord(id=new_id(), name="host", created=now, driver="host"),
        NetworkRecord(id=new_id(), name="none", created=now, driver="null"),
    )
