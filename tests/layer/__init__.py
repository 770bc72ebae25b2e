"""Tests of tiffin.layer."""
