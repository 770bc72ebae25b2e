"""cp: files between a container and this host, by docker's rules for what a path at either end means."""

from __future__ import annotations

import os
import sys

from tiffin.cli.command import DONE, Command
from tiffin.errors import InvalidArgument, NotFound
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.containers import Containers
    from tiffin.engine.copy import Outgoing, PathStat

_LINKS = 10
_UNITS = ("B", "kB", "MB", "GB", "TB")


class _Target(Value):
    """Where an archive goes: the folder it is unpacked in, and the name that its first one becomes."""

    folder: str
    name: str = ""


def copy(parsed: Parsed, session: Session) -> int:
    """Copy one way or the other."""
    source, target = parsed.arguments
    if not source:
        raise InvalidArgument("source can not be empty")
    if not target:
        raise InvalidArgument("destination can not be empty")
    (giver, source), (taker, target) = _split(source), _split(target)
    if giver and taker:
        raise InvalidArgument("copying between containers is not supported")
    if not giver and not taker:
        raise InvalidArgument("must specify at least one container source")
    quiet = parsed.flag("quiet") if parsed.given("quiet") else not os.isatty(1)
    if giver:
        size, where = _out(parsed, session, giver, source, target)
    else:
        size, where = _into(parsed, session, taker, source, target)
    if not quiet and "-" not in {source, target}:
        sys.stderr.write(f"Successfully copied {_amount(size)} to {where}\n")
    return 0


def _split(word: str) -> tuple[str, str]:
    """Return (container, path); container "" for a path of this host, which may have a colon too."""
    container, colon, path = word.partition(":")
    if word.startswith("/") or not colon or container.startswith("."):
        return "", word
    return container, path


def _amount(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g}{_UNITS[unit]}"


# --- out of a container -------------------------------------------------------------------------


def _out(parsed: Parsed, session: Session, container: str, source: str, target: str) -> tuple[int, str]:
    to_stdout = target == "-"
    if to_stdout and os.isatty(1):
        raise InvalidArgument("cowardly refusing to copy to a terminal, redirect the output instead")
    if not to_stdout:
        _check_output(target)
    containers = session.engine.containers
    with containers.copy_out(container, source, follow=parsed.flag("follow-link"), pattern=True) as outgoing:
        if to_stdout:
            while data := outgoing.read():
                sys.stdout.buffer.write(data)
            outgoing.finish()
            return 0, "-"
        chosen = _local_target(outgoing, target)
        from tiffin.engine.copy import unpack_at_home

        size = unpack_at_home(
            session.engine,
            chosen.folder,
            outgoing,
            rename=(outgoing.top, chosen.name) if chosen.name else None,
            owners=parsed.flag("archive"),
        )
    return size, target


def _check_output(path: str) -> None:
    """Refuse what docker refuses before it asks the container."""
    folder = os.path.dirname(os.path.normpath(path))
    if folder and not os.path.exists(folder):
        raise InvalidArgument(f'invalid output path: directory "{folder}" does not exist')
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        what = f'invalid output path: "{path}" must be a directory or a regular file'
        raise InvalidArgument(f"{what}: got a device")


def _local_target(outgoing: Outgoing, target: str) -> _Target:
    path = _where(_absolute(target))
    there = os.path.isdir(path)
    if outgoing.matches and not there:
        raise InvalidArgument(
            f'destination "{target}" must be a directory', hint="a pattern is copied into one"
        )
    return _placed(path, exists=os.path.lexists(path), folder=there, source_folder=outgoing.stat.is_folder)


def _absolute(path: str) -> str:
    """Return an absolute path that ends as it was written: with `/`, with `/.`, or neither."""
    clean = os.path.abspath(path)
    if os.path.basename(path) == ".":
        return f"{clean.rstrip('/')}/."
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def _where(path: str) -> str:
    """Follow the links at the end of a path, also to what is not there yet."""
    here = path
    for _ in range(_LINKS + 1):
        if not os.path.islink(here):
            break
        here = os.path.join(os.path.dirname(here), os.readlink(here))
    else:
        raise InvalidArgument(f"too many symlinks in {path}")
    if not os.path.lexists(here):
        parent = _entry(here)[0]
        if not os.path.isdir(parent):
            reason = "not a directory" if os.path.lexists(parent) else "no such file or directory"
            raise NotFound(f"stat {parent}: {reason}")
    return here


