"""Devices by name (CDI, `vendor.com/class=name`): what vendors' files in /etc/cdi say that they need.

Container Device Interface specification 0.8. Only JSON files are read: a reader for YAML would be a
dependency for one file, which its vendor's tool writes as JSON just as well.
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.spec import jsontext
from tiffin.spec.members import a_list, an_object, number, strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tiffin.spec.container import DeviceRequest

FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""Where vendors put their files; one in the second wins over the first."""

_GPUS = "nvidia.com/gpu"
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def is_name(text: str) -> bool:
    """Tell whether a `--device` is a name (`vendor.com/class=name`) and no path."""
    kind, equals, device = text.partition("=")
    vendor, slash, family = kind.partition("/")
    return bool(equals and device and slash and vendor and family) and not text.startswith("/")


def edits(requests: Sequence[DeviceRequest], folders: Sequence[str] = FOLDERS) -> list[dict[str, Any]]:
    """Return the `containerEdits` that the requests ask for, in order; raises InvalidArgument.

    Gpus are asked for by count or id: those of the vendor whose files name them.
    """
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    kinds = _kinds(folders)
    for request in requests:
        names = list(request.device_ids) if request.driver == "cdi" else _gpus(request, kinds)
        unknown = [name for name in names if not _devices(name, kinds)]
        if unknown:
            message = f"CDI device injection failed: unresolvable CDI devices {', '.join(unknown)}"
            raise InvalidArgument(message, hint=_hint(folders))
        for name in names:
            kind = name.partition("=")[0]
            if kind not in seen:
                seen.add(kind)
                found.append(an_object(kinds[kind].get("containerEdits")))
            found += (an_object(device.get("containerEdits")) for device in _devices(name, kinds))
    return found


def apply(spec: dict[str, Any], changes: Sequence[dict[str, Any]]) -> None:
    """Add what was found to a runtime's configuration."""
    for change in changes:
        spec["process"]["env"] += strings(change.get("env"))
        groups = spec["process"]["user"]["additionalGids"]
        groups += (n for n in map(number, a_list(change.get("additionalGids"))) if n and n not in groups)
        for node in map(an_object, a_list(change.get("deviceNodes"))):
            _add_node(spec["linux"], node)
        for mount in map(an_object, a_list(change.get("mounts"))):
            spec["mounts"].append(
                {
                    "destination": str(mount["containerPath"]),
                    "source": str(mount["hostPath"]),
                    "type": str(mount.get("type") or "bind"),
                    "options": list(strings(mount.get("options"))) or ["rbind", "nosuid", "nodev", "ro"],
                }
            )
        for hook in map(an_object, a_list(change.get("hooks"))):
            _add_hook(spec, hook)


def _add_node(linux: dict[str, Any], node: dict[str, Any]) -> None:
    path = str(node["path"])
    made = {"path": path, **_look(str(node.get("hostPath") or path), node)}
    for key in ("fileMode", "uid", "gid"):
        if node.get(key) is not None:
            made[key] = number(node[key])
    linux.setdefault("devices", []).append(made)
    rules = linux.get("resources", {}).get("devices")
    if rules is not None:
        numbers = {key: made[key] for key in ("type", "major", "minor") if key in made}
        access = str(node.get("permissions") or "rwm")
        # A list of its own: the defaults are shared.
        linux["resources"]["devices"] = [*rules, {"allow": True, "access": access, **numbers}]


def _look(path: str, node: dict[str, Any]) -> dict[str, Any]:
    """Return kind and number of a node, from the file or else from the host."""
    kind = str(node.get("type") or "")
    if kind and (kind == "p" or node.get("major") is not None):
        return {"type": kind, "major": number(node.get("major")), "minor": number(node.get("minor"))}
    try:
        info = os.stat(path)
    except OSError as error:
        message = f"CDI device injection failed: stat {path}: {(error.strerror or '').lower()}"
        raise InvalidArgument(message) from error
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c"
    return {"type": kind, "major": os.major(info.st_rdev), "minor": os.minor(info.st_rdev)}


def _add_hook(spec: dict[str, Any], hook: dict[str, Any]) -> None:
    name = str(hook.get("hookName") or "")
    if name not in _HOOKS:
        raise InvalidArgument(f"CDI device injection failed: invalid hook name: {name!r}")
    made: dict[str, Any] = {"path": str(hook["path"])}
    made |= {key: list(strings(hook[key])) for key in ("args", "env") if hook.get(key)}
    if hook.get("timeout") is not None:
        made["timeout"] = number(hook["timeout"])
    spec.setdefault("hooks", {}).setdefault(name, []).append(made)


# --- the vendors' files -------------------------------------------------------------------------


def _kinds(folders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what each kind's file says; later folders win."""
    return {str(body.get("kind") or ""): body for folder in folders for body in _files(folder)}


def _files(folder: str) -> Iterator[dict[str, Any]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith(".json"):
            path = f"{folder}/{name}"
            try:
                with open(path, "rb") as stream:
                    yield jsontext.load_object(stream.read())
            except (OSError, Corrupt) as error:
                raise InvalidArgument(f"CDI device injection failed: {path}: {error}") from error


def _devices(name: str, kinds: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    kind, _, wanted = name.partition("=")
    devices = [an_object(d) for d in a_list(kinds.get(kind, {}).get("devices"))]
    return [d for d in devices if str(d.get("name")) == wanted]


def _gpus(request: DeviceRequest, kinds: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of the gpus that are asked for."""
    names = [str(an_object(d).get("name")) for d in a_list(kinds.get(_GPUS, {}).get("devices"))]
    single = [name for name in names if name != "all"]
    wanted = list(request.device_ids)
    if not wanted:
        wanted = single if request.count < 0 else single[: request.count]
        if request.count < 0 and "all" in names:
            wanted = ["all"]
    if not wanted or len(wanted) < request.count:
        asked = " ".join(f"[{' '.join(one)}]" for one in request.capabilities)
        message = f'could not select device driver "{request.driver}" with capabilities: [{asked}]'
        raise InvalidArgument(message, hint=_hint(FOLDERS))
    return [f"{_GPUS}={name}" for name in wanted]


def _hint(folders: Sequence[str]) -> str:
    where = " and ".join(folders)
    yaml = [
        f"{f}/{n}"
        for f in folders
        if os.path.isdir(f)
        for n in os.listdir(f)
        if n.endswith((".yaml", ".yml"))
    ]
    if yaml:
        return f"{yaml[0]} is not read: have it written as JSON (nvidia-ctk cdi generate --format=json)"
    return f"no JSON file in {where} has that name"
