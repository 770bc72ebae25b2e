"""Mounts that few containers have: another's volumes, images, parts of volumes, volumes that are devices."""

from __future__ import annotations

import os
import posix

from tiffin.engine.mounts import PROPAGATIONS, bind
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.runtime.specgen import FileSystem
from tiffin.spec.mount import MountPoint
from tiffin.store import atomic, copyup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.engine import Engine
    from tiffin.runtime.specgen import Bind
    from tiffin.spec.mount import Mount
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.overlay import Stack
    from tiffin.store.store import Store
    from tiffin.store.volumes import VolumeRecord

_IN_USER_NAMESPACES = {"tmpfs", "none", "bind"}
"""Kinds of file systems that the kernel mounts for ordinary users."""


# --- of other containers ------------------------------------------------------------------------


def of_others(store: Store, words: Sequence[str]) -> dict[str, MountPoint]:
    """Return by destination what containers (`NAME[:ro|rw|z...]`) have mounted, but for what is in memory."""
    found: dict[str, MountPoint] = {}
    for word in words:
        name, _, mode = word.partition(":")
        if not name:
            raise InvalidArgument("volumes-from specification cannot be an empty string")
        if mode and not {*mode.split(",")} <= {"ro", "rw", "z", "Z", *PROPAGATIONS}:
            raise InvalidArgument(f"invalid mode: {mode}")
        for value in store.containers.resolve(name).mounts:
            point = MountPoint.from_json(value)
            if point.type != "tmpfs":
                read_only = "ro" in mode.split(",")
                found[point.destination] = point.replace(rw=point.rw and not read_only)
    return found


# --- images -------------------------------------------------------------------------------------


def image_point(engine: Engine, mount: Mount) -> MountPoint:
    """Return the mount point of an image, read-only; raise NotFound if it, or the path, is not here."""
    image = engine.store.images.resolve(mount.source)
    if mount.subpath and engine.store.stack(image.layers).stat(mount.subpath) is None:
        where = f"path {mount.subpath} of image {mount.source}"
        raise NotFound(f"cannot access {where}: no such file or directory")
    return MountPoint(
        type="image",
        source=mount.source,
        destination=mount.target,
        rw=False,
        propagation="rprivate",
        layers=image.layers,
        subpath=mount.subpath,
    )


def _image(engine: Engine, point: MountPoint, place: str) -> tuple[Bind, list[tuple[str, ...]]]:
    store = engine.store
    node = store.stack(point.layers).find(point.subpath or "/")[1]
    if node is None:
        raise NotFound(f"cannot access path {point.subpath} of image {point.source}")
    before: list[tuple[str, ...]] = []
    source = node.places[0]
    if node.is_folder:
        source = f"{place}.image"
        if engine.settings.snapshotter == "copy":
            _copy(store.stack(point.layers), source)
        else:
            before.append(("image", *_overlay(engine, point), source))
        if point.subpath:
            before.append(("part", source, point.subpath, place))
            source = place
    return bind(point, source, folder=node.is_folder), before


def _overlay(engine: Engine, point: MountPoint) -> tuple[str, str]:
    """Return (base, options) of a mount that shows an image; overlayfs wants two folders without an upper."""
    from tiffin.store.overlay import OverlayMount
    from tiffin.store.snapshots import EMPTY_LAYER

    layout = engine.store.layout
    names = [layout.layer_name(chain_id) for chain_id in reversed(point.layers)] + [EMPTY_LAYER]
    options = engine.settings.privilege.overlay_options
    mount = OverlayMount(
        base=layout.layers, lower=tuple(names), upper="", work="", target="", options=options
    )
    return mount.base, mount.data()


def _copy(stack: Stack, target: str) -> None:
    """Copy an image where no overlay can be mounted; it stays with the container."""
    if not os.path.isdir(target):
        partial = f"{target}.part"
        os.makedirs(partial, 0o755)
        copyup.copy_tree(stack, "/", partial)
        atomic.replace(partial, target)


# --- volumes ------------------------------------------------------------------------------------


def mounted(
    engine: Engine, point: MountPoint, volume: VolumeRecord | None, place: str
) -> tuple[Bind | FileSystem, list[tuple[str, ...]]]:
    """Return what the runtime mounts for one of these, and what the keeper mounts first."""
    if point.type == "bind":
        return bind(point, place, folder=True), [("alone", point.source, ".", place)]
    if volume is None:
        return _image(engine, point, place)
    if not volume.options:
        from tiffin.keeper import premount

        number = premount.find(point.source, point.subpath)  # fails here as it would later
        folder = os.path.isdir(f"/proc/self/fd/{number}")
        posix.close(number)
        return bind(point, place, folder=folder), [("part", point.source, point.subpath, place)]
    if point.subpath:
        message = f"volume {point.name} is a device: no part of it can be mounted"
        raise Unsupported(message, hint="mount all of it")
    return _device(engine, point, volume), []


def _device(engine: Engine, point: MountPoint, volume: VolumeRecord) -> Bind | FileSystem:
    """Return the mount of a volume that has options, in docker's words where it cannot be."""
    kind, device = volume.options["type"], volume.options["device"]
    words = [word for word in volume.options.get("o", "").split(",") if word]
    failed = f"error while mounting volume '{volume.path}': failed to mount local volume"
    if {"bind", "rbind"} & set(words):
        if not os.path.lexists(device):
            message = f"{failed}: mount {device}:{volume.path}, flags: 0x1000: no such file or directory"
            raise NotFound(message)
        read_only = point.rw and "ro" not in words
        return bind(point.replace(rw=read_only, recursive="rbind" in words), device)
    if engine.settings.privilege.rung != "root" and kind not in _IN_USER_NAMESPACES:
        raise Unsupported(f"{failed}: the kernel mounts {kind} for root only")
    if kind in {"nfs", "nfs4", "cifs"}:
        words = _with_address(kind, device, words, failed)
    if not point.rw:
        words.append("ro")
    return FileSystem(kind=kind, source=device, target=point.destination, options=tuple(words))


def _with_address(kind: str, device: str, words: list[str], failed: str) -> list[str]:
    """Return the options of a network's file system with the server's number for its name."""
    if kind != "cifs" and ":/" not in device:
        raise InvalidArgument(f"{failed}: {device} is no SERVER:/PATH", hint="device=:/path, o=addr=SERVER")
    found = []
    for word in words:
        key, _, server = word.partition("=")
        found.append(f"addr={_number_of(server, failed)}" if key == "addr" else word)
    if kind != "cifs" and not any(word.startswith("addr=") for word in found):
        raise InvalidArgument(f"{failed}: no server is named", hint="o=addr=SERVER")
    return found


def _number_of(server: str, failed: str) -> str:
    import socket

    try:
        return socket.gethostbyname(server)
    except OSError as error:
        message = f"{failed}: error resolving passed in network volume address: {error}"
        raise NotFound(message) from None


def fill_device(volume: VolumeRecord, stack: Stack, path: str) -> None:
    """Copy what an image has at a path into a folder of the host that is a volume, if that is empty."""
    device = volume.options["device"]
    bound = {"bind", "rbind"} & set(volume.options.get("o", "").split(","))
    node = stack.find(path)[1]
    if bound and node and node.is_folder and os.path.isdir(device) and not os.listdir(device):
        copyup.copy_tree(stack, path, device)


def give(engine: Engine, record: ContainerRecord, point: MountPoint) -> None:
    """Give a source, and all in it, to the container's user (`-v ...:U`)."""
    from tiffin.engine.bundle import process_user

    user = process_user(engine, record, record.config.user)
    copyup.give_tree(point.source, user.uid, user.gid)
