"""What the registry knows: which repository has which blobs, manifests and tags.

Bytes lie once in the content store; a repository has links to them. A blob whose last link goes, goes.
The tables are the box's own, in the `state.db` of its own root.
"""

from __future__ import annotations

import time

from tiffin.errors import Unavailable, Unsupported
from tiffin.spec import jsontext
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from tiffin.store.store import Store

_VERSION = "2"
# `linked` is when a blob was last pushed, mounted or asked for (ns): a push in flight is younger than that;
# box_names says what each manifest names. `referrer` is the descriptor that the referrers API lists, as JSON;
# `subject` is "" where there is none.
_TABLES = """
CREATE TABLE IF NOT EXISTS box_blobs (
    repository TEXT NOT NULL, digest TEXT NOT NULL, linked INTEGER NOT NULL, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_blobs_by_digest ON box_blobs (digest);
CREATE TABLE IF NOT EXISTS box_names (
    repository TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, digest, manifest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_names_by_manifest ON box_names (repository, manifest);
CREATE TABLE IF NOT EXISTS box_manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    subject TEXT NOT NULL, referrer TEXT NOT NULL, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_manifests_by_digest ON box_manifests (digest);
CREATE INDEX IF NOT EXISTS box_manifests_by_subject ON box_manifests (repository, subject);
CREATE TABLE IF NOT EXISTS box_tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_tags_by_digest ON box_tags (repository, digest)
"""
_NO_LIMIT = -1
_NOTED_NS = 3600 * 10**9
"""What was wanted within this time need not be noted again."""
_NAMING = ("layers", "blobs", "manifests")


class Kept(Value):
    """A manifest that a repository has."""

    digest: str
    media_type: str
    size: int


