"""fsck of a registry's root: whether repositories have what they list, and the disk what the rows say."""

from __future__ import annotations

import os

from tiffin.box.catalogue import Catalogue
from tiffin.errors import TiffinError
from tiffin.store import fsck, gc
from tiffin.store.database import Database
from tiffin.store.fsck import Finding
from tiffin.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.settings import Settings


def is_registry(root: str) -> bool:
    """Tell whether a folder is a registry's root."""
    path = f"{root}/state.db"
    if not os.path.exists(path):
        return False
    try:
        database = Database(path)
    except TiffinError:
        return False  # whoever opens it as a store says what is wrong
    try:
        return database.meta.get("kind") == "registry"
    finally:
        database.close()


def check(settings: Settings, *, repair: bool = False) -> list[Finding]:
    """Compare rows and files; with `repair` drop what is broken, so that a push brings it again.

    Run it while the registry is not served, or findings may be about work in flight.
    """
    with Store(settings, kind="registry") as store:
        findings = list(fsck.check_database(store))
        if findings:
            return findings
        catalogue = Catalogue(store)
        findings += fsck.check_blobs(store, repair=repair, deep=True)
        for examine in (_links, _manifests, _tags):
            findings += examine(store, catalogue, repair=repair)
        for item in gc.rowless_blobs(store):
            size = os.lstat(item.path).st_size
            if repair:
                os.unlink(item.path)
            message = "a blob that no repository has"
            findings.append(
                Finding(kind="rubbish", path=item.path, message=message, repaired=repair, size=size)
            )
    return findings


def _links(store: Store, catalogue: Catalogue, *, repair: bool) -> Iterator[Finding]:
    for name, digest in store.database.query("SELECT repository, digest FROM box_blobs"):
        if catalogue.blob_size(name, digest) is not None:
            continue
        if repair:
            catalogue.delete_blob(name, digest)
        message = f"{name}@{digest}: its bytes are gone"
        yield Finding(kind="blob", path=store.layout.database, message=message, repaired=repair)


def _manifests(store: Store, catalogue: Catalogue, *, repair: bool) -> Iterator[Finding]:
    query = store.database.query
    for name, digest in query("SELECT repository, digest FROM box_manifests"):
        wrong = "its bytes are gone"
        if catalogue.manifest(name, digest) is not None:
            wrong = next((f"{needed} is gone" for needed in catalogue.missing(name, digest)), "")
        if not wrong:
            continue
        tags = query("SELECT tag FROM box_tags WHERE repository=? AND digest=?", (name, digest))
        shown = ", ".join(f"{name}:{tag}" for (tag,) in tags) or name
        if repair:
            catalogue.delete_manifest(name, digest)
        message = f"{shown}@{digest}: {wrong}; push it again"
        yield Finding(kind="manifest", path=store.layout.database, message=message, repaired=repair)


def _tags(store: Store, catalogue: Catalogue, *, repair: bool) -> Iterator[Finding]:
    for name, tag, digest in store.database.query("SELECT repository, tag, digest FROM box_tags"):
        if catalogue.manifest(name, digest) is not None:
            continue
        if repair:
            catalogue.delete_tag(name, tag)
        message = f"{name}:{tag} names a manifest that is not here"
        yield Finding(kind="name", path=store.layout.database, message=message, repaired=repair)
