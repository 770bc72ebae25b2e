"""Ports of EXPOSE: `80`, `53/udp`, `8000-8010/tcp`."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


def exposed(text: str) -> list[str]:
    """Return `PORT/PROTOCOL` for each port of one word; raise InvalidArgument with docker's sentence.

    As docker does, a host part (`8080:80`) is read over: EXPOSE publishes nothing.
    """
    word = text.rpartition(":")[2]
    port, slash, protocol = word.partition("/")
    protocol = protocol.lower() or "tcp"
    if not port:
        message = f"no port specified: {text}<empty>"
        raise InvalidArgument(message)
    if protocol not in _PROTOCOLS or (slash and "/" in protocol):
        message = f"invalid proto: {protocol}"
        raise InvalidArgument(message, hint="it is tcp, udp or sctp")
    low, dash, high = port.partition("-")
    first, last = _number(low), _number(high if dash else low)
    if first is None or last is None or last < first:
        message = f"invalid containerPort: {port}"
        raise InvalidArgument(message, hint="a port is 0 to 65535, a range LOW-HIGH")
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        return None
    return int(text)
