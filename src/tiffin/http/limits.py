"""How much and how long: what one client may take of the server."""

from __future__ import annotations

from tiffin.spec.value import Value


class Limits(Value):
    """Bytes and seconds. Bodies are bounded by whoever reads them (`Body.read_all`)."""

    head_bytes: int = 64 << 10  # request line and headers together
    connections: int = 512  # further ones wait in the kernel's queue
    handshake: float = 10.0  # TLS
    idle: float = 75.0  # between two requests
    head: float = 20.0  # from the first byte of a request to the end of its headers
    silence: float = 60.0  # between two pieces of a body, in either direction
    drain: int = 1 << 20  # of a body that nobody wanted, so that the connection can be used again
    grace: float = 10.0  # at the end of the server, for requests that are being answered
