"""The tables of state.db, how older ones become these, and what a new boot of the machine changes."""

from __future__ import annotations

import _sqlite3

from tiffin.errors import Unsupported
from tiffin.store import atomic
from tiffin.store.database import SCHEMA_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.store.database import Database

# Moments are nanoseconds since 1970 where they are compared, RFC 3339 text where they are shown.
# `synced` says that the file or folder was on disk before a power cut could matter.
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created INTEGER NOT NULL, synced INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE layers (
    chain_id TEXT PRIMARY KEY, parent TEXT NOT NULL, diff_id TEXT NOT NULL, size INTEGER NOT NULL,
    serializer INTEGER NOT NULL, tar_size INTEGER NOT NULL, created INTEGER NOT NULL, synced INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX layers_by_diff ON layers (diff_id);
-- Which compressed blobs are the same layer as an uncompressed one.
CREATE TABLE compressed (
    diff_id TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;

CREATE TABLE images (
    id TEXT PRIMARY KEY, config BLOB NOT NULL, manifest TEXT NOT NULL, top TEXT NOT NULL,
    platform TEXT NOT NULL, created TEXT NOT NULL, size INTEGER NOT NULL, layers TEXT NOT NULL,
    added INTEGER NOT NULL, last_used INTEGER NOT NULL, tagged INTEGER NOT NULL DEFAULT 0
);
-- `name` is canonical and has a tag; `reference` is canonical and has a digest.
CREATE TABLE names (name TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX names_by_image ON names (image);
CREATE TABLE digests (
    reference TEXT NOT NULL, image TEXT NOT NULL, added INTEGER NOT NULL, PRIMARY KEY (reference, image)
) WITHOUT ROWID;
CREATE INDEX digests_by_image ON digests (image);

CREATE TABLE containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, image TEXT NOT NULL,
    layers TEXT NOT NULL, record TEXT NOT NULL
);
CREATE TABLE volumes (
    name TEXT PRIMARY KEY, created TEXT NOT NULL, anonymous INTEGER NOT NULL, labels TEXT NOT NULL,
    options TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE volume_uses (
    volume TEXT NOT NULL, container TEXT NOT NULL, PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX volume_uses_by_container ON volume_uses (container);

CREATE TABLE networks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, record TEXT NOT NULL
);

CREATE TABLE steps (
    key TEXT PRIMARY KEY, ingredients TEXT NOT NULL, result TEXT NOT NULL,
    created INTEGER NOT NULL, last_used INTEGER NOT NULL, uses INTEGER NOT NULL
);
CREATE INDEX steps_by_use ON steps (last_used);
CREATE TABLE memos (key TEXT PRIMARY KEY, value BLOB NOT NULL, last_used INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE leases (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, purpose TEXT NOT NULL, created INTEGER NOT NULL
);
CREATE TABLE held (lease INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (lease, digest)) WITHOUT ROWID;
"""

MIGRATIONS: dict[int, str] = {
    1: """CREATE TABLE networks (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, record TEXT NOT NULL
    )""",
    2: "ALTER TABLE images ADD COLUMN tagged INTEGER NOT NULL DEFAULT 0",
}
"""Statements that lead from a schema version to the next one, by the version they start from."""


def create(path: str) -> None:
    """Make a new database file, whole and on disk when this returns."""
    connection = _sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"BEGIN;{_TABLES}")
        connection.execute("INSERT INTO meta VALUES ('boot', ?)", (atomic.boot_id(),))
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def migrate(database: Database) -> None:
    """Bring an older store to this schema, step by step; raise Unsupported for a newer one.

    Runs in one transaction, so that a killed migration has changed nothing.
    """
    row = database.one("PRAGMA user_version")
    version = row[0] if row else 0
    if version > SCHEMA_VERSION:
        raise Unsupported(
            f"{database.path} has schema {version}, this tiffin knows up to {SCHEMA_VERSION}",
            hint="a newer tiffin made this store: use that one, or another root",
        )
    while version < SCHEMA_VERSION:
        if version not in MIGRATIONS:
            raise Unsupported(
                f"{database.path} is no store of tiffin (schema {version})",
                hint="name another root for the store",
            )
        for statement in MIGRATIONS[version].split(";"):
            database.execute(statement)
        version += 1
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def begin_boot(database: Database, boot: str) -> None:
    """Forget what may not have reached the disk before the machine stopped.

    The kernel loses unwritten data at a power cut while names and sizes may be there, so a blob or a
    layer that was not synced is not believed after a reboot: its row goes, and with it whatever is
    built on it. Its file is then rubbish for gc.
    """
    lost = [row[0] for row in database.query("SELECT digest FROM blobs WHERE synced=0")]
    layers = database.query("SELECT chain_id, parent, synced FROM layers")
    missing = {chain_id for chain_id, _, synced in layers if not synced}
    grown = True
    while grown:
        above = {chain_id for chain_id, parent, _ in layers if parent in missing} - missing
        missing |= above
        grown = bool(above)
    for digest in lost:
        database.execute("DELETE FROM blobs WHERE digest=?", (digest,))
        database.execute("DELETE FROM compressed WHERE digest=?", (digest,))
    for chain_id in missing:
        database.execute("DELETE FROM layers WHERE chain_id=?", (chain_id,))
    for key, result in database.query("SELECT key, result FROM steps") if missing or lost else ():
        if any(digest in result for digest in (*missing, *lost)):
            database.execute("DELETE FROM steps WHERE key=?", (key,))
    database.execute("DELETE FROM held")
    database.execute("DELETE FROM leases")
    database.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (boot,))
