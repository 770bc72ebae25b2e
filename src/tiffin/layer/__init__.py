"""A layer as one tar and as one directory."""
