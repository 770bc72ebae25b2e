"""`python -m tiffin`: the command line."""

from __future__ import annotations

from tiffin.cli.entry import main

main()
