"""doctor: what this user may do on this host, what stands in the way of more, and what would change it.

It needs no store, so that it can also say why one cannot be opened. What can be tried is really tried, in
a process of its own.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile

import tiffin
from tiffin.engine import trial
from tiffin.errors import NotFound
from tiffin.settings import user_name
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.settings import Privilege, Settings

_FIRST_USER = 1000
RUNGS = {
    "root": "root: everything",
    "subids": "an ordinary user with subordinate ids: images keep their owners",
    "single": "an ordinary user with one id: all in a container is root's, and RUN pretends that chown works",
    "none": "an ordinary user without user namespaces: images can be looked at and sent, nothing can run",
}


_DISKS = {"ext3", "ext4", "xfs", "btrfs", "f2fs"}
_COPIED = "each gets a copy of its image's files: "


class Check(Value):
    """One thing that was looked at. `remedy` is a command, or what to do, "" where there is nothing."""

    name: str
    good: bool
    text: str
    remedy: str = ""


def examine(settings: Settings) -> list[Check]:
    """Return all that was looked at: the rung first, then what containers need of this host."""
    privilege = settings.privilege
    return [
        Check(name="rung", good=privilege.rung != "none", text=RUNGS[privilege.rung]),
        *_above(privilege),
        *_trial(settings),
        _runtime(settings),
        _limits(privilege),
        *_networks(privilege),
        *_logout(privilege),
        *_apparmor(privilege),
        *_installation(privilege),
    ]


def _above(privilege: Privilege) -> Iterator[Check]:
    if privilege.why and not privilege.inside:
        rungs = list(RUNGS)
        above = rungs[rungs.index(privilege.rung) - 1]
        yield Check(name=f"not {above}", good=True, text=privilege.why, remedy=privilege.remedy)


def _trial(settings: Settings) -> Iterator[Check]:
    """Say how containers get their files where the store is, or would be; what can be tried is."""
    if settings.privilege.rung == "none":
        return
    place = settings.root
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    if settings.snapshotter == "copy":
        yield Check(name="containers", good=True, text=_COPIED + "TIFFIN_SNAPSHOTTER or tiffin.toml says so")
        return
    try:
        folder = tempfile.mkdtemp(prefix=".tiffin-doctor-", dir=place)
    except OSError as error:
        yield Check(
            name="store", good=False, text=f"{place}: {error.strerror}", remedy="name another root: --root"
        )
        return
    try:
        namespace, mount = trial.run(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if namespace:
        yield Check(name="containers", good=False, text=namespace, remedy=privilege_remedy(settings))
    elif mount:
        remedy = "a store on a local disk that is no overlay is faster: --root or TIFFIN_ROOT"
        if folder := _elsewhere():
            remedy += f", for example {folder}/tiffin"
        yield Check(name="containers", good=True, text=_COPIED + mount, remedy=remedy)
    else:
        yield Check(name="containers", good=True, text=f"their mounts work below {place}")


def _elsewhere() -> str:
    """Return a folder of this user's on a disk of its own (a pod's volume), "" where there is none."""
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _, folder, kind, *_ = line.split()
            if kind in _DISKS and folder != "/" and os.path.isdir(folder) and os.access(folder, os.W_OK):
                return folder
    return ""


def privilege_remedy(settings: Settings) -> str:
    """Return what would let containers run where user namespaces were refused only when tried."""
    return settings.privilege.remedy or "ask who runs this host for user namespaces"


def _runtime(settings: Settings) -> Check:
    from tiffin.runtime import oci

    try:
        path = oci.find(settings.runtime, settings.environment.get("PATH", ""))
    except NotFound as error:
        return Check(name="runtime", good=False, text=error.message, remedy=error.hint)
    return Check(name="runtime", good=True, text=oci.version(path).partition("\n")[0] or path)


def _limits(privilege: Privilege) -> Check:
    if privilege.controllers:
        text = "what systemd hands on can be limited: " + " ".join(privilege.controllers)
    elif privilege.cgroups:
        text = "memory, cpus and processes can be limited"
    else:
        text = "memory, cpus and processes cannot be limited: that is refused"
    return Check(name="limits", good=True, text=text)


def _networks(privilege: Privilege) -> Iterator[Check]:
    """Say what networks containers get."""
    from tiffin.network import rules, uplink

    if privilege.rung == "none":
        return
    if not rules.available():
        text = "bridge networks, which run uses, need nftables, which is not installed"
        good = privilege.rung != "root"  # users' containers have none, then
        yield Check(name="networks", good=good, text=text, remedy="apt-get install nftables")
        return
    why, remedy = uplink.lacking() if privilege.rung != "root" else ("", "")
    text = "bridges, names and published ports work"
    if why:
        text = f"containers reach each other, but not the outside: {why}"
    yield Check(name="networks", good=True, text=text, remedy=remedy)


def _logout(privilege: Privilege) -> Iterator[Check]:
    """Say what becomes of a user's containers when the user leaves."""
    if privilege.rung == "root" or not privilege.manager:
        return
    if os.path.exists(f"/var/lib/systemd/linger/{user_name(privilege.owner)}"):
        yield Check(name="logout", good=True, text="it ends no containers")
    else:
        text = "your last one ends your containers, as `stop` does"
        yield Check(name="logout", good=True, text=text, remedy="loginctl enable-linger")


def _apparmor(privilege: Privilege) -> Iterator[Check]:
    from tiffin.runtime import apparmor

    if privilege.rung != "root" or not apparmor.is_on():
        return
    if apparmor.find_parser():
        yield Check(name="AppArmor", good=True, text=f"containers are confined by {apparmor.DEFAULT}")
    else:
        text = "it is on, but containers are not confined: there is no apparmor_parser"
        yield Check(name="AppArmor", good=True, text=text, remedy="apt-get install apparmor")


def _installation(privilege: Privilege) -> Iterator[Check]:
    """Warn of a root (`sudo tiffin`) that runs code that others can change: ours, Python's, any import."""
    if privilege.rung != "root":
        return
    places = [os.path.dirname(os.path.abspath(tiffin.__file__)), sys.argv[0], sys.executable, *sys.path]
    for place in filter(os.path.isabs, places):
        if not os.path.lexists(place):
            continue
        open_to = _changeable(os.path.realpath(place)) or _changeable(os.path.abspath(place))
        if open_to:
            yield Check(
                name="installation",
                good=False,
                text=f"root runs code that others can change: {open_to}",
                remedy="install tiffin for root by itself: sudo python3 -m venv /opt/tiffin, and pip there",
            )
            return


def _changeable(path: str) -> str:
    """Return the path, or the folder above it, that an ordinary user can change; "" for none."""
    while True:
        info = os.lstat(path)
        by_all = info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX
        by_group = info.st_mode & stat.S_IWGRP and info.st_gid >= _FIRST_USER  # below are the system's
        if info.st_uid or (not stat.S_ISLNK(info.st_mode) and (by_all or by_group)):
            return path
        if path == "/":
            return ""
        path = os.path.dirname(path)
