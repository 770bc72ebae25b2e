"""Servers that people run, from Debian's packages: see `test_software`."""
