"""Tests of the store: real files, real overlay mounts, real kills."""
