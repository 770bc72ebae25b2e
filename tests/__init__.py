"""Tests of tiffin, room by room as in src/."""
