"""VERBS: the library."""
