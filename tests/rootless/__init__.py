"""Ordinary users: with subordinate ids, with one id, without user namespaces."""
