"""Volumes: named and anonymous folders that outlive containers, filled from the image at first use."""

from __future__ import annotations

import os
import posix
import stat

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.spec import clock, jsontext
from tiffin.spec.value import EMPTY, Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.store.database import Database
    from tiffin.store.layout import Layout
    from tiffin.store.overlay import Stack

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_OPTIONS = ("type", "o", "device")
_TOGETHER = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_RENAMING = "renaming"
REMOVED = "removed"
"""A file beside a volume's data: its record is about to go, or gone. It means nothing next to a record."""


class VolumeRecord(Value):
    """A volume. `created` is RFC 3339; `path` is what containers see."""

    name: str
    created: str
    path: str
    anonymous: bool = False
    labels: Mapping[str, str] = EMPTY
    options: Mapping[str, str] = EMPTY


class Volumes:
    """The volumes of a store: a row and a folder each."""

    def __init__(self, layout: Layout, database: Database, *, durable: bool) -> None:
        """Keep the rows in that database; `durable` makes a named volume survive a power cut at once."""
        self._layout = layout
        self._database = database
        self._durable = durable

    def ensure(
        self,
        name: str,
        *,
        labels: Mapping[str, str] = EMPTY,
        options: Mapping[str, str] = EMPTY,
        anonymous: bool = False,
    ) -> VolumeRecord:
        """Return the volume of that name, made if it is not there (docker's create does the same)."""
        check_name(name)
        check_options(options)
        try:
            found = self.get(name)
        except NotFound:
            pass
        else:
            if os.path.isdir(found.path) or self.take_back(name):
                return found
        row = (name, clock.now(), int(anonymous), jsontext.dumps(dict(labels)), jsontext.dumps(dict(options)))
        durable = self._durable and not anonymous
        try:
            with self._database.durable() if durable else self._database.transaction():
                self._set_removed_aside(name)
                os.makedirs(os.path.dirname(self._layout.volume_data(name)), mode=0o711, exist_ok=True)
                _make_folder(self._layout.volume_data(name))
                self._database.execute("INSERT OR IGNORE INTO volumes VALUES (?, ?, ?, ?, ?)", row)
        except OSError as error:
            raise atomic.storage_error(error, f"create {name}") from error
        return self.get(name)

    def create(
        self, name: str = "", *, labels: Mapping[str, str] = EMPTY, options: Mapping[str, str] = EMPTY
    ) -> VolumeRecord:
        """Make a volume; without a name it gets 64 hex digits and counts as anonymous."""
        chosen = name or posix.urandom(32).hex()
        return self.ensure(chosen, labels=labels, options=options, anonymous=not name)

    def get(self, name: str) -> VolumeRecord:
        """Return a volume; raise NotFound with docker's sentence."""
        row = self._database.one(
            "SELECT name, created, anonymous, labels, options FROM volumes WHERE name=?", (name,)
        )
        if row is None:
            message = f"get {name}: no such volume"
            raise NotFound(message, hint="`tiffin volume ls` shows what there is")
        return self._record(row)

    def list(self) -> tuple[VolumeRecord, ...]:
        """Return every volume by name."""
        rows = self._database.query(
            "SELECT name, created, anonymous, labels, options FROM volumes ORDER BY name"
        )
        return tuple(map(self._record, rows))

    def _record(self, row: tuple[Any, ...]) -> VolumeRecord:
        name, created, anonymous, labels, options = row
        return VolumeRecord(
            name=name,
            created=created,
            path=self._layout.volume_data(name),
            anonymous=bool(anonymous),
            labels=jsontext.loads(labels),
            options=jsontext.loads(options),
        )

    def users(self, name: str) -> tuple[str, ...]:
        """Return the ids of the containers, running or not, that have this volume."""
        rows = self._database.query(
            "SELECT container FROM volume_uses WHERE volume=? ORDER BY container", (name,)
        )
        return tuple(row[0] for row in rows)

    def remove(self, name: str) -> None:
        """Remove a volume and what is in it; raise Conflict while a container has it."""
        folder = os.path.dirname(self._layout.volume_data(name))
        with self._database.removing(durable=self._durable):
            self.get(name)
            self._check_unused(name, "remove")
            self._database.execute("DELETE FROM volumes WHERE name=?", (name,))
            # The folder goes after the row: a kill before the commit must not have lost what is in it,
            # and one after it leaves a folder that gc knows to be nobody's.
            try:
                if os.path.isdir(folder):
                    atomic.write_file(f"{folder}/{REMOVED}", b"")
            except OSError as error:
                raise atomic.storage_error(error, f"remove {name}") from error
        with self._database.transaction():
            aside = self._set_removed_aside(name)
        if aside:
            atomic.delete_tree(aside)

    def _set_removed_aside(self, name: str) -> str:
        """Move the folder of a removed volume to the drafts, in a transaction; return its place, or ""."""
        folder = os.path.dirname(self._layout.volume_data(name))
        if self._database.one("SELECT 1 FROM volumes WHERE name=?", (name,)):
            return ""
        if not os.path.exists(f"{folder}/{REMOVED}"):
            return ""
        aside = f"{self._layout.drafts}/{atomic.owner_tag()}-{posix.urandom(6).hex()}"
        posix.rename(folder, aside)
        return aside

    def remove_if_anonymous(self, name: str) -> bool:
        """Remove an anonymous volume that nobody uses any more; return whether it was removed."""
        try:
            if self.get(name).anonymous and not self.users(name):
                self.remove(name)
                return True
        except (NotFound, Conflict):
            pass  # somebody was faster
        return False

    def usage(self, name: str) -> int:
        """Return the bytes in a volume."""
        return atomic.tree_size(self._layout.volume_data(name))

    def add(
        self,
        name: str,
        *,
        labels: Mapping[str, str] = EMPTY,
        options: Mapping[str, str] = EMPTY,
        anonymous: bool = False,
    ) -> VolumeRecord:
        """Make a volume under a name that must be free; raise Conflict if it is taken."""
        check_name(name)
        with self._database.durable() if self._durable else self._database.transaction():
            self._check_free(name)
            return self.ensure(name, labels=labels, options=options, anonymous=anonymous)

    def rename(self, name: str, new: str) -> None:
        """Give a volume that no container has another name; raise Conflict if it is in use, or that taken."""
        check_name(new)
        old_folder, folder = (os.path.dirname(self._layout.volume_data(n)) for n in (name, new))
        try:
            with self._database.durable() if self._durable else self._database.transaction():
                self.get(name)
                self._check_unused(name, "rename")
                self._check_free(new)
                self._set_removed_aside(new)
                # A kill before the commit leaves the folder under the new name: what it was called is in it.
                atomic.write_file(f"{old_folder}/{_RENAMING}", os.fsencode(name))
                posix.rename(old_folder, folder)
                self._database.execute("UPDATE volumes SET name=?, anonymous=0 WHERE name=?", (new, name))
            atomic.remove_file(f"{folder}/{_RENAMING}")
        except OSError as error:
            raise atomic.storage_error(error, f"rename {name}") from error

    def take_back(self, name: str) -> bool:
        """Give a volume back the folder that a killed rename has moved; return whether there was one."""
        wanted = os.fsencode(name)
        for other in posix.listdir(self._layout.volumes):
            folder = os.path.dirname(self._layout.volume_data(other))
            try:
                with open(f"{folder}/{_RENAMING}", "rb") as stream:
                    found = stream.read() == wanted
            except OSError:
                continue
            with self._database.transaction():
                if found and not self._database.one("SELECT 1 FROM volumes WHERE name=?", (other,)):
                    posix.rename(folder, os.path.dirname(self._layout.volume_data(name)))
                    return True
        return False

    def _check_unused(self, name: str, verb: str) -> None:
        users = self.users(name)
        if users:
            message = f"{verb} {name}: volume is in use - [{', '.join(users)}]"
            raise Conflict(message, hint="remove these containers first")

    def _check_free(self, name: str) -> None:
        if self._database.one("SELECT 1 FROM volumes WHERE name=?", (name,)):
            raise Conflict(f"a volume named {name} already exists", hint="choose another name")

    def populate(self, name: str, stack: Stack, path: str) -> bool:
        """Fill an empty volume with what an image has at `path`: content, owner and mode of the folder too.

        A volume that has anything in it, and a path that is no folder in the image, change nothing.
        Returns whether it was filled. Two containers that start at once fill it once; a killed fill is
        finished or begun again by the next.
        """
        data = self._layout.volume_data(name)
        source = stack.find(path)[1]
        if source is None or not source.is_folder:
            return False
        folder = os.path.dirname(data)
        filling, filled = f"{folder}/filling", f"{folder}/filled"
        with atomic.Lock(f"{folder}/lock"):
            try:
                if not os.path.isdir(filled):
                    if posix.listdir(data):
                        return False
                    from tiffin.store.copyup import copy_tree

                    atomic.delete_tree(filling)
                    posix.mkdir(filling, 0o700)
                    copy_tree(stack, path, filling)
                    posix.rename(filling, filled)
                # Into the folder that containers may have mounted already, not over it.
                for entry in posix.listdir(filled):
                    posix.rename(f"{filled}/{entry}", f"{data}/{entry}")
                info = posix.stat(filled)
                posix.chown(data, info.st_uid, info.st_gid)
                posix.chmod(data, stat.S_IMODE(info.st_mode))
                posix.utime(data, ns=(info.st_atime_ns, info.st_mtime_ns))
                posix.rmdir(filled)
            except OSError as error:
                raise atomic.storage_error(error, f"fill volume {name}") from error
        return True


def _make_folder(path: str) -> None:
    try:
        posix.mkdir(path, 0o755)
        posix.chmod(path, 0o755)
    except FileExistsError:
        return


def check_options(options: Mapping[str, str]) -> None:
    """Raise InvalidArgument with docker's sentence for options that the local driver cannot have."""
    for name in options:
        if name == "size":
            raise InvalidArgument("quota size requested but no quota support")
        if name not in _OPTIONS:
            raise InvalidArgument(f'invalid option: "{name}"', hint=f"known are {', '.join(_OPTIONS)}")
    for name, others in _TOGETHER.items():
        for other in others:
            if name in options and other not in options:
                raise InvalidArgument(f'missing required option: "{other}"')


def check_name(name: str) -> str:
    """Return a volume's name, or raise InvalidArgument with docker's sentence."""
    if len(name) == 1:
        message = "volume name is too short, names should be at least two alphanumeric characters"
        raise InvalidArgument(message)
    if not name or name[0] not in _FIRST or not _REST.issuperset(name) or len(name) > 255:
        message = (
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
        raise InvalidArgument(message)
    return name
