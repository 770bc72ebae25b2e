"""PACKETS: bridges, addresses, ports and names; knows network namespaces and descriptors, not containers."""
