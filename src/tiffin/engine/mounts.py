"""What is mounted into a container: `-v`, `--mount`, VOLUME and `--tmpfs` as one list of mount points."""

from __future__ import annotations

import os

from tiffin.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tiffin.runtime.specgen import Bind, Tmpfs
from tiffin.spec.mount import Mount, MountPoint
from tiffin.spec.value import EMPTY, Value
from tiffin.store.volumes import check_name as check_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tiffin.engine.engine import Engine
    from tiffin.runtime.specgen import FileSystem
    from tiffin.spec.container import ContainerConfig, HostConfig
    from tiffin.store.containers import ContainerRecord

PROPAGATIONS = {"shared", "slave", "private", "rshared", "rslave", "rprivate"}
_MODES = {"ro", "rw", "z", "Z", "nocopy", "U", "cached", "delegated", "consistent", "volume-nocopy"}


_TYPES = ("bind", "volume", "tmpfs", "image")
_SELINUX = "/sys/fs/selinux/enforce"
_TMPFS_VALUES = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}
_TMPFS_FLAGS = {"defaults", "ro", "rw", "suid", "dev", "exec", "atime", "diratime", "relatime", "strictatime"}
_TMPFS_FLAGS |= {"sync", "async", "dirsync", "mand", "nomand", "U", *(f"no{name}" for name in _TMPFS_FLAGS)}


class Mounted(Value):
    """What the runtime mounts for the user, and what the keeper mounts before it (see keeper.premount)."""

    mounts: tuple[Bind | Tmpfs | FileSystem, ...]
    before: tuple[tuple[str, ...], ...] = ()


def inherited(engine: Engine, host: HostConfig) -> Mapping[str, MountPoint]:
    """Return by destination what `--volumes-from` brings; raise NotFound for a container that is not here."""
    found: Mapping[str, MountPoint] = EMPTY
    if host.volumes_from:
        from tiffin.engine import rare_mounts

        found = rare_mounts.of_others(engine.store, host.volumes_from)
    return found


def left(inherited: Mapping[str, MountPoint], wanted: Iterable[Mount]) -> list[MountPoint]:
    """Return what is inherited and not mounted over."""
    targets = {mount.target for mount in wanted}
    return [point for target, point in inherited.items() if target not in targets]


def wanted(
    config: ContainerConfig, host: HostConfig, inherited: Mapping[str, MountPoint] = EMPTY
) -> list[Mount]:
    """Return every mount that is asked for, each destination once.

    `--mount` and `-v` win over the image's VOLUME of the same path, and so does what is inherited; the same
    destination twice among the former is docker's "Duplicate mount point".
    """
    mounts: dict[str, Mount] = {}
    binds = [parse_bind(text).replace(driver=host.volume_driver) for text in host.binds]
    for mount in binds + [check(m) for m in host.mounts]:
        if mount.target in mounts:
            message = f"Duplicate mount point: {mount.target}"
            raise InvalidArgument(message)
        mounts[mount.target] = mount
    for path, options in host.tmpfs.items():
        _check_tmpfs(path, options)
    for path in config.volumes:
        target = _destination(path, path)
        if target not in mounts and target not in host.tmpfs and target not in inherited:
            mounts[target] = Mount(type="volume", target=target, driver=host.volume_driver)
    return list(mounts.values())


