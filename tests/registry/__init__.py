"""Tests of tiffin.registry."""
