"""Docker's commands that tiffin refuses by name, with all their flags."""