def parse_bind(text: str) -> Mount:
    """Parse docker's `-v [SOURCE:]DESTINATION[:OPTIONS]`; raise InvalidArgument with docker's words."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        message = f"invalid volume specification: '{text}'"
        raise InvalidArgument(message, hint="write -v HOST-PATH-OR-VOLUME:CONTAINER-PATH[:ro]")
    if len(parts) == 1:
        return Mount(type="volume", target=_destination(text, text))
    is_path = parts[0].startswith("/")
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        if option not in _MODES and option not in PROPAGATIONS:
            message = f"invalid mode: {parts[2]}"
            raise InvalidArgument(message)
    source, target = parts[0], _destination(parts[1], text, "bind" if is_path else "volume")
    propagation = next((o for o in options if o in PROPAGATIONS), "")
    if {"z", "Z"} & set(options) and os.path.exists(_SELINUX):
        message = f"{text}: z and Z are not built for hosts with SELinux"
        raise Unsupported(message, hint="label the folder: chcon -R -t container_file_t FOLDER")
    return Mount(
        type="bind" if is_path else "volume",
        source=os.path.normpath(source) if is_path else check_volume(source),
        target=target,
        read_only="ro" in options,
        propagation=propagation,
        create_source=is_path,
        no_copy="nocopy" in options,
        mode=",".join(options),
        chown="U" in options,
    )


def check(mount: Mount) -> Mount:
    """Return a `--mount` with its target normalised; raise InvalidArgument if it is wrong."""
    wrong = _wrong_target(mount) or _wrong_source(mount)
    if mount.type not in _TYPES:
        wrong = "mount type unknown"
    if wrong:
        message = f'invalid mount config for type "{mount.type}": {wrong}'
        raise InvalidArgument(message, hint=f"the types are {', '.join(_TYPES)}")
    if mount.type == "volume" and mount.source:
        check_volume(mount.source)
    return mount.replace(target=os.path.normpath(mount.target))


def _wrong_target(mount: Mount) -> str:
    if not mount.target:
        return "field Target must not be empty"
    if not mount.target.startswith("/"):
        return f"invalid mount path: '{mount.target}' mount path must be absolute"
    if os.path.normpath(mount.target) in {"/", "//"}:
        return "invalid specification: destination can't be '/'"
    return ""


def _wrong_source(mount: Mount) -> str:
    """Return docker's words for a source that this type of mount cannot have, "" for none."""
    wrong = ""
    if mount.type == "tmpfs":
        wrong = "field Source must not be specified" if mount.source else ""
    elif mount.type == "volume" and not mount.source:
        if mount.read_only:
            wrong = "must not set ReadOnly mode when using anonymous volumes"
        elif mount.subpath:
            wrong = "must not set Subpath when using anonymous volumes"
    elif not mount.source:
        wrong = "field Source must not be empty"
    elif mount.subpath and not _is_below(mount.subpath):
        wrong = f"subpath must be a relative path within the {mount.type}"
    elif mount.type == "bind" and not mount.source.startswith("/"):
        wrong = f"invalid mount path: '{mount.source}' mount path must be absolute"
    elif mount.type == "bind" and not mount.create_source and not os.path.exists(mount.source):
        wrong = f"bind source path does not exist: {mount.source}"
    return wrong


def _is_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _check_tmpfs(path: str, options: str) -> None:
    """Raise InvalidArgument for a `--tmpfs PATH:OPTIONS` that the kernel would refuse less clearly."""
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    if os.path.normpath(path) in {"/", "//"}:
        raise InvalidArgument("invalid specification: destination can't be '/'")
    for option in filter(None, options.split(",")):
        name, equals, _ = option.partition("=")
        if name not in (_TMPFS_VALUES if equals else _TMPFS_FLAGS):
            raise InvalidArgument(f'invalid tmpfs option "{option}"', hint="for example size=64m,mode=1777")


def _destination(path: str, text: str, kind: str = "volume") -> str:
    wrong = _wrong_target(Mount(type=kind, target=path))
    if wrong:
        message = f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {wrong}"
        raise InvalidArgument(message)
    return os.path.normpath(path)


def tmpfs_options(mount: Mount) -> tuple[str, ...]:
    """Return the options of a `--mount type=tmpfs` (docker's defaults: nosuid, nodev, noexec, 1777)."""
    options = ["noexec", "nosuid", "nodev"]
    if mount.read_only:
        options.append("ro")
    if mount.tmpfs_size:
        options.append(f"size={mount.tmpfs_size}")
    options.append(f"mode={mount.tmpfs_mode or 0o1777:o}")
    return tuple(options)


