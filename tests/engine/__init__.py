"""Tests of tiffin.engine."""
