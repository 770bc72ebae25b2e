"""DISK: the only room that locks, renames and syncs."""