def _entry(path: str) -> tuple[str, str]:
    """Return (folder, last part) of a path; the last part of one that ends with `/.` is the dot."""
    if os.path.basename(path) == ".":
        return os.path.normpath(path), "."
    clean = os.path.normpath(path)
    return os.path.dirname(clean), os.path.basename(clean)


def _placed(path: str, *, exists: bool, folder: bool, source_folder: bool) -> _Target:
    """Return where an archive is to be unpacked so that it ends up at `path`."""
    if exists and folder:
        return _Target(folder=path)
    if exists and source_folder:
        raise InvalidArgument("cannot copy directory")
    if not exists and not source_folder and (path.endswith("/") or os.path.basename(path) == "."):
        raise InvalidArgument("no such directory")
    parent, name = _entry(path)
    return _Target(folder=parent, name=name)


# --- into a container ---------------------------------------------------------------------------


def _into(parsed: Parsed, session: Session, container: str, source: str, target: str) -> tuple[int, str]:
    containers = session.engine.containers
    containers.get(container)
    path, found = _there(containers, container, target)
    where = f"{container}:{target}"
    if source == "-":
        if not found or not found.is_folder:
            raise InvalidArgument(f'destination "{where}" must be a directory')
        return containers.copy_into(container, path, sys.stdin.buffer), where
    from tiffin.engine.copy import absolute
    from tiffin.layer.pack import Packer

    real, name = _local_source(_absolute(source), follow=parsed.flag("follow-link"))
    chosen = _placed(
        absolute(path),
        exists=found is not None,
        folder=found is not None and found.is_folder,
        source_folder=os.path.isdir(real) and not os.path.islink(real),
    )

    def produce(write: object) -> None:
        packer = Packer(write)  # type: ignore[arg-type]
        packer.add(os.fsencode(real), os.fsencode(chosen.name or name))
        packer.finish()

    owner = None if parsed.flag("archive") else (0, 0)
    return containers.copy_into(container, chosen.folder, produce, owner=owner), where


def _there(containers: Containers, container: str, target: str) -> tuple[str, PathStat | None]:
    """Return where a path of a container leads, and what is there if anything is."""
    try:
        found = containers.stat_path(container, target)
        if found.is_link:
            target = found.link_target
            found = containers.stat_path(container, target)
    except NotFound:
        return target, None
    if not found.is_folder and found.mode & ~0o777 & ~(7 << 20):
        message = f'destination "{container}:{target}" must be a directory or a regular file'
        raise InvalidArgument(f"{message}: got a device")
    return target, found


def _local_source(path: str, *, follow: bool) -> tuple[str, str]:
    """Return what is copied, and the name that it is copied as."""
    name = _entry(path)[1] or "."
    if follow:
        end = "/." if name == "." else ""
        path = os.path.realpath(path) + end
    try:
        os.lstat(path)
    except OSError as error:
        raise NotFound(f"lstat {path}: {(error.strerror or '').lower()}") from error
    return path, name


CP = Command(
    spellings=("container cp", "cp"),
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\ttiffin cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    short="Copy files/folders between a container and the local filesystem",
    long=(
        "Copy files/folders between a container and the local filesystem\n"
        "\n"
        "Use '-' as the source to read a tar archive from stdin\n"
        "and extract it to a directory destination in a container.\n"
        "Use '-' as the destination to stream a tar archive of a\n"
        "container source to stdout."
    ),
    minimum=2,
    maximum=2,
    flags=(
        ("archive", "a", "bool", "Archive mode (copy all uid/gid information)", "", DONE),
        ("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH", "", DONE),
        (
            "quiet",
            "q",
            "bool",
            (
                "Suppress progress output during copy. Progress output is automatically suppressed if no "
                "terminal is attached"
            ),
            "",
            DONE,
        ),
    ),
    handler=copy,
)
