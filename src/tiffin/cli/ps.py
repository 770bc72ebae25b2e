"""ps (container ls): the list of containers."""

from __future__ import annotations

import sys

from tiffin.cli import format as formats
from tiffin.cli.command import DONE, TABLE_FORMAT, Command
from tiffin.spec import lapse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.views import ContainerView

_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_HEADERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "CreatedAt": "CREATED AT",
    "Labels": "LABELS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "State": "STATE",
}


def show(parsed: Parsed, session: Session) -> int:
    """Print the containers."""
    last = 1 if parsed.flag("latest") else max(0, parsed.number("last"))
    template = parsed.text("format")
    views = session.engine.containers.list(
        all=parsed.flag("all"),
        filters=parsed.filters(),
        last=last,
        size=parsed.flag("size") or ".Size" in template,
    )
    whole = parsed.flag("no-trunc")
    if parsed.flag("quiet"):
        formats.warn_of_format(template)
        sys.stdout.write("".join(f"{_identifier(view, whole=whole)}\n" for view in views))
        return 0
    columns = (*_COLUMNS, "Size") if parsed.flag("size") else _COLUMNS
    fields = _fields(whole=whole)
    if template in {"", "table"}:
        rows = [[_HEADERS[name] for name in columns]]
        rows += [[str(fields[name](view)) for name in columns] for view in views]
        sys.stdout.write(formats.table(rows))
        return 0
    from tiffin.cli import listing

    sys.stdout.write(listing.show(views, template, columns=columns, fields=fields, headers=_HEADERS))
    return 0


def _identifier(view: ContainerView, *, whole: bool) -> str:
    return view.id if whole else view.id[:12]


def _fields(*, whole: bool) -> dict[str, Callable[[ContainerView], object]]:
    return {
        "ID": lambda view: _identifier(view, whole=whole),
        "Image": lambda view: _image(view, whole=whole),
        "Command": lambda view: _command(view, whole=whole),
        "RunningFor": lambda view: formats.ago(view.created),
        "CreatedAt": lambda view: formats.local(view.created),
        "Status": lambda view: lapse.status(view.state),
        "State": lambda view: view.state.status,
        "Ports": _ports,
        "Names": lambda view: view.name,
        "Size": _size,
        "Labels": lambda view: ",".join(f"{key}={value}" for key, value in sorted(view.labels.items())),
        "Label": lambda view: lambda name: view.labels.get(name, ""),
        "LocalVolumes": lambda view: str(sum(mount.driver == "local" for mount in view.mounts)),
        "Mounts": lambda view: ",".join(
            _mount(mount.name or mount.source, whole=whole) for mount in view.mounts
        ),
        "Networks": lambda view: ",".join(view.networks),
        "Platform": lambda _view: "",
    }


def _image(view: ContainerView, *, whole: bool) -> str:
    name = view.image or "<no image>"
    if not whole and (name.startswith("sha256:") or name == view.image_id.partition(":")[2]):
        return formats.short(name)
    return name


def _command(view: ContainerView, *, whole: bool) -> str:
    program, *arguments = view.command or ("",)
    text = " ".join((program, *(f"'{word}'" if " " in word else word for word in arguments)))
    return formats.quoted(text if whole else formats.cut(text, 20))


def _ports(view: ContainerView) -> str:
    if not view.state.running:
        return ""
    if not view.ports:
        return ", ".join(view.exposed_ports)
    return formats.ports(view.ports, view.exposed_ports)


def _mount(name: str, *, whole: bool) -> str:
    return name if whole else formats.cut(name, 15)


def _size(view: ContainerView) -> str:
    if view.size_rw < 0:
        return "0B"
    own = formats.size(view.size_rw)
    return f"{own} (virtual {formats.size(view.size_root)})" if view.size_root > 0 else own


PS = Command(
    spellings=("container ls", "container list", "container ps", "ps"),
    usage="[OPTIONS]",
    short="List containers",
    maximum=0,
    flags=(
        ("all", "a", "bool", "Show all containers (default shows just running)", "", DONE),
        ("filter", "f", "filter", "Filter output based on conditions provided", "", DONE),
        ("format", "", "string", TABLE_FORMAT, "", DONE),
        ("last", "n", "int", "Show n last created containers (includes all states)", "-1", DONE),
        ("latest", "l", "bool", "Show the latest created container (includes all states)", "", DONE),
        ("no-trunc", "", "bool", "Don't truncate output", "", DONE),
        ("quiet", "q", "bool", "Only display container IDs", "", DONE),
        ("size", "s", "bool", "Display total file sizes", "", DONE),
    ),
    handler=show,
)
