"""TARBALLS: what save writes and load reads."""
