"""The Docker Engine API: a guest of the engine, on the server of `http`."""
