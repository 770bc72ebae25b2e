"""WORDS: frozen values and their JSON; no I/O."""
