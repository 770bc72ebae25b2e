"""DOCKERFILES: parsed, planned and built."""
