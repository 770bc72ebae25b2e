"""Tests of the keeper, with real runtimes."""