class Catalogue:
    """The repositories of one registry. Every change is one transaction."""

    def __init__(self, store: Store) -> None:
        """Read and write the store's database, making the tables where they are missing."""
        self._content = store.content
        self._database = store.database
        self._durable = store.settings.durable
        with self._database.transaction():
            row = self._database.one("SELECT value FROM meta WHERE key='box'")
            version = row[0] if row else _VERSION
            if version not in {"1", _VERSION}:
                raise Unsupported(f"{store.layout.root} was made by a newer tiffin (box {version})")
            if version == "1":
                self._database.execute("ALTER TABLE box_blobs ADD COLUMN linked INTEGER NOT NULL DEFAULT 0")
            for statement in _TABLES.split(";"):
                self._database.execute(statement)
            if version == "1":
                self._database.execute("UPDATE box_blobs SET linked=?", (time.time_ns(),))
                for name, digest in self._database.query("SELECT repository, digest FROM box_manifests"):
                    self._note_names(name, digest, named(self._content.read(digest)))
            self._database.execute("INSERT OR REPLACE INTO meta VALUES ('box', ?)", (_VERSION,))

    # Asking

    def has_repository(self, name: str) -> bool:
        """Tell whether anything was ever pushed to a repository and is still there."""
        for table in ("box_blobs", "box_manifests"):
            if self._database.one(f"SELECT 1 FROM {table} WHERE repository=? LIMIT 1", (name,)):  # noqa: S608
                return True
        return False

    def blob_size(self, name: str, digest: str) -> int | None:
        """Return a blob's size; None where the repository does not have it, or its bytes are gone."""
        row = self._database.one(
            "SELECT size FROM box_blobs JOIN blobs USING (digest) WHERE repository=? AND digest=?",
            (name, digest),
        )
        return int(row[0]) if row and self._content.has(digest, row[0]) else None

    def manifest(self, name: str, reference: str) -> Kept | None:
        """Return what a tag or a digest names in a repository, or None."""
        digest = reference
        if ":" not in reference:
            row = self._database.one(
                "SELECT digest FROM box_tags WHERE repository=? AND tag=?", (name, reference)
            )
            digest = row[0] if row else ""
        row = self._database.one(
            "SELECT digest, media_type, size FROM box_manifests WHERE repository=? AND digest=?",
            (name, digest),
        )
        if row is None or not self._content.has(row[0], row[2]):
            return None
        return Kept(digest=row[0], media_type=row[1], size=row[2])

    def tags(self, name: str, *, after: str, count: int | None) -> list[str]:
        """Return tags in byte order behind `after`, at most `count`."""
        limit = _NO_LIMIT if count is None else count
        rows = self._database.query(
            "SELECT tag FROM box_tags WHERE repository=? AND tag>? ORDER BY tag LIMIT ?", (name, after, limit)
        )
        return [row[0] for row in rows]

    def repositories(self, *, after: str, count: int | None) -> list[str]:
        """Return the names of repositories in byte order behind `after`, at most `count`."""
        limit = _NO_LIMIT if count is None else count
        rows = self._database.query(
            "SELECT repository FROM box_manifests WHERE repository>? "
            "UNION SELECT repository FROM box_blobs WHERE repository>? ORDER BY 1 LIMIT ?",
            (after, after, limit),
        )
        return [row[0] for row in rows]

    def referrers(self, name: str, subject: str) -> list[dict[str, Any]]:
        """Return the descriptors of manifests whose subject has that digest, in the order of digests."""
        rows = self._database.query(
            "SELECT referrer FROM box_manifests WHERE repository=? AND subject=? ORDER BY digest",
            (name, subject),
        )
        return [jsontext.load_object(row[0]) for row in rows]

    # Changing

    def link_blob(self, name: str, digest: str) -> None:
        """Give a repository a blob that the content store has; joins a transaction that is open."""
        self._database.execute(
            "INSERT OR REPLACE INTO box_blobs VALUES (?, ?, ?)", (name, digest, time.time_ns())
        )

    def want(self, name: str, digest: str) -> None:
        """Note that a client counts on a blob being here: it sends a manifest that names it, not the blob."""
        where, now = (name, digest), time.time_ns()
        row = self._database.one("SELECT linked FROM box_blobs WHERE repository=? AND digest=?", where)
        if row and row[0] < now - _NOTED_NS:
            self._database.execute(
                "UPDATE box_blobs SET linked=? WHERE repository=? AND digest=?", (now, *where)
            )

    def mount(self, name: str, digest: str, source: str) -> bool:
        """Give a repository a blob that another has ("" = any); return whether that one has it."""
        with self._database.transaction():
            row = self._database.one(
                "SELECT repository FROM box_blobs WHERE digest=? AND (repository=? OR ?='') LIMIT 1",
                (digest, source, source),
            )
            if row is None or self.blob_size(row[0], digest) is None:
                return False
            self.link_blob(name, digest)
            return True

    def put_manifest(
        self,
        name: str,
        kept: Kept,
        *,
        needed: Sequence[str],
        tags: list[str],
        subject: str,
        referrer: dict[str, Any],
    ) -> None:
        """Give a repository a manifest whose bytes the content store has, and names for it.

        `needed` are the digests that it names. Raises Unavailable if one was deleted a moment ago.

        When this returns, the manifest and every blob so far survive a power cut.
        """
        row = (name, kept.digest, kept.media_type, kept.size, subject, jsontext.dumps(referrer))

        def link() -> None:
            if not self._content.has(kept.digest, kept.size):  # deleted elsewhere a moment ago
                raise Unavailable(f"manifest {kept.digest} was deleted meanwhile")
            for digest in needed:
                if not self._has(name, digest):
                    raise Unavailable(f"{digest} was deleted meanwhile")
            self._note_names(name, kept.digest, needed)
            self._database.execute("INSERT OR REPLACE INTO box_manifests VALUES (?, ?, ?, ?, ?, ?)", row)
            self._database.execute_many(
                "INSERT OR REPLACE INTO box_tags VALUES (?, ?, ?)", [(name, tag, kept.digest) for tag in tags]
            )

        self._content.settle(link, durable=self._durable)

    def _has(self, name: str, digest: str) -> bool:
        return any(
            self._database.one(f"SELECT 1 FROM {table} WHERE repository=? AND digest=?", (name, digest))  # noqa: S608
            for table in ("box_blobs", "box_manifests")
        )

    def missing(self, name: str, manifest: str) -> list[str]:
        """Return the digests that a manifest names and that are not here for its repository."""
        rows = self._database.query(
            "SELECT digest FROM box_names WHERE repository=? AND manifest=?", (name, manifest)
        )
        return [
            digest
            for (digest,) in rows
            if self.blob_size(name, digest) is None and self.manifest(name, digest) is None
        ]

    def _note_names(self, name: str, manifest: str, digests: Iterable[str]) -> None:
        rows = [(name, manifest, digest) for digest in digests]
        self._database.execute_many("INSERT OR IGNORE INTO box_names VALUES (?, ?, ?)", rows)

    def collect(self, before: int) -> int:
        """Take away blobs that no manifest of their repository names, and that nobody wanted since a moment.

        The moment (ns) keeps a push in flight safe: its blobs come, or are asked for, before its manifest.
        Returns how many links went; bytes go with the last.
        """
        with self._database.removing():
            unnamed = self._database.query(
                "SELECT repository, digest FROM box_blobs WHERE linked<? AND NOT EXISTS "
                "(SELECT 1 FROM box_names WHERE box_names.repository=box_blobs.repository "
                "AND box_names.digest=box_blobs.digest)",
                (before,),
            )
            for row in unnamed:
                self._database.execute("DELETE FROM box_blobs WHERE repository=? AND digest=?", row)
                self._drop_unlinked(row[1])
        return len(unnamed)

    def delete_tag(self, name: str, tag: str) -> bool:
        """Forget a tag; return whether it was there."""
        with self._database.removing():
            gone = self._database.execute("DELETE FROM box_tags WHERE repository=? AND tag=?", (name, tag))
        return gone > 0

    def delete_manifest(self, name: str, digest: str) -> bool:
        """Forget a manifest and the tags that point to it; return whether it was there."""
        with self._database.removing():
            where = (name, digest)
            gone = self._database.execute("DELETE FROM box_manifests WHERE repository=? AND digest=?", where)
            self._database.execute("DELETE FROM box_tags WHERE repository=? AND digest=?", where)
            self._database.execute("DELETE FROM box_names WHERE repository=? AND manifest=?", where)
            self._drop_unlinked(digest)
        return gone > 0

    def delete_blob(self, name: str, digest: str) -> bool:
        """Take a blob from a repository; return whether it had it."""
        with self._database.removing():
            where = (name, digest)
            gone = self._database.execute("DELETE FROM box_blobs WHERE repository=? AND digest=?", where)
            self._drop_unlinked(digest)
        return gone > 0

    def _drop_unlinked(self, digest: str) -> None:
        for table in ("box_blobs", "box_manifests"):
            if self._database.one(f"SELECT 1 FROM {table} WHERE digest=? LIMIT 1", (digest,)):  # noqa: S608
                return
        self._content.remove(digest)


def named(raw: bytes) -> list[str]:
    """Return the digests that a manifest names: config, layers, blobs, manifests."""
    body = jsontext.load_object(raw)
    found = [body.get("config"), *(entry for key in _NAMING for entry in body.get(key) or ())]
    return [entry["digest"] for entry in found if isinstance(entry, dict) and "digest" in entry]