def resolve(engine: Engine, mount: Mount) -> MountPoint:
    """Turn a wished mount into a mount point; volumes get their name and place, not yet their folder."""
    if mount.type == "tmpfs":
        return MountPoint(
            type="tmpfs",
            destination=mount.target,
            rw=not mount.read_only,
            options=tmpfs_options(mount),
        )
    if mount.type == "bind":
        below = {"writable": mount.read_only_non_recursive, "readonly": mount.read_only_force_recursive}
        return MountPoint(
            type="bind",
            source=mount.source,
            destination=mount.target,
            mode=mount.mode,
            rw=not mount.read_only,
            propagation=mount.propagation or "rprivate",
            recursive=not mount.non_recursive,
            below=next((word for word, said in below.items() if said), ""),
        )
    if mount.type == "image":
        from tiffin.engine import rare_mounts

        return rare_mounts.image_point(engine, mount)
    if mount.driver not in {"", "local"}:
        wanted = f'plugin "{mount.driver}" not found'
        message = f"create {mount.source}: error looking up volume plugin {mount.driver}: {wanted}"
        raise NotFound(message, hint="only the local driver exists")
    name = mount.source or os.urandom(32).hex()
    return MountPoint(
        type="volume",
        name=name,
        source=engine.store.layout.volume_data(name),
        destination=mount.target,
        driver="local",
        mode=mount.mode or ("z" if mount.source else ""),
        rw=not mount.read_only,
        subpath=mount.subpath,
    )


def fill(engine: Engine, record: ContainerRecord, wanted: list[Mount], points: Sequence[MountPoint]) -> None:
    """Make the folders of volumes, filled from the image where they are new and empty, and those of `-v`."""
    for mount, point in zip(wanted, points, strict=False):  # what is inherited comes after these
        if point.type == "volume":
            _fill_volume(engine, record, mount, point)
        elif point.type == "bind" and mount.create_source:
            try:
                os.makedirs(point.source, exist_ok=True) if not os.path.lexists(point.source) else None
            except OSError as error:
                message = f"error while creating mount source path '{point.source}': {error.strerror}"
                raise Conflict(message) from error
        if mount.chown:
            from tiffin.engine import rare_mounts

            rare_mounts.give(engine, record, point)


def _fill_volume(engine: Engine, record: ContainerRecord, mount: Mount, point: MountPoint) -> None:
    volumes = engine.store.volumes
    options = mount.driver_options
    volume = volumes.ensure(point.name, labels=mount.labels, options=options, anonymous=not mount.source)
    if mount.no_copy or point.subpath:
        return
    stack = engine.store.stack(record.layers)
    if volume.options:
        from tiffin.engine import rare_mounts

        rare_mounts.fill_device(volume, stack, point.destination)
    else:
        volumes.populate(point.name, stack, point.destination)


def mounted(engine: Engine, record: ContainerRecord) -> Mounted:
    """Return what is mounted for the user; raise InvalidArgument for a source that is not there."""
    found: list[Bind | Tmpfs | FileSystem] = []
    before: list[tuple[str, ...]] = []
    for value in record.mounts:
        point = MountPoint.from_json(value)
        if point.type == "tmpfs":
            found.append(Tmpfs(target=point.destination, options=point.options))
            continue
        volume = engine.store.volumes.ensure(point.name) if point.type == "volume" else None
        alone = not (point.recursive or os.path.isfile(point.source))
        if alone or point.layers or point.subpath or (volume and volume.options):
            from tiffin.engine import rare_mounts

            place = f"{engine.store.layout.container(record.id)}/mounts/{len(found)}"
            mount, first = rare_mounts.mounted(engine, point, volume, place)
            found.append(mount)
            before += first
            continue
        if not volume and not os.path.lexists(point.source):
            message = f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
            raise InvalidArgument(message)
        found.append(bind(point, point.source))
    return Mounted(mounts=tuple(found), before=tuple(before))


def bind(point: MountPoint, source: str, *, folder: bool | None = None) -> Bind:
    """Return the bind mount of a mount point; `folder` says what the source is that is not there yet."""
    return Bind(
        source=source,
        target=point.destination,
        read_only=not point.rw,
        # A file has no mounts below it, and crun refuses "recursively read-only" for one.
        recursive=point.recursive and (os.path.isdir(source) if folder is None else folder),
        propagation=point.propagation,
        below=point.below,
    )
