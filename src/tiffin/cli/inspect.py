"""inspect, container inspect, image inspect: docker's JSON, whole or through a template."""

from __future__ import annotations

import json
import sys

from tiffin.cli.command import DONE, JSON_FORMAT, Command
from tiffin.errors import InvalidArgument, NotFound, TiffinError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

    Look = Callable[[str], dict[str, Any]]

_AS = "Print the docker run that makes it (docker)"
_LEFT_OUT: dict[str, Any] = {
    "Annotations": {},
    "Init": None,
    "Mounts": [],
    "StorageOpt": {},
    "Sysctls": {},
    "Tmpfs": {},
}
"""Members of HostConfig that docker's JSON has only where they are set; its templates know them always."""

_TYPES = ("container", "image", "network", "volume")


def container(parsed: Parsed, session: Session) -> int:
    """Show containers, or the commands that make them again."""
    if parsed.given("as"):
        return _commands(parsed, session)
    size = parsed.flag("size")
    return show(parsed, lambda name: session.engine.containers.inspect(name, size=size))


def image(parsed: Parsed, session: Session) -> int:
    """Show images."""
    return show(parsed, session.engine.images.inspect)


def anything(parsed: Parsed, session: Session) -> int:
    """Show whatever has the name: a container first, then an image, a network, a volume."""
    wanted = parsed.text("type")
    if wanted and wanted not in _TYPES:
        message = f'"{wanted}" is not a valid value for --type'
        raise InvalidArgument(message, hint="known are " + ", ".join(_TYPES))
    if parsed.given("as"):
        return _commands(parsed, session)
    size = parsed.flag("size")
    engine = session.engine

    def volume(name: str) -> dict[str, Any]:
        from tiffin.cli import volume as volumes

        return volumes.described(engine, name)

    looks: dict[str, Look] = {
        "container": lambda name: engine.containers.inspect(name, size=size),
        "image": engine.images.inspect,
        "network": engine.networks.inspect,
        "volume": volume,
    }
    if wanted:
        return show(parsed, looks[wanted])
    return show(parsed, lambda name: _first(looks.values(), name))


def _commands(parsed: Parsed, session: Session) -> int:
    """Print `docker run ...` for each container."""
    from tiffin.cli import as_docker
    from tiffin.cli.each import each
    from tiffin.spec.container import ContainerConfig
    from tiffin.spec.network import EndpointConfig

    if parsed.text("as") != "docker":
        message = f'"{parsed.text("as")}" is not a valid value for --as'
        raise InvalidArgument(message, hint="only docker is known")
    engine = session.engine

    def one(name: str) -> str:
        record = engine.containers.get(name)
        try:
            image = ContainerConfig.from_json(engine.images.inspect(record.image_id)["Config"] or {})
        except NotFound:
            image = ContainerConfig()
        config = record.config
        if config.hostname == record.id[:12]:
            config = config.replace(hostname="")
        host = record.host
        if host.network_mode == "bridge":
            host = host.replace(network_mode="default")  # which it is
        # Links of the first network stand in the host's configuration, too.
        endpoints = {
            value["Name"]: EndpointConfig.from_json(dict(value)).replace(links=())
            for value in record.networks.values()
        }
        return as_docker.line(config, host, name=record.name, image=image, endpoints=endpoints)

    return each(parsed.arguments, one)


def _first(looks: Iterable[Look], name: str) -> dict[str, Any]:
    for look in looks:
        try:
            return look(name)
        except (NotFound, InvalidArgument):
            continue
    raise NotFound(f"No such object: {name}")


def show(parsed: Parsed, look: Look) -> int:
    """Print what there is of the arguments; then an error for each that is not; 1 if any was not."""
    wanted = parsed.text("format")
    compiled = None
    if wanted and wanted != "json":
        from tiffin.cli import template

        text = wanted.replace("\\t", "\t").replace("\\n", "\n")
        compiled = template.parse(text)
    found, errors = [], []
    for name in parsed.arguments:
        try:
            found.append(look(name))
        except TiffinError as error:
            errors.append(error)
    if compiled is not None:
        sys.stdout.write("".join(f"{compiled.render(_whole(value))}\n" for value in found))
    elif wanted == "json":
        sys.stdout.write(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n")
    else:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=4) + "\n")
    sys.stdout.flush()
    for failure in errors:
        sys.stderr.write(f"tiffin: {failure.message}\n")
    return 1 if errors else 0


def _whole(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what a template sees."""
    host = shown.get("HostConfig")
    return {**shown, "HostConfig": {**_LEFT_OUT, **host}} if isinstance(host, dict) else shown


INSPECT = Command(
    spellings=("inspect",),
    usage="[OPTIONS] NAME|ID [NAME|ID...]",
    short="Return low-level information on Docker objects",
    minimum=1,
    flags=(
        ("as", "", "string", _AS, "", DONE),
        ("format", "f", "string", JSON_FORMAT, "", DONE),
        ("size", "s", "bool", "Display total file sizes if the type is container", "", DONE),
        ("type", "", "string", "Only inspect objects of the given type", "", DONE),
    ),
    handler=anything,
)
CONTAINER_INSPECT = Command(
    spellings=("container inspect",),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Display detailed information on one or more containers",
    minimum=1,
    flags=(
        ("as", "", "string", _AS, "", DONE),
        ("format", "f", "string", JSON_FORMAT, "", DONE),
        ("size", "s", "bool", "Display total file sizes", "", DONE),
    ),
    handler=container,
)
IMAGE_INSPECT = Command(
    spellings=("image inspect",),
    usage="[OPTIONS] IMAGE [IMAGE...]",
    short="Display detailed information on one or more images",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", DONE),
        (
            "platform",
            "",
            "string",
            (
                "Inspect a specific platform of the multi-platform image.\n"
                "If the image or the server is not multi-platform capable, the command will error out if the "
                "platform does not match.\n"
                "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"
            ),
            "",
            "refused: an image is kept for one platform",
        ),
    ),
    handler=image,
)
