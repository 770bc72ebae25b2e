"""Network namespaces: made by a thread that ends there, and held by nothing but descriptors.

A netlink socket belongs to the namespace in which it was opened, wherever it is used. So a thread goes
inside once, opens what is needed, and comes to its end; nobody stays there.
"""

from __future__ import annotations

import _thread
import ctypes
import os

from tiffin.network import link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.network.netlink import Netlink

_NEW_NETWORK = 0x40000000
_OWN = "/proc/thread-self/ns/net"


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def apart(work: Callable[[], Any]) -> Any:
    """Do some work in a thread of its own, wait for it, and return or raise what it did."""
    done = _thread.allocate_lock()
    done.acquire()
    result: list[Any] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            failure.append(error)
        finally:
            done.release()

    _thread.start_new_thread(body, ())
    done.acquire()
    if failure:
        raise failure[0]
    return result[0]


def make() -> tuple[int, Netlink]:
    """Make a namespace; return a descriptor that keeps it, and a netlink socket in it."""

    def work() -> tuple[int, Netlink]:
        libc = ctypes.CDLL(None, use_errno=True)
        _check(libc.unshare(_NEW_NETWORK), "unshare")
        return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC), link.open_route()

    made: tuple[int, Netlink] = apart(work)
    return made


def inside(namespace: int, work: Callable[[], Any]) -> Any:
    """Do some work in a namespace, by a thread that goes there; return or raise what it did."""

    def body() -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        _check(libc.setns(namespace, _NEW_NETWORK), "setns")
        return work()

    return apart(body)
