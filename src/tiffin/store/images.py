"""Images: names and digests to ids, ids to what is needed to run them. An image here is whole.

The id is the digest of the config. A name points to one image; an image that loses its last name to
another stays as a dangling one. What a run needs (the config's bytes, the chain of layers) stands in
the row, so that it costs one query.
"""

from __future__ import annotations

import time

from tiffin.errors import Conflict, Corrupt, InvalidArgument, NotFound
from tiffin.spec import digest as digests
from tiffin.spec import jsontext
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from tiffin.spec.image import ImageConfig
    from tiffin.spec.manifest import Manifest
    from tiffin.store.content import Content
    from tiffin.store.database import Database
    from tiffin.store.layout import Layout

_COLUMNS = "id, manifest, top, platform, created, size, layers, added, last_used, tagged"


class ImageRecord(Value):
    """An image. `top` is what its name meant in the registry: an index or the manifest itself.

    `size` is in bytes, all layers unpacked; `layers` are chain ids, bottom first; `tags` and `digests`
    are canonical (`docker.io/library/x:1`, `docker.io/library/x@sha256:...`); `added`, `last_used`
    and `tagged` (when it last got a tag, 0 for never) are nanoseconds since 1970, `created` is the config's
    own text.
    """

    id: str
    manifest: Descriptor
    top: Descriptor
    platform: Platform
    created: str
    size: int
    layers: tuple[str, ...]
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    added: int = 0
    last_used: int = 0
    tagged: int = 0


