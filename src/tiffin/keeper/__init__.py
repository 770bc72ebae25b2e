"""The process that stays with a running container."""
