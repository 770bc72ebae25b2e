"""WIRE: OCI distribution registries."""