class Images:
    """The images of a store."""

    def __init__(
        self, layout: Layout, database: Database, content: Callable[[], Content], *, durable: bool
    ) -> None:
        """Keep them in that database; `durable` says whether a commit waits for the disk."""
        self._layout = layout
        self._database = database
        self._find_content = content
        self._durable = durable

    @property
    def _content(self) -> Content:
        return self._find_content()

    # Finding

    def resolve(self, text: str) -> ImageRecord:
        """Find an image by NAME[:TAG], NAME@DIGEST, id or unique prefix of an id (names win).

        Raises NotFound with docker's sentence, InvalidArgument for what can be no name, and for a
        prefix that several ids have.
        """
        if digests.valid(text) or (len(text) == 64 and _is_hex(text)):
            image = self._by_prefix(digests.hex_of(text) or text)
            if image is None:
                raise no_such_image(text)
            return self.get(image)
        reference = Reference.parse(text).tagged()
        image = self._by_name(reference)
        if image is None:
            image = self._by_prefix(text.removeprefix("sha256:"))
        if image is None:
            raise no_such_image(reference.familiar)
        return self.get(image)

    def _by_name(self, reference: Reference) -> str | None:
        if reference.digest:
            row = self._database.one(
                "SELECT image FROM digests WHERE reference=? ORDER BY added DESC LIMIT 1",
                (f"{reference.name}@{reference.digest}",),
            )
        else:
            row = self._database.one("SELECT image FROM names WHERE name=?", (str(reference),))
        return row[0] if row else None

    def _by_prefix(self, prefix: str) -> str | None:
        if not _is_hex(prefix) or len(prefix) > 64:
            return None
        first = f"sha256:{prefix}"
        rows = self._database.query(
            "SELECT id FROM images WHERE id>=? AND id<? LIMIT 2", (first, f"{first}g")
        )
        if len(rows) > 1:
            message = f"multiple IDs found with provided prefix: {prefix}"
            raise InvalidArgument(message, hint="give more characters of the id")
        return rows[0][0] if rows else None

    def get(self, image_id: str) -> ImageRecord:
        """Return the image of a full id; raise NotFound if it is not here."""
        row = self._database.one(f"SELECT {_COLUMNS} FROM images WHERE id=?", (image_id,))  # noqa: S608 - a constant
        if row is None:
            raise no_such_image(image_id)
        tags = self._database.query("SELECT name FROM names WHERE image=? ORDER BY name", (image_id,))
        named = self._database.query(
            "SELECT reference FROM digests WHERE image=? ORDER BY reference", (image_id,)
        )
        return _record(row, (tag[0] for tag in tags), (name[0] for name in named))

    def list(self) -> tuple[ImageRecord, ...]:
        """Return every image, the latest created first."""
        tags = _grouped(self._database.query("SELECT image, name FROM names ORDER BY name"))
        named = _grouped(self._database.query("SELECT image, reference FROM digests ORDER BY reference"))
        rows = self._database.query(f"SELECT {_COLUMNS} FROM images ORDER BY created DESC, added DESC")  # noqa: S608 - a constant
        return tuple(_record(row, tags.get(row[0], ()), named.get(row[0], ())) for row in rows)

    def config(self, record: ImageRecord) -> ImageConfig:
        """Return an image's config, from its row."""
        row = self._database.one("SELECT config FROM images WHERE id=?", (record.id,))
        if row is None:
            raise no_such_image(record.id)
        from tiffin.spec.image import ImageConfig  # a list of images does not need it

        return ImageConfig.parse(row[0])

    def manifest(self, record: ImageRecord) -> Manifest:
        """Return an image's manifest, verified."""
        from tiffin.spec.manifest import Index, parse

        document = parse(self._content.read(record.manifest.digest), record.manifest.media_type)
        if isinstance(document, Index):
            message = f"image {record.id}: its manifest is an index"
            raise Corrupt(message)
        return document

    def users(self, image_id: str) -> tuple[str, ...]:
        """Return the ids of the containers, running or not, that were made from an image."""
        rows = self._database.query("SELECT id FROM containers WHERE image=?", (image_id,))
        return tuple(row[0] for row in rows)

    # Changing

    def commit(
        self,
        *,
        config: ImageConfig,
        manifest: Descriptor,
        top: Descriptor,
        size: int,
        tags: Sequence[Reference] = (),
        digests: Sequence[Reference] = (),
    ) -> ImageRecord:
        """Make an image of what the store has already: its layers, its manifest (and config).

        When this returns, the image survives a power cut: all it consists of is synced first, then
        one transaction (synchronous=FULL) names it. The image that had one of the tags loses it. The
        same config again keeps its id and gets the new manifest. Raises NotFound if a part is missing.
        """
        image_id = self._content.put_bytes(config.raw, manifest.media_type).digest
        layers = _chain(config)
        unsynced = self._unsynced()
        if self._durable:
            # Layers and blobs have their final names but are believed only once their rows say
            # "synced"; this one sync makes their bytes and their names durable.
            atomic.syncfs(self._layout.root)
        now = time.time_ns()
        row = (
            *(image_id, config.raw, jsontext.dumps(manifest.to_json()), jsontext.dumps(top.to_json())),
            *(str(config.platform), config.created, size, "\n".join(layers), now, now, 0),
        )
        with self._database.durable() if self._durable else self._database.transaction():
            self._check_whole(image_id, manifest, layers)
            for table, key, values in unsynced:
                self._database.execute_many(
                    f"UPDATE {table} SET synced=1 WHERE {key}=?",  # noqa: S608 - constants
                    values,
                )
            self._database.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "manifest=excluded.manifest, top=excluded.top, size=excluded.size, "
                "last_used=excluded.last_used",
                row,
            )
            for reference in tags:
                self._name(reference, image_id)
            for reference in digests:
                self._add_digest(reference, image_id)
            return self.get(image_id)

    def _unsynced(self) -> tuple[tuple[str, str, Sequence[Any]], ...]:
        """Return what has a row already: all of it is covered by a sync that begins now."""
        return (
            ("blobs", "digest", self._database.query("SELECT digest FROM blobs WHERE synced=0")),
            ("layers", "chain_id", self._database.query("SELECT chain_id FROM layers WHERE synced=0")),
        )

    def _check_whole(self, image_id: str, manifest: Descriptor, layers: Sequence[str]) -> None:
        for digest in (image_id, manifest.digest):
            if not self._content.has(digest):
                message = f"commit image: content {digest} not found"
                raise NotFound(message)
        for chain_id in layers:
            if self._database.one("SELECT 1 FROM layers WHERE chain_id=?", (chain_id,)) is None:
                message = f"commit image: layer {chain_id} not found"
                raise NotFound(message)

    def tag(self, image_id: str, reference: Reference) -> str:
        """Give an image a name (default tag `latest`); return the id that had it before, or ""."""
        if reference.digest:
            message = "refusing to create a tag with a digest reference"
            raise InvalidArgument(message)
        with self._changing():
            if self._database.one("SELECT 1 FROM images WHERE id=?", (image_id,)) is None:
                raise no_such_image(image_id)
            return self._name(reference.tagged(), image_id)

    def _name(self, reference: Reference, image_id: str) -> str:
        name = str(reference.tagged())
        row = self._database.one("SELECT image FROM names WHERE name=?", (name,))
        self._database.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (name, image_id))
        self._database.execute("UPDATE images SET tagged=? WHERE id=?", (time.time_ns(), image_id))
        return row[0] if row and row[0] != image_id else ""

    def add_digest(self, image_id: str, reference: Reference) -> None:
        """Note under which digest a repository has this image (`RepoDigests`)."""
        with self._changing():
            self._add_digest(reference, image_id)

    def _add_digest(self, reference: Reference, image_id: str) -> None:
        if not reference.digest:
            message = f"{reference} has no digest"
            raise InvalidArgument(message)
        name = f"{reference.name}@{reference.digest}"
        self._database.execute(
            "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (name, image_id, time.time_ns())
        )

    def untag(self, reference: Reference) -> str:
        """Take away a name or a NAME@DIGEST; return the image's id, which may be nameless now."""
        with self._database.removing(durable=self._durable):
            image = self._by_name(reference.tagged())
            if image is None:
                raise no_such_image(reference.tagged().familiar)
            if reference.digest:
                name = f"{reference.name}@{reference.digest}"
                self._database.execute("DELETE FROM digests WHERE reference=? AND image=?", (name, image))
            else:
                self._database.execute("DELETE FROM names WHERE name=?", (str(reference.tagged()),))
            return image

    def remove(self, image_id: str, *, force: bool = False) -> ImageRecord:
        """Forget an image and its names; its layers and blobs go with the next sweep of gc.

        Raises Conflict if containers were made from it, unless `force`. (They go on working: what they
        consist of is kept for them.)
        """
        with self._database.removing(durable=self._durable):
            return self._remove(image_id, force=force)

    def _remove(self, image_id: str, *, force: bool) -> ImageRecord:
        record = self.get(image_id)
        users = self.users(image_id)
        if users and not force:
            message = (
                f"conflict: unable to delete {digests.short(image_id)} (must be forced) - "
                f"image is being used by stopped container {users[0][:12]}"
            )
            raise Conflict(message, hint=f"remove it first: tiffin rm {users[0][:12]}")
        self._database.execute("DELETE FROM names WHERE image=?", (image_id,))
        self._database.execute("DELETE FROM digests WHERE image=?", (image_id,))
        self._database.execute("DELETE FROM images WHERE id=?", (image_id,))
        return record

    def remove_if(self, image_id: str, still: Callable[[ImageRecord], bool]) -> ImageRecord:
        """Forget an image that no container uses and that `still` is as it was; else raise Conflict."""
        with self._database.removing(durable=self._durable):
            if not still(self.get(image_id)):
                message = f"image {digests.short(image_id)} was used or named meanwhile"
                raise Conflict(message)
            return self._remove(image_id, force=False)

    def touch(self, image_id: str) -> None:
        """Note that an image is used now."""
        self._database.execute("UPDATE images SET last_used=? WHERE id=?", (time.time_ns(), image_id))

    def _changing(self) -> Any:
        return self._database.durable() if self._durable else self._database.transaction()


def no_such_image(name: str) -> NotFound:
    """Return docker's error for a name or id that is not here."""
    return NotFound(
        f"No such image: {name}", hint="`tiffin images` shows what is here, `tiffin pull` fetches"
    )


def _chain(config: ImageConfig) -> tuple[str, ...]:
    return digests.chain_ids(config.diff_ids)


def _is_hex(text: str) -> bool:
    return bool(text) and frozenset("0123456789abcdef").issuperset(text)


def _grouped(pairs: Iterable[tuple[Any, ...]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _record(row: tuple[Any, ...], tags: Iterable[str], named: Iterable[str]) -> ImageRecord:
    image_id, manifest, top, platform, created, size, layers, added, last_used, tagged = row
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    pointer = Descriptor.from_json(jsontext.loads(manifest))
    return ImageRecord(
        id=image_id,
        manifest=pointer,
        top=pointer if top == manifest else Descriptor.from_json(jsontext.loads(top)),
        platform=Platform(os=os, architecture=architecture, variant=variant),
        created=created,
        size=size,
        layers=tuple(layers.split("\n")) if layers else (),
        tags=tuple(tags),
        digests=tuple(named),
        added=added,
        last_used=last_used,
        tagged=tagged,
    )
