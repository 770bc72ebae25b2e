"""What is mounted into a container: `-v`, `--mount`, VOLUME and `--tmpfs` as one list of mount points."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument
from tiffin.spec.mount import Mount
from tiffin.store.volumes import check_name as check_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.spec.container import ContainerConfig, HostConfig

_PROPAGATIONS = {"shared", "slave", "private", "rshared", "rslave", "rprivate"}
_MODES = {"ro", "rw", "z", "Z", "nocopy", "U", "cached", "delegated", "consistent", "volume-nocopy"}


_TMPFS_VALUES = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}
_TMPFS_FLAGS = {"defaults", "ro", "rw", "suid", "dev", "exec", "atime", "diratime", "relatime", "strictatime"}
_TMPFS_FLAGS |= {"sync", "async", "dirsync", "mand", "nomand", "U", *(f"no{name}" for name in _TMPFS_FLAGS)}


def wanted(config: ContainerConfig, host: HostConfig) -> list[Mount]:
    """Return every mount that is asked for, each destination once.

    `--mount` and `-v` win over the image's VOLUME of the same path; the same destination twice among
    the former is docker's "Duplicate mount point".
    """
    mounts: dict[str, Mount] = {}
    for mount in [parse_bind(text) for text in host.binds] + [check(m) for m in host.mounts]:
        if mount.target in mounts:
            message = f"Duplicate mount point: {mount.target}"
            raise InvalidArgument(message)
        mounts[mount.target] = mount
    for path, options in host.tmpfs.items():
        _check_tmpfs(path, options)
    for path in config.volumes:
        target = _destination(path, path)
        if target not in mounts and target not in host.tmpfs:
            mounts[target] = Mount(type="volume", target=target)
    return list(mounts.values())


def parse_bind(text: str) -> Mount:
    """Parse docker's `-v [SOURCE:]DESTINATION[:OPTIONS]`; raise InvalidArgument with docker's words."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        message = f"invalid volume specification: '{text}'"
        raise InvalidArgument(message, hint="write -v HOST-PATH-OR-VOLUME:CONTAINER-PATH[:ro]")
    if len(parts) == 1:
        return Mount(type="volume", target=_destination(text, text))
    source, target = parts[0], _destination(parts[1], text)
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        if option not in _MODES and option not in _PROPAGATIONS:
            message = f"invalid mode: {parts[2]}"
            raise InvalidArgument(message)
    propagation = next((o for o in options if o in _PROPAGATIONS), "")
    read_only = "ro" in options
    if source.startswith("/"):
        return Mount(
            type="bind",
            source=os.path.normpath(source),
            target=target,
            read_only=read_only,
            propagation=propagation,
            create_source=True,
        )
    check_volume(source)
    return Mount(
        type="volume", source=source, target=target, read_only=read_only, no_copy="nocopy" in options
    )


def check(mount: Mount) -> Mount:
    """Return a `--mount` with its target normalised; raise InvalidArgument if it is wrong."""
    target = _destination(mount.target, mount.target)
    if mount.type == "bind":
        if not mount.source.startswith("/"):
            wrong = f"invalid mount path: '{mount.source}' mount path must be absolute"
            message = f'invalid mount config for type "bind": {wrong}'
            raise InvalidArgument(message)
        if not mount.create_source and not os.path.exists(mount.source):
            message = f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
            raise InvalidArgument(message)
    elif mount.type == "volume":
        if mount.source:
            check_volume(mount.source)
    elif mount.type != "tmpfs":
        message = f'invalid mount config for type "{mount.type}": mount type unknown'
        raise InvalidArgument(message, hint="bind, volume and tmpfs are known")
    return mount.replace(target=target)


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


def _destination(path: str, text: str) -> str:
    if not path.startswith("/"):
        message = f"invalid volume specification: '{text}': invalid mount config: mount path must be absolute"
        raise InvalidArgument(message)
    normal = os.path.normpath(path)
    if normal in {"/", "//"}:
        message = f"invalid volume specification: '{text}': invalid mount config: destination can't be '/'"
        raise InvalidArgument(message)
    return normal


def tmpfs_options(mount: Mount) -> tuple[str, ...]:
    """Return the options of a `--mount type=tmpfs` (docker's defaults: nosuid, nodev, noexec, 1777)."""
    options = ["noexec", "nosuid", "nodev"]
    if mount.read_only:
        options.append("ro")
    if mount.tmpfs_size:
        options.append(f"size={mount.tmpfs_size}")
    options.append(f"mode={mount.tmpfs_mode or 0o1777:o}")
    return tuple(options)
