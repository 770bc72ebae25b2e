"""What the user who runs the tests may do: a test that needs more is skipped, with the reason."""

from __future__ import annotations

import pytest

from tiffin.settings import privilege

PRIVILEGE = privilege({})

needs_root = pytest.mark.skipif(PRIVILEGE.rung != "root", reason="nodes, mounts, owners, namespaces of root")
judged_as_root = pytest.mark.skipif(
    PRIVILEGE.rung != "root", reason="podman, docker and umoci keep owners for root only"
)
reads_all = pytest.mark.skipif(PRIVILEGE.rung == "subids", reason="files that only ids inside may read")
needs_cgroups = pytest.mark.skipif(not PRIVILEGE.cgroups, reason="without cgroups limits are refused")
needs_ids = pytest.mark.skipif(PRIVILEGE.rung == "single", reason="with one id all is root's")


def outside(uid: int) -> int:
    """Return which id of the host has a file that belongs to `uid` inside."""
    if PRIVILEGE.records_owners:
        return PRIVILEGE.owner
    for inside, start, count in PRIVILEGE.uid_map:
        if inside <= uid < inside + count:
            return start + uid - inside
    return uid
