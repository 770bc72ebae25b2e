"""BOX: a registry to serve, on the content store and the HTTP server that are here anyway."""
