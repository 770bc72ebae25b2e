"""Tests of spec/: WORDS."""
