"""Mount: one entry of `--mount`, in the Engine API's shape."""

from __future__ import annotations

from tiffin.spec.members import an_object, mapping, number
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Mount(Value):
    """`type` is bind, volume, tmpfs or image; `target` a path in the container.

    `source` is a host path (bind), a volume's or an image's name ("" = an anonymous volume) or "" (tmpfs).
    `subpath` is what is taken of a volume or an image. `tmpfs_size` is in bytes (0 = no limit), `tmpfs_mode`
    a number (0 = 1777). `mode` is what `-v` said; `chown` gives the source to the container's user.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""
    non_recursive: bool = False
    create_source: bool = False
    no_copy: bool = False
    labels: Mapping[str, str] = EMPTY
    driver: str = ""
    driver_options: Mapping[str, str] = EMPTY
    tmpfs_size: int = 0
    tmpfs_mode: int = 0
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False
    subpath: str = ""
    mode: str = ""
    chown: bool = False

    @staticmethod
    def from_json(value: dict[str, Any]) -> Mount:
        """Read the API's `Mount`."""
        bind = an_object(value.get("BindOptions"))
        volume = an_object(value.get("VolumeOptions"))
        driver = an_object(volume.get("DriverConfig"))
        tmpfs = an_object(value.get("TmpfsOptions"))
        image = an_object(value.get("ImageOptions"))
        return Mount(
            type=str(value.get("Type") or "volume"),
            target=str(value.get("Target") or ""),
            source=str(value.get("Source") or ""),
            read_only=bool(value.get("ReadOnly")),
            propagation=str(bind.get("Propagation") or ""),
            non_recursive=bool(bind.get("NonRecursive")),
            create_source=bool(bind.get("CreateMountpoint")),
            no_copy=bool(volume.get("NoCopy")),
            labels=mapping(volume.get("Labels")),
            driver=str(driver.get("Name") or ""),
            driver_options=mapping(driver.get("Options")),
            tmpfs_size=number(tmpfs.get("SizeBytes")),
            tmpfs_mode=number(tmpfs.get("Mode")),
            read_only_non_recursive=bool(bind.get("ReadOnlyNonRecursive")),
            read_only_force_recursive=bool(bind.get("ReadOnlyForceRecursive")),
            subpath=str(volume.get("Subpath") or image.get("Subpath") or ""),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the API's members, unset ones left out."""
        value: dict[str, Any] = {"Type": self.type, "Target": self.target}
        if self.source:
            value["Source"] = self.source
        if self.read_only:
            value["ReadOnly"] = True
        options: dict[str, Any] = {}
        if self.type == "bind":
            options = {
                "Propagation": self.propagation,
                "NonRecursive": self.non_recursive,
                "CreateMountpoint": self.create_source,
                "ReadOnlyNonRecursive": self.read_only_non_recursive,
                "ReadOnlyForceRecursive": self.read_only_force_recursive,
            }
            key = "BindOptions"
        elif self.type == "image":
            options = {"Subpath": self.subpath}
            key = "ImageOptions"
        elif self.type == "tmpfs":
            options = {"SizeBytes": self.tmpfs_size, "Mode": self.tmpfs_mode}
            key = "TmpfsOptions"
        else:
            driver = {"Name": self.driver, "Options": dict(self.driver_options)}
            options = {
                "NoCopy": self.no_copy,
                "Labels": dict(self.labels),
                "Subpath": self.subpath,
                "DriverConfig": driver if self.driver or self.driver_options else None,
            }
            key = "VolumeOptions"
        options = {k: v for k, v in options.items() if v}
        return value | {key: options} if options else value


class MountPoint(Value):
    """A resolved mount, in the shape that `docker inspect` shows, with what a start needs beside it.

    `type` is bind, volume, tmpfs or image; `source` a host path, an image's name, "" for tmpfs; `name` the
    volume's. `layers` are the image's chain ids, bottom first. `below` says what a read-only one makes of
    the mounts below it: "" read-only where the kernel can, writable, or readonly (or it fails).
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    recursive: bool = True
    options: tuple[str, ...] = ()  # of a tmpfs
    subpath: str = ""
    layers: tuple[str, ...] = ()
    below: str = ""

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MountPoint:
        """Read what `to_json` wrote."""
        lists = {name: tuple(value.get(name, ())) for name in ("options", "layers")}
        return MountPoint(**{**value, **lists})

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, for the container's record."""
        return {**self.as_dict(), "options": list(self.options), "layers": list(self.layers)}

    def inspect(self) -> dict[str, Any]:
        """Return one entry of `Mounts` as `docker inspect` has it."""
        shown: dict[str, Any] = {"Type": self.type}
        if self.name:
            shown["Name"] = self.name
        shown |= {"Source": self.source, "Destination": self.destination}
        if self.driver:
            shown["Driver"] = self.driver
        return shown | {"Mode": self.mode, "RW": self.rw, "Propagation": self.propagation}
