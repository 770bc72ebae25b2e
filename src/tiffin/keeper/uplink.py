"""The network of an ordinary user's container: a namespace with one interface, which leads outside."""

from __future__ import annotations

import os

from tiffin.errors import Conflict, TiffinError
from tiffin.keeper.network import NAME, failure
from tiffin.network import link, namespace, ports, uplink
from tiffin.network.plan import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.keeper.request import StartRequest


class Uplink:
    """What `keeper.network.Networks` is to a container on bridges."""

    def __init__(self, request: StartRequest, plan: dict[str, Any]) -> None:
        """Plan it; nothing is made yet."""
        self._live = request.live
        self._hosts: str = plan["hosts"]
        self._hostname: str = plan["hostname"]
        self._wanted = [Port(**value) for value in plan["ports"]]
        self._ports: dict[int, ports.Fact] = {}
        self._namespace = self._alive = self._folder = -1

    def start(self) -> None:
        """Make the namespace and its way out; raises StartFailed, with everything taken back."""
        try:
            self._namespace, inner = namespace.make()
            with inner:
                inner.call("lo", link.up(1))
            os.symlink(f"/proc/{os.getpid()}/fd/{self._namespace}", f"{self._live}/{NAME}")
            self._folder = os.open(self._live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._alive = uplink.start(self._namespace, self._control)
            self._publish(self._wanted)
            self._write_hosts()
        except (OSError, TiffinError) as error:
            self.close()
            raise failure(error) from error

    @property
    def _control(self) -> str:
        """The socket that takes orders, by a path that is short enough for one."""
        return f"/proc/{os.getpid()}/fd/{self._folder}/uplink"

    def _write_hosts(self) -> None:
        with open(self._hosts, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().replace("host-gateway\t", f"{uplink.GATEWAY}\t")
        with open(self._hosts, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f"{lines}{uplink.ADDRESS}\t{self._hostname}\n")

    def _publish(self, wanted: list[Port]) -> None:
        """Lead ports of the host here, all of them or none."""
        fresh: list[int] = []
        try:
            for port in wanted:
                held, number = ports.bind(port, lambda _port: "")
                held.close()  # now it is known to be free, and which one it is
                fact = [port.host, number, port.protocol, uplink.ADDRESS, port.target]
                fresh.append(uplink.forward(self._control, fact))
                self._ports[fresh[-1]] = fact
        except BaseException:
            for order in fresh:
                self._withdraw(order)
            raise

    def _withdraw(self, order: int) -> None:
        uplink.unforward(self._control, order)
        del self._ports[order]

    def act(self, asked: dict[str, Any]) -> str:
        """Do what a peer asks for; return why not, or ""."""
        action = str(asked.pop("action", ""))
        try:
            if action == "publish":
                self._publish([Port(**value) for value in asked["wanted"]])
            elif action == "unpublish":
                self._unpublish({tuple(key) for key in asked["wanted"]})
            elif action != "rename":  # a name is known to nobody here
                message = f"a container on {uplink.MODE} cannot {action}: it is on no bridge network"
                raise Conflict(message)
        except (OSError, TiffinError) as error:
            found = error if isinstance(error, TiffinError) else failure(error)
            return f"{found.message}\n{found.hint}" if found.hint else found.message
        return ""

    def _unpublish(self, keys: set[tuple[Any, ...]]) -> None:
        for order, fact in tuple(self._ports.items()):
            if tuple(fact[:3]) in keys:
                self._withdraw(order)

    def facts(self) -> dict[str, Any]:
        """Return what is shown of it: its address and ports."""
        endpoint = {
            "name": uplink.MODE,
            "addresses": [f"{uplink.ADDRESS}/{uplink.BITS}"],
            "gateways": [uplink.GATEWAY],
            "mac": "",
            "interface": "tap0",
        }
        return {
            "endpoints": {"": endpoint},
            "ports": [[f[0], f[1], f[2], f[4]] for f in self._ports.values()],
        }

    def close(self) -> None:
        """Give everything back: the program ends when its pipe does."""
        for descriptor in (self._alive, self._namespace, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._alive = self._namespace = self._folder = -1
        self._ports.clear()

    def fold(self) -> None:
        """Nothing is shared with others: nothing is left to take down."""
