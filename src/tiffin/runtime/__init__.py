"""PROCESSES: the bundle of an OCI runtime and the runtime itself."""
