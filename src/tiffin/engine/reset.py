"""reset: the whole store goes, also one that cannot be opened, with files that its user cannot remove."""

from __future__ import annotations

import os

from tiffin.errors import Conflict, Forbidden, InvalidArgument, TiffinError
from tiffin.spec import jsontext
from tiffin.store import atomic
from tiffin.store.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.settings import Settings


_OURS = (
    "state.db",
    "content",
    "layers",
    "drafts",
    "containers",
    "volumes",
    "events",
    "seccomp",
    "reserve",
    "box",
    "sweep.lock",
    "cachemounts",
    "manifests",
)
"""How the names in a store begin; what has others was never one, or holds more than that."""


def reset(settings: Settings) -> list[str]:
    """Kill what runs, remove root and run folder and all in them; return what was there.

    This process enters the namespace. Raises Conflict for what runs in a store that cannot be opened,
    InvalidArgument where the root is no store, Forbidden for files of ids that are not this user's any more.
    """
    layout = Layout(root=settings.root, run=settings.run)
    if not all(name.startswith(_OURS) for name in _names(layout.root)):
        message = f"{layout.root} is no store of tiffin"
        raise InvalidArgument(message, hint="remove it by hand if it is to go")
    running = [name for name in _names(layout.living) if _runs(layout.live(name))]
    if running:
        _end(settings, running)
    if settings.privilege.rung == "root" and _names(layout.networks):
        from tiffin.network import link, living
        from tiffin.network.plan import Place

        with link.open_route() as route, living.Lock():
            living.abolish(Place(folder=layout.networks, table=layout.rules), route)
    from tiffin.keeper import userns

    if settings.privilege.rung != "none":
        userns.enter(settings.privilege)
    removed = []
    for path in (layout.root, layout.run):
        try:
            if os.path.lexists(path):
                _remove(path)
                removed.append(path)
        except PermissionError as error:
            message = f"{error.filename or path}: {error.strerror}"
            raise Forbidden(message, hint=f"its owner is not one of your ids: sudo rm -r {path}") from error
    return removed


def _end(settings: Settings, running: list[str]) -> None:
    """Remove containers that run, as `rm -f` does."""
    from tiffin.engine.engine import Engine

    try:
        with Engine(settings) as engine:
            for container_id in running:
                engine.containers.remove(container_id, force=True)
    except TiffinError as error:
        message = f"containers are running: {', '.join(name[:12] for name in running)}: {error.message}"
        raise Conflict(message, hint="end their processes first; `ps` of the host shows them") from error


def _remove(path: str) -> None:
    """Empty a folder and take it away, if its own folder lets us."""
    for name in _names(path):
        atomic.delete_tree(f"{path}/{name}")
    try:
        os.rmdir(path)
    except PermissionError:
        return  # the folder above is not ours; an empty one is as good


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _runs(live: str) -> bool:
    """Tell whether the process of a container's facts lives."""
    try:
        with open(f"{live}/state", "rb") as stream:
            facts = jsontext.load_object(stream.read())
    except OSError:
        return False
    pid = int(facts.get("pid") or 0)
    if not pid or facts.get("boot") != atomic.boot_id():
        return False
    return atomic.start_time(pid) == facts.get("pid_start")
