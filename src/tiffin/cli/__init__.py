"""TERMINAL: the only room that prints or exits."""
