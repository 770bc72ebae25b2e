"""Tests of tiffin.api."""
