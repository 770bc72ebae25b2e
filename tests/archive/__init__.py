"""Tests of tiffin.archive."""
