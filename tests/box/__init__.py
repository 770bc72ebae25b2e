"""Tests of tiffin.box."""
